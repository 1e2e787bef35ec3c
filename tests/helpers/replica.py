"""Small faithful copies of datasets, whose classes a tiny model can tell apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_chest_xray(root: Path, *, train: int = 24, test: int = 8, size: int = 40) -> Path:
    """Kaggle's layout and file names: per class `train` and `test` images, two a patient.

    Pneumonia is brighter in its lower half, bacteria more so than virus.
    """
    rng = np.random.default_rng(0)
    for split, count, first in (("train", train, 1000), ("val", 2, 3000), ("test", test, 5000)):
        for label in ("NORMAL", "PNEUMONIA"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                name, brightness = _name(label, first + number // 2, number)
                pixels = rng.normal(90, 12, (size, size))
                pixels[size // 2 :] += brightness
                cv2.imwrite(str(folder / name), pixels.clip(0, 255).astype(np.uint8))
    return root


def _name(label: str, patient: int, number: int) -> tuple[str, float]:
    if label == "NORMAL":
        return f"IM-{patient:04d}-000{number % 2 + 1}.jpeg", 0.0
    cause = "bacteria" if patient % 2 else "virus"
    return f"person{patient}_{cause}_{number}.jpeg", 90.0 if cause == "bacteria" else 60.0
