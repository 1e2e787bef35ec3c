"""Masks of lesions and markers, brought to where preprocessing brings their images' pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.config.datasets import Preprocess
from cxrlab.data.images import UnreadableImageError, read_file, read_native
from cxrlab.data.manifest import Manifest
from cxrlab.data.preprocess import mask_to_square
from cxrlab.errors import warn

_NAMED = 3


def read_masks(
    manifest: Manifest,
    rows: pd.DataFrame,
    size: int,
    preprocess: Mapping[str, Any],
    column: Literal["mask", "marker"] = "mask",
) -> NDArray[np.bool_] | None:
    """Masks of some images.

    One that can't be read, or isn't of its image's aspect, counts as unknown, with a warning.

    Args:
        manifest: with the column, or without.
        rows: N rows of its table.
        size: side of the model's square, pixels.
        preprocess: the section `data.preprocess` that the images went through.
        column: `mask` for lesions, `marker` for what was planted in the image.

    Returns:
        (N, size, size), empty where none is known; None without the column.
    """
    if column not in manifest.table:
        return None
    how = Preprocess.model_validate(preprocess)
    masks = np.zeros((len(rows), size, size), dtype=bool)
    bad = []
    for place, (path, name) in enumerate(zip(rows["path"], rows[column], strict=True)):
        if not name:
            continue
        try:
            masks[place] = _read(manifest, str(path), str(name), size, how)
        except UnreadableImageError as error:
            bad.append(f"{name} ({error})")
    if bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        warn(
            f"{len(bad)} masks under {manifest.root} can't be used and count as unknown: "
            f"{'; '.join(bad[:_NAMED])}{more}; restore them, or unname them in the table"
        )
    return masks


def _read(
    manifest: Manifest, path: str, name: str, size: int, how: Preprocess
) -> NDArray[np.bool_]:
    found = cv2.imread(str(manifest.root / name), cv2.IMREAD_GRAYSCALE)
    if found is None:
        raise UnreadableImageError("no file, or no image")
    native = read_native(read_file(manifest.root / path), path)
    (tall, wide), (height, width) = found.shape[:2], native.gray.shape
    # Any scale will do; a mask may be rounded by one of its own pixels.
    if abs(tall - wide * height / width) > 1:
        raise UnreadableImageError(f"{wide} x {tall} pixels for an image of {width} x {height}")
    return mask_to_square(np.asarray(found > 0), native, size, how)
