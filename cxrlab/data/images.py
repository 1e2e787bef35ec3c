"""Image files to uint8 grayscale squares, or a reason why not."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrlab.data import preprocess as preprocessing
from cxrlab.data.decode import jpeg, raster
from cxrlab.data.decode.native import Facts, Native, UnreadableImageError
from cxrlab.data.preprocess import THUMB, resize
from cxrlab.errors import UserError

if TYPE_CHECKING:
    from cxrlab.config.datasets import Preprocess

__all__ = [
    "DECODER",
    "THUMB",
    "Decoded",
    "Facts",
    "UnreadableImageError",
    "decode",
    "is_image_name",
    "read_file",
    "resize",
]

# Part of the cache's key, so that a change of decoding rebuilds it.
DECODER = "gray8-2"
MAX_BYTES = 512_000_000

_SUFFIXES = {".jpeg", ".jpg", ".png", ".tif", ".tiff", ".bmp", ".dcm", ".dicom"}
_BARE_DICOM = (".dcm", ".dicom")
_OTHERS = {
    b"GIF8": "a GIF",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF",
    b"\0\0\0\x0cjP": "a JPEG 2000 file",
    b"\xff\x4f\xff\x51": "a JPEG 2000 file",
}
_READ = "JPEG, PNG, TIFF, BMP and DICOM are read"


@dataclass(frozen=True)
class Decoded:
    """An image as the model sees it.

    Attributes:
        pixels: (size, size) uint8.
        thumb: (64, 64) uint8, the whole image stretched by area averaging, not preprocessed.
        facts: of the file as stored.
    """

    pixels: NDArray[np.uint8]
    thumb: NDArray[np.uint8]
    facts: Facts


def decode(content: bytes, size: int, preprocess: Preprocess, name: str = "") -> Decoded:
    """Decode an image file to a grayscale square. Safe to call from several threads.

    The format is told from the content. Colours become luma, alpha is dropped, EXIF orientation
    is applied, 16-bit images are scaled by the smallest usual depth (8, 10, 12, 14 or 16 bits)
    that holds their brightest pixel. DICOM: see `cxrlab.data.decode.dicom`.

    Where the coded data itself has flipped bits, the C libraries inside OpenCV, Pillow and GDCM
    write a line to stderr: libjpeg, and libtiff for compressed TIFFs. No thread can silence that
    for itself alone. Such a JPEG may be decoded with a damaged patch, as by every viewer.

    Args:
        content: the file's bytes.
        size: side of the square in pixels.
        preprocess: what happens on the way.
        name: the file's name; only `.dcm` and `.dicom` matter, for DICOM without a preamble.

    Raises:
        UnreadableImageError: empty, cut short, damaged, another format, several frames, more
            than 64 megapixels, or a side below 8 pixels.
        UserError: a DICOM file, and the packages that decode it are not installed.
    """
    native = read_native(content, name)
    return Decoded(
        pixels=preprocessing.to_square(native, size, preprocess),
        thumb=preprocessing.thumbnail(native),
        facts=native.facts,
    )


def read_file(path: Path) -> bytes:
    """The bytes of a file of at most 512 MB.

    Raises:
        UnreadableImageError: missing, not readable, no regular file, or larger.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise UnreadableImageError("a folder, not a file")
        if not stat.S_ISREG(found.st_mode):  # reading a pipe would wait for ever
            raise UnreadableImageError("not a regular file")
        if found.st_size > MAX_BYTES:
            raise UnreadableImageError(
                f"{found.st_size / 1e6:.0f} MB; the limit is {MAX_BYTES // 1_000_000} MB"
            )
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from error
    except ValueError as error:
        raise UnreadableImageError("not a possible file name") from error


def is_image_name(name: str) -> bool:
    """Whether a file name has the suffix of a format that is read, and is not hidden."""
    return not name.startswith(".") and Path(name).suffix.lower() in _SUFFIXES


def read_native(content: bytes, name: str = "") -> Native:
    """Decode an image file at its own size and depth; arguments and errors as of `decode`."""
    if not content:
        raise UnreadableImageError("empty file")
    if content[128:132] == b"DICM":
        return _read_dicom(content)
    if content.startswith(b"\xff\xd8"):
        return jpeg.read(content)
    if raster.is_raster(content):
        return raster.read(content)
    other = _other_format(content)
    if other is None and name.lower().endswith(_BARE_DICOM):
        return _read_dicom(content)
    raise UnreadableImageError(f"{other or 'not an image'}; {_READ}")


def _read_dicom(content: bytes) -> Native:
    try:
        from cxrlab.data.decode import dicom
    except ImportError as error:
        raise UserError(
            f'a DICOM file needs the package {error.name}: pip install "cxrlab[dicom]"'
        ) from error
    return dicom.read(content)


def _other_format(content: bytes) -> str | None:
    """What a file is that is no image of ours, where its start tells."""
    for start, name in _OTHERS.items():
        if content.startswith(start):
            return name
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "a WebP"
    head = content[:512]
    if not all(byte >= 32 or byte in b"\t\n\r" for byte in head):
        return None
    return "an HTML page" if head.lstrip()[:1] == b"<" else "a text file"
