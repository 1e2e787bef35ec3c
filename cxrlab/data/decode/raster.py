"""PNG, TIFF and BMP through Pillow, which says nothing on stderr at the C level.

libpng and libtiff inside OpenCV write there whenever a file is damaged, and a file descriptor
can't be silenced for one thread alone.
"""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin

from cxrlab.data.decode import png
from cxrlab.data.decode.native import (
    Facts,
    Gray,
    Native,
    UnreadableImageError,
    check_size,
    luma,
    strips,
    white_of,
)

# Pillow warns of odd metadata, which is never read here. A filter set once, because
# `warnings.catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")

_READERS: dict[bytes, tuple[str, type[ImageFile.ImageFile]]] = {
    png.START: ("PNG", PngImagePlugin.PngImageFile),
    b"II*\0": ("TIFF", TiffImagePlugin.TiffImageFile),
    b"MM\0*": ("TIFF", TiffImagePlugin.TiffImageFile),
    b"BM": ("BMP", BmpImagePlugin.BmpImageFile),
}
# Hostile files have millions, which takes for ever to count.
_MOST_FRAMES = 100
_WIDTH, _LENGTH, _BITS_PER_SAMPLE, _PHOTOMETRIC = 256, 257, 258, 262  # TIFF tags
_WHITE_IS_ZERO = 0


def is_raster(content: bytes) -> bool:
    """Whether the content starts as a PNG, TIFF or BMP does."""
    return any(content.startswith(start) for start in _READERS)


def read(content: bytes) -> Native:
    """Decode a PNG, TIFF or BMP: alpha is dropped, 1-bit images are black and white.

    Colour TIFFs of 16 bits are read at 8, as Pillow does.

    Raises:
        UnreadableImageError: damaged, over a limit, several frames, or neither 8- nor 16-bit
            integers.
    """
    name, reader = next(kind for start, kind in _READERS.items() if content.startswith(start))
    if name == "PNG":
        png.check_chunks(content)
    try:
        # Straight to the reader of the format: Image.open warns of sizes that are refused here.
        with reader(io.BytesIO(content)) as image:
            check_size(image.height, image.width)
            _check_frames(image)
            facts = _facts(name, image, content)
            return _native(image, facts, content)
    except UnreadableImageError:
        raise
    except Exception as error:  # Pillow's readers raise whatever the damage leads to
        raise UnreadableImageError(f"a damaged {name} ({_one_line(error)})") from error


def _native(image: ImageFile.ImageFile, facts: Facts, content: bytes) -> Native:
    if facts.format == "PNG" and facts.bits == 16 and facts.channels > 1:
        # Pillow drops the low byte of these.
        flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
        deep = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        if deep is None:
            raise UnreadableImageError("a PNG that can't be decoded")
        return _of_words(np.asarray(deep, np.uint16), facts)
    if image.mode in ("F", "I"):
        raise UnreadableImageError(f"a {facts.format} of signed, 32-bit or float pixels")
    inverted = isinstance(image, TiffImagePlugin.TiffImageFile) and (
        image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    )
    image.load()
    if facts.format == "PNG" and _ends_in_zeros(image) and not png.has_all_rows(content):
        raise UnreadableImageError("a damaged PNG (rows are missing)")
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        words = np.asarray(image).astype(np.uint16, copy=False)
        # Pillow inverts such a TIFF only up to 8 bits.
        return _of_words(np.invert(words) if inverted else words, facts)
    return Native(_eight_bits(image), 255, facts)


def _of_words(words: NDArray[np.uint16], facts: Facts) -> Native:
    return Native(words, white_of(words), facts)


def _eight_bits(image: Image.Image) -> Gray:
    if image.mode == "L":
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode == "LA":
        return np.asarray(image.getchannel("L"))
    gray = np.empty((image.height, image.width), np.uint8)
    for rows in strips(image.height):
        part = image.crop((0, rows.start, image.width, rows.stop)).convert("RGB")
        gray[rows] = luma(np.asarray(part))
    return gray


def _ends_in_zeros(image: Image.Image) -> bool:
    """Whether the last row is what Pillow leaves of rows that are missing, or black."""
    last_row = (0, image.height - 1, image.width, image.height)
    return not np.asarray(image.crop(last_row)).any()


def _facts(name: str, image: ImageFile.ImageFile, content: bytes) -> Facts:
    height, width = image.height, image.width
    bits, channels = 1 if image.mode == "1" else 8, len(image.getbands())
    if name == "PNG":
        bits, colour = content[24], content[25]
        channels = png.CHANNELS[colour]
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        # Pillow's own size is that of the image turned upright.
        width, height = image.tag_v2[_WIDTH], image.tag_v2[_LENGTH]
        depths = image.tag_v2.get(_BITS_PER_SAMPLE, (1,))
        bits, channels = int(depths[0]), len(depths)
    return Facts(name, height, width, bits, channels)


def _check_frames(image: ImageFile.ImageFile) -> None:
    frames = 1
    if isinstance(image, PngImagePlugin.PngImageFile):
        frames = getattr(image, "n_frames", 1)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        while frames < _MOST_FRAMES and _has_frame(image, frames):
            frames += 1
    if frames > 1:
        more = " or more" if frames == _MOST_FRAMES else ""
        raise UnreadableImageError(f"{frames}{more} frames; only single images are read")


def _has_frame(image: ImageFile.ImageFile, index: int) -> bool:
    try:
        image.seek(index)
    except EOFError:
        return False
    return True


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
