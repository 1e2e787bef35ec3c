"""Image files to uint8 grayscale squares, or a reason why not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

# Read once per process; also part of the cache's key, so a change of decoding rebuilds it.
DECODER = "gray8-area-1"

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
# JPEG writers may pad after the end marker; a cut file has none near its end.
_TAIL = 1024


class UnreadableImageError(Exception):
    """A file that can't be read whole; the message is the reason."""


@dataclass(frozen=True)
class Decoded:
    """An image as the model sees it, and the digest of the file it came from."""

    pixels: NDArray[np.uint8]
    digest: str


def decode(path: Path, size: int) -> Decoded:
    """Read a PNG or JPEG file as a grayscale square.

    Args:
        path: the file.
        size: side of the square in pixels; the aspect ratio is not kept, as in the Keras origin.

    Returns:
        Pixels (size, size) uint8 and the SHA-256 of the file's bytes, in hex.

    Raises:
        UnreadableImageError: the file is missing, empty, cut short, or no image.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from error
    _check_whole(content)
    gray = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise UnreadableImageError("not an image that OpenCV can decode")
    return Decoded(resize(np.asarray(gray, np.uint8), size), hashlib.sha256(content).hexdigest())


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bring an image (H, W) to (size, size): area averaging down, bilinear up."""
    if image.shape == (size, size):
        return image
    shrinks = min(image.shape) >= size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method), np.uint8)


def _check_whole(content: bytes) -> None:
    """OpenCV fills what is missing of a cut file with gray and says nothing."""
    if not content:
        raise UnreadableImageError("empty file")
    if content.startswith(_JPEG_START) and _JPEG_END not in content[-_TAIL:]:
        raise UnreadableImageError("cut short: a JPEG without its end marker")
    if content.startswith(_PNG_START) and _PNG_END not in content[-_TAIL:]:
        raise UnreadableImageError("cut short: a PNG without its end chunk")
