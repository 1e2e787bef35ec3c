"""Age, sex and view as the datasets write them, in one form to report by."""

from __future__ import annotations

import math
import re

import pandas as pd

UNKNOWN = "unknown"
MAX_AGE = 120

_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([YMWD]?)")
_YEARS_A_UNIT = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_SEXES = {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M", "O": "other"}


def ages(cells: pd.Series) -> pd.Series:
    """Ages in years: `45`, or `045Y`, `018M`, `002W`, `009D` as DICOM's age strings have it.

    Returns:
        float64 of N; NaN where there is no age, or one above 120 years (NIH's table has some).
    """
    years = {written: _years(str(written)) for written in cells.unique()}
    return cells.map(years).astype("float64")


def sexes(cells: pd.Series) -> pd.Series:
    """`F`, `M`, `other` or `unknown`."""
    return cells.astype(str).str.strip().str.upper().map(_SEXES).fillna(UNKNOWN)


def views(cells: pd.Series) -> pd.Series:
    """The projection as it is written, such as `PA` or `AP`, or `unknown`."""
    written = cells.astype(str).str.strip()
    return written.where(written != "", UNKNOWN)


def _years(written: str) -> float:
    match = _AGE.fullmatch(written.strip().upper())
    if match is None:
        return math.nan
    # An infant's months do not become 0.
    years = round(float(match[1]) * _YEARS_A_UNIT[match[2]], 2)
    return years if years <= MAX_AGE else math.nan
