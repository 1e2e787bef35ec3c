"""From a trained run to predictions of new image files."""
