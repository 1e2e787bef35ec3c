"""What must hold for a run to go on: nobody else runs it, on the same data, by the same code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

import cxrlab
from cxrlab.data.prepare import PreparedData
from cxrlab.errors import UserError, warn
from cxrlab.layout import MANIFEST_FILE, VERSION_FILE

RUN_LOCK = ".lock"
_NAMED = 3


@contextmanager
def in_use(output: Path) -> Iterator[None]:
    """The run's folder, held by this process until the end of the `with`, or its own.

    Raises:
        UserError: another process holds it.
    """
    lock = FileLock(output / RUN_LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"{output}: another process is training this run; wait for its end, or stop it first"
        ) from error
    try:
        yield
    finally:
        lock.release()


def check_version(name: str, output: Path) -> None:
    """Refuse a run that another version of this package began.

    Raises:
        UserError: it did; the line names both versions.
    """
    file = output / VERSION_FILE
    began = file.read_text().strip() if file.is_file() else cxrlab.__version__
    if began != cxrlab.__version__:
        raise UserError(
            f"resume={name}: cxrlab {began} began this run and this is {cxrlab.__version__}, which "
            "may train differently; install that version, or start a new run"
        )


def check_same_data(data: PreparedData, output: Path, *, go_on: bool) -> None:
    """Compare the data with those that a run in this folder began with, if one did.

    Args:
        data: what the run would go on with.
        output: the run's folder.
        go_on: only warn of changes.

    Raises:
        UserError: something changed; the line says what.
    """
    file = output / MANIFEST_FILE
    if not file.is_file():
        return
    found = data_changes(pd.read_csv(file, dtype=str), data.with_digests())
    if not found:
        return
    text = f"the data changed since this run began: {'; '.join(found)}"
    if not go_on:
        raise UserError(
            f"{data.manifest.root}: {text}; put them back, start a new run, or go on all the same "
            "with resume_changed=true"
        )
    warn(
        f"{text}; it goes on with the data of now, and is no longer what one unbroken run would be"
    )


def data_changes(before: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """What differs between two tables of images, in words.

    Args:
        before: columns path, label, split and digest.
        now: the same.

    Returns:
        One phrase a kind of change, each with a count and some paths; empty for no change.
    """
    old, new = (table.astype(str).set_index("path") for table in (before, now))
    both = old.index.intersection(new.index)
    kinds = {
        "added": new.index.difference(old.index),
        "removed": old.index.difference(new.index),
        **{
            verb: both[(old.loc[both, column] != new.loc[both, column]).to_numpy()]
            for verb, column in (
                ("relabelled", "label"),
                ("replaced by other contents", "digest"),
                ("moved to another split", "split"),
            )
        },
    }
    return [_phrase(list(paths), verb) for verb, paths in kinds.items() if len(paths)]


def _phrase(paths: Sequence[str], verb: str) -> str:
    named = ", ".join(paths[:_NAMED]) + (", ..." if len(paths) > _NAMED else "")
    return f"{len(paths)} {'image' if len(paths) == 1 else 'images'} {verb} ({named})"
