"""Folders that we fill ourselves, whole or not at all, by one process while others wait."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from cxrlab.config.paths import cache_dir
from cxrlab.cores import cores
from cxrlab.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

# So many items are in flight at once: a large archive never lies in memory whole.
_CHUNK = 512


def key_of(parameters: object) -> str:
    """Name of the folder that parameters (anything JSON can write) lead to."""
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:16]


def generated(
    cache: str | None, where: str, key: str, marker: str, fill: Callable[[Path], None]
) -> Path:
    """The folder `<cache>/<where>/<key>`, filled now if it was not before.

    It is filled under another name and renamed, so that a stopped run leaves nothing half done.

    Args:
        cache: `data.cache`.
        where: folder of its kind, such as `phantom`.
        key: digest of all that the content depends on.
        marker: name of a file or folder that `fill` writes; without it the folder is no good.
        fill: writes into the empty folder that it is given.

    Raises:
        UserError: the cache folder can't be written or the disk is full.
    """
    folder = cache_dir(cache) / where / key
    if (folder / marker).exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not (folder / marker).exists():
                shutil.rmtree(folder, ignore_errors=True)
                _fill_beside(folder, fill)
    except OSError as error:
        problem = "the disk is full" if error.errno == errno.ENOSPC else "can't be written"
        raise UserError(
            f"{folder.parent}: {problem} ({error.strerror}); "
            "name another folder with data.cache=PATH or CXRLAB_CACHE"
        ) from error
    return folder


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write an image.

    Raises:
        OSError: the disk is full; OpenCV's own writing would hide it.
    """
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def in_threads(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of `work` in the items' order, on all cores, a few items at a time."""
    pending = iter(items)
    with ThreadPoolExecutor(cores()) as pool:
        while chunk := list(islice(pending, _CHUNK)):
            yield from pool.map(work, chunk)


def _fill_beside(folder: Path, fill: Callable[[Path], None]) -> None:
    building = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        fill(building)
        building.replace(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
