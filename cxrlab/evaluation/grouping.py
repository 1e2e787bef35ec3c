"""The groups of images that a reporting column makes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from cxrlab.evaluation.predictions import score_columns
from cxrlab.task import Task

BoolArray = npt.NDArray[np.bool_]

UNKNOWN = "unknown"

_AGES = (18, 40, 65)
_AGE_BANDS = ("0-17", "18-39", "40-64", "65+")
_MOST_NUMBERS = 8
_MOST_NAMES = 30


def report_columns(table: pd.DataFrame, task: Task) -> list[str]:
    """The reporting columns of a prediction table: neither its own nor its labels once more."""
    truth = task.target_columns
    own = {"path", "patient_id", "split", "label", "decision", *truth}
    own |= {name.replace("target", "decision", 1) for name in truth}
    for kind in ("logit", "probability", "calibrated"):
        own |= set(score_columns(task, kind))
    names = [str(name) for name in table if name not in own]
    return [name for name in names if not _restates(table[name], table["label"])]


def _restates(column: pd.Series, label: pd.Series) -> bool:
    pairs = pd.DataFrame({"group": column, "label": label}).drop_duplicates()
    return len(pairs) == pairs["group"].nunique() == pairs["label"].nunique()


def groups_of(column: pd.Series) -> list[tuple[str, BoolArray]]:
    """Cut the images by a reporting column, every image into exactly one group.

    * Up to 8 different numbers are a group each. Of more, those of a column `age` (years) are
      cut into 0-17, 18-39, 40-64 and 65+; others at their quartiles, named by the least and the
      greatest number in them.
    * Texts are a group each, in the order of the alphabet. Of more than 30, the 29 most frequent
      are; the others form one group that says how many they are.
    * What is missing, blank, not finite or a negative age is `unknown`.

    Args:
        column: one entry an image, N in all.

    Returns:
        Name and members (N,) of each group with images, lowest first, `unknown` last.
    """
    numeric = is_numeric_dtype(column) and not is_bool_dtype(column)
    names, order = _by_number(column) if numeric else _by_text(column)
    labels = np.array(names, dtype=object)
    present = [name for name in order if name in set(names)]
    return [(name, np.asarray(labels == name)) for name in present]


def _by_number(column: pd.Series) -> tuple[list[str], list[str]]:
    """The group of each image, and all groups in their order."""
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(values)
    age = str(column.name).casefold() == "age"
    if age:
        known &= values >= 0
    distinct, code = np.unique(values[known], return_inverse=True)
    if distinct.size <= _MOST_NUMBERS:
        order = _written(distinct, distinct)
    elif age:
        code, order = np.searchsorted(_AGES, values[known], side="right"), list(_AGE_BANDS)
    else:
        code, order = _quartiles(values[known])
    names = np.full(values.shape, UNKNOWN, dtype=object)
    names[known] = np.array(order, dtype=object)[code]
    return names.tolist(), [*order, UNKNOWN]


def _quartiles(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.intp], list[str]]:
    # Equal numbers share a group, so groups are uneven, and fewer, where many are equal.
    cuts = np.unique(np.quantile(values, (0.25, 0.5, 0.75)))
    _, code = np.unique(np.searchsorted(cuts, values, side="left"), return_inverse=True)
    parts = [values[code == group] for group in range(code.max() + 1)]
    return code, _written([part.min() for part in parts], [part.max() for part in parts])


def _written(lowest: npt.ArrayLike, highest: npt.ArrayLike) -> list[str]:
    """Each range as short as tells it from the others."""
    low, high = np.asarray(lowest), np.asarray(highest)
    whole = np.array_equal([low, high], np.round([low, high]))
    written: list[str] = []
    for digits in range(3, 18):
        style = ".0f" if whole else f".{digits}g"
        pairs = zip(low, high, strict=True)
        written = [f"{a:{style}}" + (f" to {b:{style}}" if b > a else "") for a, b in pairs]
        if len(set(written)) == low.size:
            break
    return written


def _by_text(column: pd.Series) -> tuple[list[str], list[str]]:
    names = ["" if pd.isna(entry) else str(entry).strip() for entry in column]
    names = [name or UNKNOWN for name in names]
    counts = Counter(name for name in names if name != UNKNOWN)
    if len(counts) <= _MOST_NAMES:
        return names, [*sorted(counts), UNKNOWN]
    frequent = sorted(counts, key=lambda name: (-counts[name], name))[: _MOST_NAMES - 1]
    others = f"{len(counts) - len(frequent)} other values"
    kept = {*frequent, UNKNOWN}
    names = [name if name in kept else others for name in names]
    return names, [*sorted(frequent), others, UNKNOWN]
