"""The local page of `python -m cxrlab.demo`: one image in, one card out."""
