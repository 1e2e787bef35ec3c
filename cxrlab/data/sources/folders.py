"""Folders whose names are classes, with or without train, val and test above them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from cxrlab.config.validate import nearest
from cxrlab.data.manifest import UNASSIGNED
from cxrlab.errors import UserError, warn
from cxrlab.task import Task

SPLIT_NAMES = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def read_class_folders(
    root: Path, classes: Sequence[str] | None, accept: Callable[[str], bool]
) -> tuple[Task, pd.DataFrame]:
    """List `root/<class>/...` or `root/<train|val|valid|validation|test>/<class>/...`.

    Args:
        root: the folder.
        classes: folders in the order of their class index; None: all, in alphabetical order.
        accept: whether a file of that name is an image.

    Returns:
        The task, and a row an image, in the order of their paths: `path`, `label`, `target` and
        `split` ("" without split folders).

    Raises:
        UserError: there is no such folder, fewer than two classes, or a class without an image.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give data.root=PATH of a folder of class folders")
    splits = _split_folders(root)
    found = sorted({name for folder, _ in splits for name in _folders(folder)})
    names = _chosen(root, found, classes)
    task = Task.exclusive(names)
    rows = [
        (file.relative_to(root).as_posix(), name, index, split)
        for folder, split in splits
        for index, name in enumerate(names)
        for file in files_below(folder / name, accept)
    ]
    table = pd.DataFrame(rows, columns=["path", "label", "target", "split"])
    for name in names:
        if not (table["label"] == name).any():
            raise UserError(f"{root}: class folder {name} holds no image; add some or remove it")
    return task, table.astype({"target": "int64"}).sort_values("path", ignore_index=True)


def files_below(folder: Path, accept: Callable[[str], bool]) -> Iterator[Path]:
    """Accepted files in a folder and its subfolders, links followed once and never upwards."""
    visited = set(folder.resolve().parents)
    for directory, subfolders, files in os.walk(folder, followlinks=True):
        real = Path(directory).resolve()
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (Path(directory, name) for name in sorted(files) if accept(name))


def _split_folders(root: Path) -> list[tuple[Path, str]]:
    folders = _folders(root)
    splits = [name for name in folders if name.lower() in SPLIT_NAMES]
    others = [name for name in folders if name.lower() not in SPLIT_NAMES]
    if splits and others:
        raise UserError(
            f"{root}: holds split folders ({', '.join(splits)}) and others "
            f"({', '.join(others[:5])}); keep class folders in all splits or beside no split"
        )
    if splits:
        return [(root / name, SPLIT_NAMES[name.lower()]) for name in splits]
    return [(root, UNASSIGNED)]


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted(name for name in names if not name.startswith((".", "__MACOSX")))


def _chosen(root: Path, found: list[str], classes: Sequence[str] | None) -> list[str]:
    if classes is None:
        chosen = found
    else:
        chosen = list(dict.fromkeys(classes))
        for name in chosen:
            if name not in found:
                raise UserError(
                    f"data.classes: {root} has no folder {name!r}; {nearest(name, found)}"
                )
        if left_out := [name for name in found if name not in chosen]:
            warn(
                f"{root}: folders that data.classes does not name are left out "
                f"({', '.join(left_out[:5])}); name them to use them"
            )
    if len(chosen) < 2:
        raise UserError(
            f"{root}: {len(chosen)} class folders ({', '.join(chosen) or 'none'}); "
            "two or more are needed, one a class"
        )
    return chosen
