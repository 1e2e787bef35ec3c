"""Finished runs beside each other: paired tests, seeds of one configuration, ensembles."""
