"""Lesion masks, brought to where the preprocessing brings the pixels of their images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.config.datasets import Preprocess
from cxrlab.data.images import read_file, read_native
from cxrlab.data.manifest import Manifest
from cxrlab.data.preprocess import mask_to_square
from cxrlab.errors import UserError


def read_masks(
    manifest: Manifest, rows: pd.DataFrame, size: int, preprocess: Mapping[str, Any]
) -> NDArray[np.bool_] | None:
    """Lesion masks of some images.

    Args:
        manifest: with a column `mask`, or without.
        rows: N rows of its table.
        size: side of the model's square, pixels.
        preprocess: the section `data.preprocess` that the images went through.

    Returns:
        (N, size, size), empty where none is named; None without the column.

    Raises:
        UserError: a mask that the manifest names can't be read.
    """
    if "mask" not in manifest.table:
        return None
    how = Preprocess.model_validate(preprocess)
    masks = np.zeros((len(rows), size, size), dtype=bool)
    for place, row in enumerate(rows.itertuples(index=False)):
        if row.mask:
            native = read_native(read_file(manifest.root / str(row.path)), str(row.path))
            masks[place] = mask_to_square(_read(manifest, str(row.mask)), native, size, how)
    return masks


def _read(manifest: Manifest, name: str) -> NDArray[np.bool_]:
    found = cv2.imread(str(manifest.root / name), cv2.IMREAD_GRAYSCALE)
    if found is None:
        raise UserError(f"{manifest.root / name}: the mask can't be read; restore or unname it")
    return np.asarray(found > 0)
