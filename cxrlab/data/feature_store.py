"""Features of images in a flat file that only grows, found by the digest of the image's file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from cxrlab.data.cache import storage_error

_DIGEST_BYTES = 64  # SHA-256 in hexadecimal digits


class FeatureStore:
    """A folder of float32 features that one network makes of images decoded in one way.

    `features.f32` holds a row an image and `digests.txt` the digests in the same order; a row
    counts once its digest is there, which is written last; what an interrupted writer left behind
    the last such row is overwritten. Several processes may read and add.
    """

    def __init__(self, folder: Path, width: int) -> None:
        """Use a folder, made if need be.

        Args:
            folder: the store's own.
            width: numbers a row.

        Raises:
            UserError: the folder can't be written.
        """
        self._folder, self._width = folder, width
        self._features, self._digests = folder / "features.f32", folder / "digests.txt"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / "lock")
            with self._lock:
                self._features.touch()
                self._digests.touch()
        except OSError as error:
            raise storage_error(error, folder, 0) from error

    def missing(self, digests: Sequence[str]) -> list[int]:
        """Positions of the first of each digest that is not here."""
        known = set(self._known())
        found = []
        for position, digest in enumerate(digests):
            if digest not in known:
                known.add(digest)
                found.append(position)
        return found

    def read(self, digests: Sequence[str]) -> NDArray[np.float32]:
        """Features (N, width) of images that are all here.

        Raises:
            KeyError: one is not.
        """
        known = self._known()
        place = {digest: row for row, digest in enumerate(known)}
        rows = [place[digest] for digest in digests]
        if not known:  # an empty file can't be mapped
            return np.zeros((0, self._width), np.float32)
        stored = np.memmap(self._features, np.float32, "r", shape=(len(known), self._width))
        return np.asarray(stored[rows])

    def add(self, digests: Sequence[str], features: NDArray[np.float32]) -> None:
        """Append the images that nobody else added in the meantime.

        Args:
            digests: N different ones.
            features: (N, width).

        Raises:
            UserError: there is no room, or the folder can't be written.
        """
        with self._lock:
            new = self.missing(digests)
            first = len(self._known())
            try:
                with self._features.open("r+b") as stream:
                    stream.seek(first * self._width * 4)
                    stream.write(np.ascontiguousarray(features[new], np.float32).tobytes())
                    stream.flush()
                    os.fsync(stream.fileno())  # before the digests say that it is there
                with self._digests.open("r+b") as stream:
                    stream.seek(first * (_DIGEST_BYTES + 1))
                    stream.write("".join(f"{digests[i]}\n" for i in new).encode())
            except OSError as error:
                raise storage_error(error, self._folder, features.nbytes) from error

    def _known(self) -> list[str]:
        """Digests of whole lines whose features are there too."""
        lines = self._digests.read_bytes().split(b"\n")[:-1]
        rows = self._features.stat().st_size // (self._width * 4)
        return [line.decode() for line in lines[:rows]]
