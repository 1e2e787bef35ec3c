"""From a radiograph at its own size and depth to the square that the model sees.

The order: black borders off, gray values stretched at the depth of the file, 8 bits, square,
local contrast. With everything off it is a plain resize.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrlab.data.decode.native import Gray, Native

if TYPE_CHECKING:
    from cxrlab.config.datasets import Preprocess

THUMB = 64

# Border: of a row or column at most 1 % of the pixels (specks, JPEG ringing) is brighter than
# 4 % of the image's 99th percentile.
_BRIGHT, _DARK_SHARE, _SPECKS = 99.0, 0.04, 0.01
_LEAST_KEPT = 0.5
_TILES = (8, 8)


def to_square(native: Native, size: int, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Apply `preprocess` to a radiograph.

    Returns:
        (size, size) uint8.
    """
    gray, white = native.gray, native.white
    if preprocess.crop_borders:
        gray = crop_borders(gray)
    low, high = 0, white
    if preprocess.percentiles is not None:
        low, high = percentiles(gray, preprocess.percentiles)
        if low == high:  # nothing to stretch in a flat image
            low, high = 0, white
    eight = to_eight_bits(gray, low, high)
    square = letterbox(eight, size) if preprocess.resize == "letterbox" else resize(eight, size)
    if preprocess.clahe is not None:
        # A CLAHE object keeps buffers between calls, so threads can't share one.
        square = cv2.createCLAHE(preprocess.clahe, _TILES).apply(square).astype(np.uint8)
    return square


def mask_to_square(
    mask: NDArray[np.bool_], native: Native, size: int, preprocess: Preprocess
) -> NDArray[np.bool_]:
    """Bring a mask of a radiograph to where `to_square` brings its pixels.

    Args:
        mask: (H, W) of the whole image, at any scale.
        native: the radiograph.
        size: side of the square in pixels.
        preprocess: as for `to_square`.

    Returns:
        (size, size) bool; a pixel that is half covered counts as covered.
    """
    height, width = native.gray.shape
    flat = mask.astype(np.uint8) * np.uint8(255)
    if preprocess.crop_borders:
        whole = cv2.resize(flat, (width, height), interpolation=cv2.INTER_NEAREST)
        flat = np.asarray(whole, np.uint8)[_inside_borders(native.gray)]
    elif preprocess.resize == "letterbox" and flat.shape != (height, width):
        flat = np.asarray(cv2.resize(flat, (width, height), interpolation=cv2.INTER_NEAREST))
    square = letterbox(flat, size) if preprocess.resize == "letterbox" else resize(flat, size)
    return square >= 128


def thumbnail(native: Native) -> NDArray[np.uint8]:
    """The whole image, (THUMB, THUMB) uint8, each side averaged or stretched by itself.

    Large images are averaged by a whole factor first, which OpenCV does six times faster; up to
    0.2 % of each side fall away at the rim.
    """
    eight = to_eight_bits(_reduced(native.gray), 0, native.white)
    height, width = (min(side, THUMB) for side in eight.shape)
    small = cv2.resize(eight, (width, height), interpolation=cv2.INTER_AREA)
    return _resize(np.asarray(small, np.uint8), THUMB, THUMB)


def _reduced(gray: Gray) -> Gray:
    factor = min(gray.shape) // (4 * THUMB)
    if factor < 2:
        return gray
    height, width = (side // factor for side in gray.shape)
    top, left = (side % factor // 2 for side in gray.shape)
    inside = gray[top : top + height * factor, left : left + width * factor]
    return cast("Gray", cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA))


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bring an image (H, W) to (size, size): area averaging down, bilinear up."""
    return _resize(image, size, size)


def letterbox(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Fit an image (H, W) into (size, size) with its aspect kept, centred on black."""
    longest = max(image.shape)
    height, width = (max(1, round(side * size / longest)) for side in image.shape)
    square = np.zeros((size, size), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = _resize(image, height, width)
    return square


def to_eight_bits(gray: Gray, low: int, high: int) -> NDArray[np.uint8]:
    """Map `low`..`high` to 0..255, values outside to the ends; shape kept."""
    if gray.dtype == np.uint8 and (low, high) == (0, 255):
        return np.asarray(gray, np.uint8)
    above = np.maximum(gray, low)
    above -= low
    return np.asarray(cv2.convertScaleAbs(above, alpha=255 / (high - low)), np.uint8)


def crop_borders(gray: Gray) -> Gray:
    """Cut off the rows and columns at the rim that are almost black, as a view.

    Almost black is relative to the image: a row or column of which at most 1 % of the pixels is
    brighter than 4 % of the image's 99th percentile. An axis of which less than half would
    remain is left as it is: that is a dark image rather than a border.
    """
    return gray[_inside_borders(gray)]


def percentiles(gray: Gray, levels: tuple[float, float]) -> tuple[int, int]:
    """The smallest values that at least these percentages of the pixels do not exceed.

    As NumPy's method `inverted_cdf`, from a histogram because that needs no copy of the image.
    """
    values = int(np.iinfo(gray.dtype).max) + 1
    histogram = cv2.calcHist([gray], [0], None, [values], [0, values])
    share = np.cumsum(histogram.ravel(), dtype=np.float64) / gray.size
    # Tolerance: a share of 0.05 may be a rounding error below 5 %.
    low, high = (int(np.searchsorted(share, level / 100 - 1e-9)) for level in levels)
    first = int(np.flatnonzero(share)[0])
    return max(low, first), min(high, values - 1)


def _inside_borders(gray: Gray) -> tuple[slice, slice]:
    _, bright = percentiles(gray, (0, _BRIGHT))
    lit = gray > bright * _DARK_SHARE
    return _kept(lit.mean(axis=1)), _kept(lit.mean(axis=0))


def _kept(lit: NDArray[np.float64]) -> slice:
    inside = np.flatnonzero(lit > _SPECKS)
    if not inside.size or inside[-1] + 1 - inside[0] < _LEAST_KEPT * lit.size:
        return slice(None)
    return slice(int(inside[0]), int(inside[-1]) + 1)


def _resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if image.shape == (height, width):
        return image
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
