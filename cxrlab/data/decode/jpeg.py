"""JPEG: the markers are read here, the pixels by OpenCV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from cxrlab.data.decode.native import Facts, Native, UnreadableImageError, check_size

_EOI, _SOS = 0xD9, 0xDA
# Start of frame, JPEG-LS included (0xF7); 0xC4, 0xC8 and 0xCC are tables.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
# Entropy-coded data holds 0xFF only before a zero or as a restart marker (ITU T.81, B.1.1).
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
# Real files have some ten; hostile ones make a decoder pass over the image for ever.
_MOST_SCANS, _MOST_SEGMENTS = 100, 5000

_Segment = tuple[int, int, int]  # marker, and where its data starts and ends


@dataclass(frozen=True)
class Frame:
    """A JPEG's frame header: its sides in pixels, bits a channel and channels."""

    height: int
    width: int
    bits: int
    channels: int


def read(content: bytes) -> Native:
    """Decode a JPEG of 8 bits; OpenCV turns it upright by its EXIF orientation.

    Raises:
        UnreadableImageError: cut short, over a limit, not 8 bits, or not decodable.
    """
    # OpenCV fills what is missing of a cut file with gray, so walk to the end marker. Segments
    # are stepped over: the end of an EXIF thumbnail does not count.
    segments = list(_segments(content))
    frame = _frame(content, segments)
    check_size(frame.height, frame.width)
    if sum(marker == _SOS for marker, _, _ in segments) > _MOST_SCANS:
        raise UnreadableImageError(f"a JPEG of more than {_MOST_SCANS} scans")
    if frame.bits != 8:
        raise UnreadableImageError(f"a JPEG of {frame.bits} bits a channel; only 8 are read")
    try:
        gray = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        gray = None
    if gray is None:
        raise UnreadableImageError("a JPEG that can't be decoded")
    facts = Facts("JPEG", frame.height, frame.width, frame.bits, frame.channels)
    return Native(np.asarray(gray, np.uint8), 255, facts)


def frame_header(content: bytes) -> Frame:
    """Read the first frame header of a JPEG or JPEG-LS stream, and nothing behind it.

    Raises:
        UnreadableImageError: there is none.
    """
    return _frame(content, _segments(content))


def _frame(content: bytes, segments: Iterable[_Segment]) -> Frame:
    for marker, start, end in segments:
        if marker in _SOF and end - start >= 6:
            return Frame(
                height=int.from_bytes(content[start + 1 : start + 3], "big"),
                width=int.from_bytes(content[start + 3 : start + 5], "big"),
                bits=content[start],
                channels=content[start + 5],
            )
        if marker == _SOS:
            break
    raise UnreadableImageError("a JPEG without a frame header")


def _segments(content: bytes) -> Iterator[_Segment]:
    """Each marker segment up to the end of the image.

    Raises:
        UnreadableImageError: the content ends before the image does, or has no end of segments.
    """
    position = 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(content, position)
        if found is None:
            raise UnreadableImageError("cut short: a JPEG without its end marker")
        marker, start = found[1][0], found.end()
        if marker == _EOI:
            return
        end = start + int.from_bytes(content[start : start + 2], "big")
        yield marker, start + 2, end
        position = end
    raise UnreadableImageError(f"a JPEG of more than {_MOST_SEGMENTS} segments")
