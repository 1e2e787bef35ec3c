"""A table on disk that grows by rows, and is whole whenever its writer dies."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pandas as pd

from cxrlab.errors import UserError
from cxrlab.files import write_atomically

_RUN, _PATH = "run", "path"


class GrowingTable:
    """Rows of one run's predictions in a CSV file, a file of images a row.

    Attributes:
        done: the images that it holds.
    """

    def __init__(self, file: IO[bytes], run: str, columns: Sequence[str], done: set[str]) -> None:
        """Take an open file that ends with a whole row; see `open_table`."""
        self._file, self._run, self._columns, self.done = file, run, columns, done

    def append(self, rows: pd.DataFrame) -> None:
        """Add rows, which are on the disk on return.

        Raises:
            UserError: the disk is full, or the file can't be written.
        """
        table = rows.assign(**{_RUN: self._run})[list(self._columns)]
        try:
            self._file.write(table.to_csv(index=False, header=False, lineterminator="\n").encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(Path(self._file.name), error) from error
        self.done.update(rows[_PATH])


@contextmanager
def open_table(path: Path, run: str, columns: Sequence[str]) -> Iterator[GrowingTable]:
    """A table to add to: a new one, or one that the same run began.

    A row that was cut off when its writer died is taken away.

    Args:
        path: the CSV file; folders are made.
        run: what its column `run` says.
        columns: of the rows to come, `path` among them.

    Raises:
        UserError: another process writes to it, it is of another run or has other columns, or it
            can't be written.
    """
    from filelock import FileLock, Timeout

    header = [*columns, _RUN]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
        with lock:
            done = _mend(path, run, header)
            with path.open("ab") as file:
                yield GrowingTable(file, run, header, done)
    except Timeout as error:
        raise UserError(
            f"output={path}: another process writes to it; wait for its end, or name another file"
        ) from error
    except OSError as error:
        raise _unwritable(path, error) from error


def _mend(path: Path, run: str, header: list[str]) -> set[str]:
    """Bring the file to whole rows, and tell which images it holds."""
    whole = _whole_rows(path, header) if path.is_file() else []
    if whole and whole[0] != header:
        raise UserError(
            f"output={path}: it has other columns ({', '.join(whole[0])[:120]}); name another file"
        )
    others = {row[-1] for row in whole[1:]} - {run}
    if others:
        raise UserError(
            f"output={path}: it holds predictions of run {min(others)}, not of {run}; name "
            "another file"
        )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(whole or [header])
    write_atomically(path, text.getvalue())
    return {row[header.index(_PATH)] for row in whole[1:]}


def _whole_rows(path: Path, header: list[str]) -> list[list[str]]:
    """The rows but for a last one that lacks cells or its end."""
    try:
        content = path.read_bytes()
        text = content[: content.rfind(b"\n") + 1].decode()
        if not text and not ",".join(header).startswith(content.decode()):
            raise UserError(f"output={path}: no table of predictions; name another file")
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"output={path}: no table of predictions; name another file") from error
    if rows and len(rows[-1]) != len(header):
        rows.pop()
    ragged = [row for row in rows[1:] if len(row) != len(rows[0])]
    if ragged:
        raise UserError(f"output={path}: a row of {len(ragged[0])} cells; name another file")
    return rows


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"output={path}: {error.strerror or error}; name another file or make room")
