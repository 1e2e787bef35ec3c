"""Tables of predictions for every test here."""

from helpers.tables import make_rows, make_table

__all__ = ["make_rows", "make_table"]
