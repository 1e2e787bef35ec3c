"""What every decoder delivers, and the limits that every file has to keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# A mammogram has 30 megapixels; a "bomb" of some 100 kB can claim billions.
MAX_PIXELS = 64_000_000
MIN_SIDE = 8

Gray = NDArray[np.uint8] | NDArray[np.uint16]


class UnreadableImageError(Exception):
    """A file that can't be read whole; the message is a short reason, such as `empty file`."""


@dataclass(frozen=True)
class Facts:
    """What a file says of itself, as it is stored.

    Attributes:
        format: JPEG, PNG, TIFF, BMP or DICOM.
        height: pixels, before any rotation that the file asks for.
        width: pixels.
        bits: that a channel is stored with.
        channels: stored a pixel, alpha included; 1 for an index into a palette.
        modality: of DICOM, such as DX; empty where the file does not say.
    """

    format: str
    height: int
    width: int
    bits: int
    channels: int
    modality: str = ""


@dataclass(frozen=True)
class Native:
    """A radiograph at the size and depth of its file, upright.

    Attributes:
        gray: (H, W) uint8 or uint16; 0 is black.
        white: the value that stands for white.
        facts: of the file.
    """

    gray: Gray
    white: int
    facts: Facts


def check_size(height: int, width: int) -> None:
    """Refuse what is no radiograph, before any pixel is decoded.

    Raises:
        UnreadableImageError: a side below `MIN_SIDE`, or more than `MAX_PIXELS`.
    """
    if min(height, width) < MIN_SIDE:
        raise UnreadableImageError(f"{width} x {height} pixels; a side needs at least {MIN_SIDE}")
    if height * width > MAX_PIXELS:
        raise UnreadableImageError(
            f"{width} x {height} pixels; the limit is {MAX_PIXELS // 1_000_000} megapixels"
        )


def strips(height: int, rows: int = 256) -> Iterator[slice]:
    """Slices over the rows of an image, for work whose intermediate results are large."""
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def luma(rgb: NDArray[np.uint8] | NDArray[np.uint16]) -> Gray:
    """Gray of colours (H, W, 3): 0.299 R + 0.587 G + 0.114 B, as OpenCV rounds it."""
    return cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]


def white_of(gray: NDArray[np.uint16]) -> int:
    """White of an image in 16-bit words: 12-bit detectors store 0..4095 in them.

    Returns:
        2**b - 1, where b is the smallest of 8, 10, 12, 14 and 16 that holds the brightest pixel.
    """
    brightest = int(gray.max())
    return next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if brightest < 2**bits)
