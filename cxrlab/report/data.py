"""What went in: the patients by split, and what the audit found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.data.audit.findings import SEVERITIES, TITLES, Audit, Finding
from cxrlab.data.manifest import SPLITS
from cxrlab.evaluation.grouping import groups_of, report_columns
from cxrlab.report.finished import FinishedRun
from cxrlab.report.tables import Bar, Cell, Table, split_name
from cxrlab.report.words import number, percent

_MOST_GROUPS = 12
# Data that tells the label without showing the lungs.
_SHORTCUT = "shortcut_"


@dataclass(frozen=True)
class Shortcut:
    """How well the label can be told from something that is no disease, best of a probe."""

    title: str
    feature: str
    label: str
    auroc: float
    bar: Bar
    tone: str


@dataclass(frozen=True)
class Told:
    """A finding of the audit."""

    tone: str
    title: str
    check: str
    message: str


def characteristics(run: FinishedRun) -> Table | None:
    """Images of each group of the reporting columns, by split; None where there are none."""
    manifest = run.manifest
    if manifest is None:
        return None
    columns = report_columns(run.evaluation.tables[run.split], run.task)
    splits = [name for name in SPLITS if (manifest["split"] == name).any()]
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for column in (c for c in columns if c in manifest):
        rows.append((column, ()))
        groups = groups_of(manifest[column])
        for name, member in groups[:_MOST_GROUPS]:
            rows.append((name, tuple(_share(manifest, member, split) for split in splits)))
        if len(groups) > _MOST_GROUPS:
            rows.append((f"and {len(groups) - _MOST_GROUPS} more", tuple(Cell("") for _ in splits)))
    return Table(("", *map(split_name, splits)), tuple(rows)) if rows else None


def _share(manifest: pd.DataFrame, member: NDArray[np.bool_], split: str) -> Cell:
    inside = (manifest["split"] == split).to_numpy()
    count = int((inside & member).sum())
    return Cell(number(count), percent(count, int(inside.sum())))


def told(audit: Audit) -> list[Told]:
    """The findings, worst first; probes for shortcuts that gave no alarm are drawn instead."""
    return [
        Told(f.severity, TITLES.get(f.check, f.check), f.check, f.message)
        for severity in reversed(SEVERITIES)
        for f in audit.of(severity)
        if severity != "info" or not f.check.startswith(_SHORTCUT)
    ]


def shortcuts(audit: Audit) -> list[Shortcut]:
    """The strongest feature of each probe for shortcuts."""
    found = []
    for finding in audit.findings:
        if finding.check.startswith(_SHORTCUT) and finding.items:
            found.append(_shortcut(finding, finding.items[0]))
    return found


def _shortcut(finding: Finding, best: dict[str, Any]) -> Shortcut:
    return Shortcut(
        title=TITLES.get(finding.check, finding.check),
        feature=str(best["feature"]),
        label=str(best["class"]),
        auroc=float(best["auroc"]),
        bar=Bar(float(best["auroc"]), float(best["low"]), float(best["high"])),
        tone=finding.severity,
    )
