"""From a folder of images to uint8 batches: manifest, split, cache, DataModule."""
