"""Pixels in flat files that only grow, and the index that says what lies where."""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.data.images import THUMB, Decoded

_SCHEMA = """
CREATE TABLE IF NOT EXISTS image (
    digest TEXT PRIMARY KEY, slot INTEGER UNIQUE, crc INTEGER,
    format TEXT, height INTEGER, width INTEGER, bits INTEGER, channels INTEGER
);
CREATE TABLE IF NOT EXISTS file (
    root TEXT, path TEXT, stat TEXT, digest TEXT, reason TEXT, PRIMARY KEY (root, path)
);
"""
_CHECKED_BYTES = 128_000_000
_BUSY_SECONDS = 60.0


@dataclass(frozen=True)
class Listed:
    """What is known of a file.

    Attributes:
        stat: its size and time of change when it was read.
        digest: SHA-256 of its content, "" if it can't be read whole.
        reason: why it can't be read whole, or "".
    """

    stat: str
    digest: str
    reason: str


class PixelStore:
    """A folder of decoded images of one size.

    `pixels.u8` and `thumbs.u8` hold one image a slot and are only appended to; `index.sqlite`
    names the slots that are whole. Whoever writes holds the folder's lock; readers need none.
    """

    def __init__(self, folder: Path, size: int) -> None:
        """Use a folder that exists.

        Args:
            folder: the store's own.
            size: side of its squares, pixels.
        """
        self.folder, self.size = folder, size
        self._files = {folder / "pixels.u8": size * size, folder / "thumbs.u8": THUMB * THUMB}
        self._index = folder / "index.sqlite"

    def listed(self, root: str) -> dict[str, Listed]:
        """Every file under a root that was read, by its path."""
        query = "SELECT path, stat, digest, reason FROM file WHERE root = ?"
        with self._open() as index:
            return {path: Listed(*rest) for path, *rest in index.execute(query, (root,))}

    def digests(self) -> set[str]:
        """Of every image that is here."""
        with self._open() as index:
            return {digest for (digest,) in index.execute("SELECT digest FROM image")}

    def images(self) -> pd.DataFrame:
        """Slot, checksum and facts of every image, by digest."""
        with self._open() as index:
            return pd.read_sql_query("SELECT * FROM image", index, index_col="digest")

    def maps(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Read-only memory maps of pixels (M, size, size) and thumbs (M, 64, 64)."""
        count = self._count()
        pixels, thumbs = (
            np.memmap(file, np.uint8, "r", shape=(count, side, side))
            if count
            else np.zeros((0, side, side), np.uint8)
            for file, side in zip(self._files, (self.size, THUMB), strict=True)
        )
        return pixels, thumbs

    def add(self, root: str, images: Mapping[str, Decoded], files: Mapping[str, Listed]) -> None:
        """Append images and list files; all of it is there afterwards, or nothing.

        Args:
            root: folder of the files.
            images: by digest, none of which is here yet.
            files: by path.

        Raises:
            OSError: there is no room, or the folder can't be written.
        """
        first = self._count()
        new = list(images.values())
        self._append(first, [[i.pixels for i in new], [i.thumb for i in new]])
        rows = [
            (
                digest, first + number, _crc(image.pixels, image.thumb), image.facts.format,
                image.facts.height, image.facts.width, image.facts.bits, image.facts.channels,
            )
            for number, (digest, image) in enumerate(images.items())
        ]  # fmt: skip
        listed = [(root, path, f.stat, f.digest, f.reason) for path, f in files.items()]
        with self._open() as index:
            index.executemany("INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            index.executemany("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?)", listed)

    def damaged(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of these slots do not hold what was written there, by CRC-32.

        All are looked at, or, of more than 128 MB, as many at random.
        """
        checked = max(1, _CHECKED_BYTES // (self.size**2 + THUMB**2))
        if len(slots) > checked:
            slots = np.sort(np.random.default_rng().choice(slots, checked, replace=False))
        crc = self.images().set_index("slot")["crc"]
        pixels, thumbs = self.maps()
        wrong = [s for s in slots if _crc(pixels[s], thumbs[s]) != crc[s]]
        return np.array(wrong, dtype=np.int64)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Take images out of the index, and the files they came from."""
        chosen = [(int(slot),) for slot in slots]
        with self._open() as index:
            index.executemany(
                "DELETE FROM file WHERE digest = (SELECT digest FROM image WHERE slot = ?)", chosen
            )
            index.executemany("DELETE FROM image WHERE slot = ?", chosen)

    def is_sound(self) -> bool:
        """Whether the index can be read and the files are as long as it says."""
        try:
            count = self._count()
        except sqlite3.DatabaseError:
            return False
        return count == 0 or all(
            file.exists() and file.stat().st_size >= count * width
            for file, width in self._files.items()
        )

    def clear(self) -> None:
        """Begin anew."""
        for file in (self._index, *self._files):
            file.unlink(missing_ok=True)

    def _append(self, first: int, arrays: list[list[NDArray[np.uint8]]]) -> None:
        for (file, width), images in zip(self._files.items(), arrays, strict=True):
            file.touch()
            with file.open("r+b") as stream:
                stream.truncate(first * width)  # what an interrupted writer left
                stream.seek(first * width)
                if images and hasattr(os, "posix_fallocate"):
                    # A sparse file on a full disk kills with SIGBUS whoever reads the map.
                    os.posix_fallocate(stream.fileno(), first * width, len(images) * width)
                for image in images:
                    stream.write(np.ascontiguousarray(image).data)
                stream.flush()
                os.fsync(stream.fileno())

    def _count(self) -> int:
        with self._open() as index:
            (last,) = index.execute("SELECT MAX(slot) FROM image").fetchone()
        return 0 if last is None else int(last) + 1

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed at the end, or undone by an exception."""
        try:
            with closing(sqlite3.connect(self._index, timeout=_BUSY_SECONDS)) as index, index:
                index.executescript(_SCHEMA)
                yield index
        except sqlite3.OperationalError as error:
            number = errno.ENOSPC if "full" in str(error) else errno.EACCES
            raise OSError(number, str(error)) from error


def _crc(pixels: NDArray[np.uint8], thumb: NDArray[np.uint8]) -> int:
    start = zlib.crc32(np.ascontiguousarray(pixels).data)
    return zlib.crc32(np.ascontiguousarray(thumb).data, start)
