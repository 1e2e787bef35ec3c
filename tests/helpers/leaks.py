"""Small datasets to plant faults in: pictures, copies of them, and what `prepare` would make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.data.duplicates import find_duplicates
from cxrlab.data.manifest import Manifest, data_fingerprint
from cxrlab.data.prepare import PreparedData
from cxrlab.task import Task

Image = NDArray[np.uint8]

TASK = Task.exclusive(["NORMAL", "PNEUMONIA"])


def picture(seed: int, side: int = 128) -> Image:
    """Soft shapes with fine detail, unlike those of any other seed."""
    rng = np.random.default_rng(seed)
    coarse, fine = (
        cv2.resize(rng.normal(size=(n, n)), (side, side), interpolation=cv2.INTER_CUBIC)
        for n in (5, 24)
    )
    return np.clip(120 + 35 * coarse + 12 * fine, 0, 255).astype(np.uint8)


def jpeg(image: Image, quality: int) -> Image:
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)


def resized(image: Image, factor: float) -> Image:
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=method), np.uint8)


def gamma(image: Image, exponent: float) -> Image:
    return np.round(255 * (image / 255) ** exponent).astype(np.uint8)


def thumbs(images: Sequence[Image]) -> Image:
    """(N, 64, 64) as the decoder makes them."""
    return np.stack([cv2.resize(i, (64, 64), interpolation=cv2.INTER_AREA) for i in images])


def sound_table(patients: int = 160, task: Task = TASK) -> pd.DataFrame:
    """A dataset without a fault: an image a patient, half of each class in every split."""
    number = np.arange(patients)
    target = number % len(task.classes)
    split = np.array(["train", "val", "test", "train"])[number // len(task.classes) % 4]
    return pd.DataFrame(
        {
            "path": [f"{s}/{n:03}.png" for n, s in zip(number, split, strict=True)],
            "target": target,
            "label": np.array(task.classes)[target],
            "patient_id": [f"p{n:03}" for n in number],
            "split": split,
        }
    )


def prepared(
    table: pd.DataFrame,
    images: Image | None = None,
    *,
    task: Task = TASK,
    digests: Sequence[str] | None = None,
    facts: dict[str, Any] | None = None,
    bad: dict[str, str] | None = None,
) -> PreparedData:
    """What `prepare` would make of these rows.

    Args:
        table: columns of a manifest.
        images: (N, 64, 64); default: pictures that have nothing in common.
        task: of the manifest.
        digests: default: no two files are the same.
        facts: columns that replace those of 64 x 64 grayscale PNG files.
        bad: files left out.
    """
    count = len(table)
    pixels = np.stack([picture(i, 64) for i in range(count)]) if images is None else images
    keys = [f"{i:064x}" for i in range(count)] if digests is None else list(digests)
    files = {
        "digest": keys, "bytes": 3000, "format": "PNG", "height": 64, "width": 64, "bits": 8,
        "channels": 1, **(facts or {}),
    }  # fmt: skip
    return PreparedData(
        manifest=Manifest("small", Path("/small"), task, table),
        pixels=pixels,
        thumbs=pixels,
        rows=np.arange(count),
        facts=pd.DataFrame(files, index=range(count)),
        duplicates=find_duplicates(keys, pixels, np.arange(len(pixels))),
        fingerprint=data_fingerprint(list(table["path"]), keys, list(table["label"])),
        bad=bad or {},
    )
