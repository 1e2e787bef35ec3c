"""Paths as users write them, made relative to one folder."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from cxrlab.data.sources.tables import row_number
from cxrlab.errors import UserError


def relative_paths(
    cells: pd.Series, root: Path, file: Path, *, optional: bool = False
) -> pd.Series:
    """Bring paths, relative or absolute, to the form `folder/image.png` below `root`.

    Args:
        cells: paths as written in a table.
        root: folder that they must lie in; relative ones are relative to it.
        file: the table, for messages.
        optional: whether a cell may be empty; it stays so.

    Raises:
        UserError: a path is missing or leads out of `root`; the message names its row.
    """
    paths = []
    for index, written in enumerate(cells):
        where = f"{file}: row {row_number(index)}"
        if not written:
            if not optional:
                raise UserError(f"{where}: no path in column {cells.name!r}; fill it in")
            paths.append("")
            continue
        inside = _inside(written, root)
        if inside is None:
            raise UserError(
                f"{where}: {written} leads out of {root}; give data.root=PATH of a folder that "
                "holds all images"
            )
        paths.append(inside)
    return pd.Series(paths, index=cells.index, dtype=cells.dtype)


def _inside(written: str, root: Path) -> str | None:
    """The path below `root`, or None; links count only where the plain text does not do."""
    path = os.path.normpath(root / written)
    if path.startswith(f"{root}{os.sep}"):
        return Path(path).relative_to(root).as_posix()
    real, real_root = Path(path).resolve(), root.resolve()
    return real.relative_to(real_root).as_posix() if real_root in real.parents else None
