"""The gray level of each stored value of a monochrome DICOM image."""

from __future__ import annotations

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing

from cxrlab.data.decode.native import UnreadableImageError

_WHITE = 65535
# Far outside of every window: what these become is black and white.
_ENDS = (-1e12, 1e12)


def gray_levels(dataset: pydicom.Dataset, inverted: bool) -> NDArray[np.uint16]:
    """What each bit pattern of Bits Stored bits is shown as.

    The transforms of DICOM map single values, so a table of all values is exact, and needs a
    fraction of the time and memory of transforming the image.

    Args:
        dataset: of at most 16 bits a value.
        inverted: the least value is white, as in MONOCHROME1.

    Returns:
        (2**BitsStored,) uint16, 0 black to 65535 white.

    Raises:
        UnreadableImageError: all values are shown alike.
    """
    stored = _stored_values(dataset)
    values, black, white = _shown(apply_modality_lut(stored, dataset), dataset)
    if black == white:
        raise UnreadableImageError("DICOM whose header maps all gray values to one")
    share = np.clip((values - black) / (white - black), 0, 1)
    levels = np.rint((1 - share if inverted else share) * _WHITE).astype(np.uint16)
    levels[_is_padding(stored, dataset)] = 0
    return levels


def _stored_values(dataset: pydicom.Dataset) -> NDArray[np.int64]:
    patterns = np.arange(2**dataset.BitsStored, dtype=np.int64)
    if dataset.get("PixelRepresentation", 0) == 1:
        return np.where(patterns < len(patterns) // 2, patterns, patterns - len(patterns))
    return patterns


def _shown(
    values: NDArray[np.number], dataset: pydicom.Dataset
) -> tuple[NDArray[np.float64], float, float]:
    """Values after the VOI LUT or the first window, and which are black and white."""
    if dataset.get("VOILUTSequence"):
        item = dataset.VOILUTSequence[0]
        entries, first, bits = item.LUTDescriptor
        # pydicom looks 8-bit entries up by 8-bit indices, which wraps in longer tables.
        item.LUTDescriptor = [entries, first, 16]
        table = apply_voi(np.rint(values).astype(np.int64), dataset)
        return table.astype(np.float64), 0.0, float(2**bits - 1)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        with np.errstate(over="ignore"):
            shown = apply_windowing(np.concatenate([_ENDS, values]), dataset)
        return shown[2:], float(shown[0]), float(shown[1])
    return values.astype(np.float64), float(values.min()), float(values.max())


def _is_padding(stored: NDArray[np.int64], dataset: pydicom.Dataset) -> NDArray[np.bool_]:
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(len(stored), np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return (stored >= low) & (stored <= high)
