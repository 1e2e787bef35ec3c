"""Backbone and its weights, head, losses and the LightningModule that joins them."""
