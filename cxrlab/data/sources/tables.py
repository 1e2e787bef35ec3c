"""CSV files as text cells, whatever spreadsheet wrote them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cxrlab.config.validate import nearest
from cxrlab.errors import UserError, warn

_DELIMITERS = ",;\t"


def read_table(path: Path, needed: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file: every cell is text, an empty one is "".

    The delimiter (comma, semicolon or tab) is the one most frequent in the first line. UTF-8 and
    UTF-16, with or without a byte order mark, are told apart; what is neither is Windows-1252.

    Args:
        path: the file.
        needed: columns that must be there.

    Raises:
        UserError: the file is missing, empty or no table, or lacks a column.
    """
    text = _text(path)
    first_line = text.lstrip().partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first_line.count)
    try:
        with warnings.catch_warnings():
            # pandas only warns of, and cuts off, what a too long first row has beyond the header.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                io.StringIO(text),
                sep=delimiter,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                skipinitialspace=True,
            )
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{path}: the table is empty; it needs a header and a row an image") from (
            error
        )
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise UserError(
            f"{path}: not a table ({_reason(error)}); each row needs as many cells as the header, "
            "and a cell that holds the delimiter needs quotes"
        ) from error
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    check_columns(table, needed, path)
    if table.empty:
        raise UserError(f"{path}: the table has a header and no row; it needs a row an image")
    return table


def check_columns(table: pd.DataFrame, needed: Sequence[str], path: Path) -> None:
    """Say no to a table without a column.

    Raises:
        UserError: names the first column that is missing and the one that is nearest.
    """
    for name in needed:
        if name not in table:
            raise UserError(f"{path}: no column {name!r}; {nearest(name, table.columns)}")


def row_number(index: int) -> int:
    """Where a spreadsheet shows the row of an index: counted from 1, below the header."""
    return index + 2


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: can't be read ({error.strerror}); give the path of a CSV file"
        ) from error
    text = _decode(content, path)
    if "\0" in text:
        raise UserError(f"{path}: holds no text; save the table as CSV (UTF-8)")
    return text


def _decode(content: bytes, path: Path) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "cp1252":
            warn(
                f"{path}: not UTF-8, so it is read as Windows-1252 and names with accents may not "
                "match their files; save the table as UTF-8"
            )
        return text
    raise UserError(f"{path}: neither UTF-8, UTF-16 nor Windows-1252; save the table as UTF-8")


def _reason(error: Exception) -> str:
    return " ".join(str(error).removeprefix("Error tokenizing data. C error: ").split())
