"""What Pillow does not check of a PNG: every checksum, the end, and that no row is missing."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from cxrlab.data.decode.native import UnreadableImageError

START = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type

# First row, first column, and the steps of each pass of Adam7 (PNG specification, 8.2).
_ADAM7 = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
# Hostile files have millions.
_MOST_CHUNKS = 100_000
_BLOCK = 1_000_000


def check_chunks(content: bytes) -> None:
    """Step through the chunks: each whole, with the right checksum, the last one IEND.

    Raises:
        UnreadableImageError: one is not.
    """
    view = memoryview(content)
    for kind, start, end in _chunks(content):
        if zlib.crc32(view[start - 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise UnreadableImageError("a damaged PNG (wrong checksum)")
        if kind == b"IEND":
            return
    raise UnreadableImageError("cut short: a PNG without its end chunk")


def has_all_rows(content: bytes) -> bool:
    """Whether the compressed data of a PNG inflates to all its rows."""
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    missing = 0
    for top, left, down, right in passes:
        rows, columns = -((top - height) // down), -((left - width) // right)
        if rows > 0 and columns > 0:
            missing += rows * (1 + (columns * bits * CHANNELS[colour] + 7) // 8)
    inflater = zlib.decompressobj()
    for kind, start, end in _chunks(content):
        rest = content[start:end] if kind == b"IDAT" else b""
        while rest and missing > 0:
            missing -= len(inflater.decompress(rest, _BLOCK))
            rest = inflater.unconsumed_tail
    return missing <= 0


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each whole chunk: its kind, and where its data starts and ends."""
    position = len(START)
    for _ in range(_MOST_CHUNKS):
        if position + 12 > len(content):
            return
        length, kind = struct.unpack_from(">I4s", content, position)
        start, end = position + 8, position + 8 + length
        if end + 4 > len(content):
            return
        yield kind, start, end
        position = end + 4
