"""The tables of subgroups as they stand on the page."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from cxrlab.evaluation.metrics import Interval
from cxrlab.report.tables import Cell, Table
from cxrlab.report.words import ABSENT, number, span, three

_NAMES = {
    "auroc": "AUROC",
    "recall": "Sensitivity",
    "specificity": "Specificity",
    "balanced_accuracy": "Balanced accuracy",
}
_OWN_GROUP = "own group"


@dataclass(frozen=True)
class Groups:
    """The groups of a split, and what has to be said of them.

    Attributes:
        table: a row a group, with a heading a column.
        notes: what is small, absent or compared with others.
    """

    table: Table
    notes: tuple[str, ...]


def subgroup_section(table: pd.DataFrame) -> Groups:
    """Draw up what `evaluation/subgroups_<split>.csv` holds.

    Args:
        table: columns column, group, images, patients, small, and metrics with their ends as
            `<metric>_low` and `<metric>_high`; optionally class, positives, against, absent.
    """
    metrics = [name for name in map(str, table) if f"{name}_low" in table]
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    notes: list[str] = []
    several = "class" in table
    for column, groups in table.groupby("column", sort=False):
        rows.append((str(column), ()))
        for _, row in groups.iterrows():
            label = f"{row['group']}: {row['class']}" if several else str(row["group"])
            rows.append((label + (" *" if _flag(row["small"]) else ""), _cells(row, metrics)))
            notes += _notes(f"{column} {label}", row)
    if table["small"].map(_flag).any():
        notes.insert(0, "* marks groups too small to judge by.")
    head = ("", "Images", *(["Positive"] if "positives" in table else []))
    return Groups(
        Table((*head, *(_NAMES.get(name, name) for name in metrics)), tuple(rows)),
        tuple(dict.fromkeys(notes)),
    )


def _cells(row: pd.Series, metrics: list[str]) -> tuple[Cell, ...]:
    tone = "faint" if _flag(row["small"]) else ""
    cells = [Cell(number(row["images"]), f"{number(row['patients'])} patients", tone)]
    if "positives" in row.index:
        positives = row["positives"]
        cells.append(Cell(ABSENT if pd.isna(positives) else number(positives), tone=tone))
    for name in metrics:
        value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
        if pd.isna(value):
            cells.append(Cell(ABSENT, tone=tone))
        else:
            ends = None if pd.isna(low) or pd.isna(high) else Interval(float(low), float(high))
            cells.append(Cell(three(float(value)), span(ends), tone))
    return tuple(cells)


def _notes(name: str, row: pd.Series) -> list[str]:
    against, absent = (str(row.get(key, "") or "") for key in ("against", "absent"))
    notes = []
    if against not in ("", _OWN_GROUP):
        notes.append(f"{name}: AUROC is against {against}, since the group has one class.")
    if absent:
        notes.append(f"{name}: {absent}.")
    return notes


def _flag(value: object) -> bool:
    """Whether a yes or no, as pandas or as text reads it, is a yes."""
    return str(value) == "True"
