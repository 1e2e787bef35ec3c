"""Decode once: images as one uint8 memory map on disk, shared by processes and runs."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from cxrlab.data.images import DECODER, Decoded, UnreadableImageError, decode
from cxrlab.errors import UserError
from cxrlab.progress import track

_PIXELS, _INDEX = "images.npy", "index.json"


@dataclass(frozen=True)
class ImageCache:
    """Decoded images of one list of files.

    Attributes:
        pixels: (N, size, size) uint8, memory-mapped read-only; the rows of bad files are zero.
        digests: SHA-256 of each file, "" for a bad one.
        bad: path -> reason for every file that can't be read whole.
        folder: where the cache lies.
    """

    pixels: NDArray[np.uint8]
    digests: tuple[str, ...]
    bad: dict[str, str]
    folder: Path


def open_cache(root: Path, paths: Sequence[str], size: int, folder: Path) -> ImageCache:
    """Open the cache of these files, building it first where there is none.

    The key is made of each file's path, size and time of change, of the image size and of the
    decoder, so that a changed file or setting never meets an old cache. A cache is built in a
    temporary folder and renamed when whole; a second process waits for the first.

    Args:
        root: folder that the paths are relative to.
        paths: files, in the order of the rows wanted.
        size: side of the decoded squares, pixels.
        folder: where caches are kept.

    Raises:
        UserError: the folder can't be written or the disk is full.
    """
    target = folder / "images" / _key(root, paths, size)
    if not (target / _INDEX).is_file():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(target.with_suffix(".lock")):
                if not (target / _INDEX).is_file():
                    _build(root, paths, size, target)
        except OSError as error:
            raise _storage_error(error, target.parent, len(paths) * size * size) from error
    return _load(target)


def _load(target: Path) -> ImageCache:
    index = json.loads((target / _INDEX).read_text())
    pixels = np.load(target / _PIXELS, mmap_mode="r")
    return ImageCache(pixels, tuple(index["digests"]), index["bad"], target)


def _key(root: Path, paths: Sequence[str], size: int) -> str:
    digest = hashlib.sha256(f"{DECODER}|{size}|{root.resolve()}".encode())
    for path in paths:
        try:
            status = (root / path).stat()
            facts = f"{status.st_size}|{status.st_mtime_ns}"
        except OSError as error:
            facts = f"unreadable {error.errno}"
        digest.update(f"\n{path}|{facts}".encode())
    return digest.hexdigest()[:24]


def _build(root: Path, paths: Sequence[str], size: int, target: Path) -> None:
    building = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        digests, bad = _fill(building / _PIXELS, root, paths, size)
        (building / _INDEX).write_text(json.dumps({"digests": digests, "bad": bad}))
        building.replace(target)
    finally:
        # After a success the name is gone; after an error or Ctrl-C nothing half-made stays.
        shutil.rmtree(building, ignore_errors=True)


def _fill(
    file: Path, root: Path, paths: Sequence[str], size: int
) -> tuple[list[str], dict[str, str]]:
    shape = (len(paths), size, size)
    pixels = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    with file.open("r+b") as stream:
        # A sparse file on a full disk kills the process with SIGBUS when it is written to.
        os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    digests = [""] * len(paths)
    bad: dict[str, str] = {}

    def read(path: str) -> Decoded | UnreadableImageError:
        try:
            return decode(root / path, size)
        except UnreadableImageError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            decoded = track(pool.map(read, paths), total=len(paths), what="decoding images")
            for row, (path, result) in enumerate(zip(paths, decoded, strict=True)):
                if isinstance(result, UnreadableImageError):
                    bad[path] = str(result)
                else:
                    pixels[row], digests[row] = result.pixels, result.digest
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    pixels.flush()
    return digests, bad


def _storage_error(error: OSError, folder: Path, needed: int) -> UserError:
    remedy = "name another folder with data.cache=PATH or CXRLAB_CACHE"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"{folder}: the disk is full, the decoded images need {needed / 1e6:.0f} MB; "
            f"free some space or {remedy}"
        )
    return UserError(f"{folder}: can't write the image cache ({error.strerror}); {remedy}")
