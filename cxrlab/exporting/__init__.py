"""A run as one file that serves without this package, checked before it is kept."""
