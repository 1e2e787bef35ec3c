"""Optimizers, schedulers, hardware, callbacks and the fit itself."""
