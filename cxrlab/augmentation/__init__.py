"""Random changes of whole batches, on the device that the model is on."""
