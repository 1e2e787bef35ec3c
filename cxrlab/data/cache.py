"""Decode once: images in one uint8 memory map on disk, found by the digest of their file."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.typing import NDArray

from cxrlab.config.datasets import Preprocess
from cxrlab.cores import cores
from cxrlab.data.images import DECODER, Decoded, UnreadableImageError, decode, read_file
from cxrlab.data.store import Listed, PixelStore
from cxrlab.errors import UserError, warn
from cxrlab.progress import progress

_CHUNK = 256  # images between two commits: what a kill loses at most


@dataclass(frozen=True)
class ImageCache:
    """Decoded images of one list of N files.

    Attributes:
        pixels: (M, size, size) uint8, memory-mapped read-only; other datasets' images too.
        thumbs: (M, 64, 64) uint8, memory-mapped: the images before any preprocessing.
        rows: (N,) row in `pixels` of each file, -1 for a bad one.
        facts: N rows, of each file `digest` (SHA-256), `bytes`, `format`, `height`, `width`,
            `bits` and `channels`; missing for a bad one.
        bad: path -> reason for every file that can't be read whole.
        folder: where the cache lies.
    """

    pixels: NDArray[np.uint8]
    thumbs: NDArray[np.uint8]
    rows: NDArray[np.int64]
    facts: pd.DataFrame
    bad: dict[str, str]
    folder: Path


@dataclass(frozen=True)
class _Read:
    """A file that was read: its digest, and what was decoded unless that was known already."""

    digest: str
    decoded: Decoded | None


def open_cache(
    root: Path, paths: Sequence[str], size: int, preprocess: Preprocess, folder: Path
) -> ImageCache:
    """Find these files decoded, after decoding those that are not.

    One store holds every image decoded in one way, under the SHA-256 of its file, so that a moved
    or copied dataset, a part of one and the whole share their images. A file is read again only
    if its size or time of change is another. Images become visible 256 at a time, each batch
    flushed to the disk before its index is committed: a killed build goes on where it stopped,
    and a second process waits for the first. Checksums are compared on opening, of all images
    or, of a large set, of 128 MB that change every time; images that fail are decoded again.

    Args:
        root: folder that the paths are relative to.
        paths: files, in the order of the rows wanted.
        size: side of the decoded squares, pixels.
        preprocess: what is done to an image on its way to the square.
        folder: where caches are kept.

    Raises:
        UserError: the folder can't be written or the disk is full.
    """
    target = folder / "images" / decoding_key(size, preprocess)
    try:
        target.mkdir(parents=True, exist_ok=True)
        return _open(root, paths, size, preprocess, target)
    except OSError as error:
        raise storage_error(error, target.parent, len(paths) * size * size) from error


def decoding_key(size: int, preprocess: Preprocess) -> str:
    """Names a way of making a square of an image: decoder, preprocessing and size."""
    way = f"{DECODER}|{size}|{preprocess.model_dump_json()}"
    return hashlib.sha256(way.encode()).hexdigest()[:16]


def _open(
    root: Path, paths: Sequence[str], size: int, preprocess: Preprocess, target: Path
) -> ImageCache:
    place = str(root.resolve())
    stats = [_stat(os.path.join(place, path)) for path in paths]  # noqa: PTH118  twice as fast
    store = PixelStore(target, size)
    found = store.listed(place) if store.is_sound() else {}
    if _unknown(paths, stats, found):
        with FileLock(target / "lock"):
            if not store.is_sound():
                warn(f"{target}: the image cache is damaged; its images are decoded again")
                store.clear()
            todo = _unknown(paths, stats, store.listed(place))
            _decode(root, [(paths[i], stats[i]) for i in todo], preprocess, store)
            found = store.listed(place)
    cache = _view(paths, found, store)
    damaged = store.damaged(np.unique(cache.rows[cache.rows >= 0]))
    if not len(damaged):
        return cache
    warn(
        f"{target}: {len(damaged)} decoded images are damaged and are decoded again; "
        "if this comes back, check the disk"
    )
    with FileLock(target / "lock"):
        store.forget(damaged)
    return _open(root, paths, size, preprocess, target)


def _unknown(paths: Sequence[str], stats: list[str], found: dict[str, Listed]) -> list[int]:
    return [i for i, p in enumerate(paths) if p not in found or found[p].stat != stats[i]]


def _stat(file: str) -> str:
    """What tells that a file is the one that was read."""
    try:
        status = os.stat(file)  # noqa: PTH116  Path.stat is half as fast, and there are many
    except OSError as error:
        return f"unreadable {error.errno}"
    return f"{status.st_size} {status.st_mtime_ns}"


def _decode(
    root: Path, files: list[tuple[str, str]], preprocess: Preprocess, store: PixelStore
) -> None:
    known = store.digests()

    def read(path: str) -> _Read | UnreadableImageError:
        try:
            content = read_file(root / path)
            digest = hashlib.sha256(content).hexdigest()
            if digest in known:
                return _Read(digest, None)
            return _Read(digest, decode(content, store.size, preprocess, path))
        except UnreadableImageError as error:
            return error

    place = str(root.resolve())
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    with ThreadPoolExecutor(cores()) as pool, progress(len(files), "decoding images") as advance:
        for chunk in chunks:
            fresh: dict[str, Decoded] = {}
            listed: dict[str, Listed] = {}
            results = pool.map(read, [path for path, _ in chunk])
            for (path, stat), result in zip(chunk, results, strict=True):
                advance(1)
                if isinstance(result, UnreadableImageError):
                    listed[path] = Listed(stat, digest="", reason=str(result))
                    continue
                listed[path] = Listed(stat, digest=result.digest, reason="")
                if result.decoded is not None:
                    fresh[result.digest] = result.decoded
            store.add(place, fresh, listed)
            known |= fresh.keys()


def _view(paths: Sequence[str], found: dict[str, Listed], store: PixelStore) -> ImageCache:
    entries = [found[path] for path in paths]
    images = store.images()
    facts = images.reindex([entry.digest for entry in entries]).rename_axis("digest").reset_index()
    rows = facts.pop("slot").fillna(-1).to_numpy(np.int64)
    facts["bytes"] = [int(entry.stat.split()[0]) if entry.digest else 0 for entry in entries]
    bad = {path: entry.reason for path, entry in zip(paths, entries, strict=True) if entry.reason}
    pixels, thumbs = store.maps()
    return ImageCache(pixels, thumbs, rows, facts.drop(columns="crc"), bad, store.folder)


def storage_error(error: OSError, folder: Path, needed: int) -> UserError:
    """One line for a folder of caches that can't be written, or has no room.

    Args:
        error: what the system said.
        folder: where it said so.
        needed: bytes that were to be written there.
    """
    remedy = "name another folder with data.cache=PATH or CXRLAB_CACHE"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"{folder}: the disk is full, {needed / 1e6:.0f} MB are needed; "
            f"free some space or {remedy}"
        )
    return UserError(f"{folder}: can't write the image cache ({error.strerror}); {remedy}")
