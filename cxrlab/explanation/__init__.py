"""Attribution maps of a classifier, their quality and the figures that show them."""
