"""Synthetic frontal chest radiographs with exact lesion masks."""
