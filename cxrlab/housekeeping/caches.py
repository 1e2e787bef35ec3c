"""Decoded images, features and drawn datasets: all of it is made again when it is needed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cxrlab.housekeeping.items import Item, Part, folders, is_held, measure

# Folder of the cache -> what it holds; nothing else in it is looked at.
_KINDS = {
    "images": "decoded images",
    "features": "features",
    "phantom": "phantoms",
    "medmnist": "unpacked MedMNIST",
    "masks": "lesion masks",
    "duplicates": "lists of duplicates",
    "audit": "audits",
}
_NESTED = ("medmnist", "masks")  # a folder a dataset in between
_WHOLE = ("duplicates", "audit")  # small files, shown as one


def find_caches(cache: Path) -> list[Item]:
    """Everything that this package keeps in the folder of caches."""
    used = mapped_files()
    return [
        _item(folder, kind, cache, used) for kind in _KINDS for folder in _kept(cache / kind, kind)
    ]


def _kept(parent: Path, kind: str) -> Iterator[Path]:
    if kind in _WHOLE:
        yield from [parent] if parent.is_dir() and not parent.is_symlink() else []
    elif kind in _NESTED:
        for dataset in folders(parent):
            yield from folders(dataset)
    else:
        yield from folders(parent)


def _item(folder: Path, kind: str, cache: Path, used: set[Path]) -> Item:
    size, changed = measure(folder)
    # Image and feature stores are locked by a file inside, drawn datasets by one beside.
    locks = (folder / "lock", folder.with_suffix(".lock"))
    real = folder.resolve()
    busy = any(map(is_held, locks)) or any(file.is_relative_to(real) for file in used)
    return Item(
        kind="cache",
        parts=(Part(folder, cache, size),),
        changed=changed,
        belongs=_belongs(folder, kind, cache),
        in_use=busy,
        locks=locks,
    )


def _belongs(folder: Path, kind: str, cache: Path) -> str:
    if kind == "images":
        roots = _query(folder, "SELECT root, COUNT(*) FROM file GROUP BY root ORDER BY 2 DESC")
        named = [f"{count:,} of {root}" for root, count in roots]
        return f"{_KINDS[kind]}: {', '.join(named) or 'none'}"
    if kind == "features":
        return f"{_KINDS[kind]}: {_features_of(folder, cache)}"
    return _KINDS[kind]


def _features_of(folder: Path, cache: Path) -> str:
    """How many images there are features of, and where the first of them lies."""
    file = folder / "digests.txt"
    digests = file.read_text(encoding="ascii").split() if file.is_file() else []
    if not digests:
        return "none"
    for store in folders(cache / "images"):
        query = "SELECT root, COUNT(*) FROM file WHERE digest = ? GROUP BY root"
        if found := _query(store, query, digests[0]):
            return f"{len(digests):,} of {found[0][0]}"
    return f"{len(digests):,}"


def _query(store: Path, query: str, *values: str) -> list[tuple[str, int]]:
    """Rows of the index of an image store; none where it can't be read."""
    try:
        uri = f"{(store / 'index.sqlite').as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as index:
            return index.execute(query, values).fetchall()
    except sqlite3.Error:
        return []


def mapped_files(processes: Path = Path("/proc")) -> set[Path]:
    """Files that processes have in memory, as far as Linux tells this user.

    Elsewhere none is known: Windows refuses to remove such a file by itself, and on macOS who has
    it in memory keeps it.
    """
    found: set[Path] = set()
    for maps in processes.glob("[0-9]*/maps"):
        try:
            lines = maps.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError:
            continue  # another user's, or over meanwhile
        fields = (line.split(maxsplit=5) for line in lines)
        found |= {Path(field[5]) for field in fields if len(field) == 6}
    return found
