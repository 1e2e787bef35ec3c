"""How far probabilities mean what they say, and what a call is worth elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxrlab.evaluation.metrics import Interval
from cxrlab.evaluation.predictive_values import AT_HALF, OPERATING_POINT
from cxrlab.report.finished import FinishedRun
from cxrlab.report.tables import Cell, Table, metric_cell, split_name
from cxrlab.report.words import ABSENT, number, span, three

_SCORES = {"ece": "Calibration error (ECE)", "brier": "Brier score", "nll": "Log loss"}
_ONE_IN_TWENTY = 0.05


@dataclass(frozen=True)
class CalibrationNote:
    """The section on calibration: how it was done, and before and after."""

    method: str
    table: Table | None


def calibration(run: FinishedRun) -> CalibrationNote:
    """Before and after, on each split; no table where nothing was calibrated."""
    metrics = run.evaluation.metrics
    known = [name for m in metrics.values() for name in _SCORES if f"{name}_calibrated" in m.values]
    if not known:
        return CalibrationNote(
            "There is no calibrated metric: the scores are those of the network, and no "
            "probability of disease.",
            None,
        )
    head = [f"{split_name(split)}, {kind}" for split in metrics for kind in ("raw", "calibrated")]
    rows = tuple(
        (
            label,
            tuple(
                metric_cell(m, f"{name}{suffix}")
                for m in metrics.values()
                for suffix in ("", "_calibrated")
            ),
        )
        for name, label in _SCORES.items()
    )
    return CalibrationNote(_method(run), Table(("", *head), rows))


def _method(run: FinishedRun) -> str:
    found = run.evaluation.point.calibration
    curves = [curve for curve in found.curves if curve is not None]
    if curves:
        return (
            "Calibrated by isotonic regression fitted on validation: a rising curve from score to "
            f"probability, of {number(max(len(curve.logits) for curve in curves))} points."
        )
    told = f"Calibrated by a temperature of {number(found.temperature)} fitted on validation"
    if found.temperature == 1:
        return f"{told}, which leaves the scores as they are."
    way = "too sure of itself" if found.temperature > 1 else "less sure of itself than it was right"
    return f"{told}: the network was {way} there, and its order of the images is unchanged."


def predictive_values(run: FinishedRun) -> Table | None:
    """What a call is worth by prevalence; None where the run has no such table."""
    found = run.predictive.get(run.split)
    if found is None or found.empty:
        return None
    if run.task.kind == "multilabel":
        return _by_finding(found, run.task.classes)
    points = list(dict.fromkeys(found["point"]))
    names = {OPERATING_POINT: "at the threshold", AT_HALF: "at 0.5"}
    head = [f"{v} {names.get(p, p)}" for p in points for v in ("PPV", "NPV")]
    rows = []
    for prevalence, group in found.groupby("prevalence"):
        by_point = group.set_index("point")
        cells = [
            _predictive(by_point.loc[point], v) if point in by_point.index else Cell(ABSENT)
            for point in points
            for v in ("ppv", "npv")
        ]
        own = f" (this {split_name(run.split)})" if group["own"].any() else ""
        rows.append((f"{100 * float(str(prevalence)):.3g} %{own}", tuple(cells)))
    return Table(("Prevalence", *head), tuple(rows))


def _by_finding(found: pd.DataFrame, classes: Sequence[str]) -> Table:
    """At the thresholds, each finding at its own prevalence and at one in twenty."""
    chosen = found[found["point"] == OPERATING_POINT].set_index("class")
    rows = []
    for name in (c for c in classes if c in chosen.index):
        own = chosen.loc[[name]]
        at = [own[own["own"]], own[own["prevalence"] == _ONE_IN_TWENTY]]
        cells = [Cell(f"{at[0].iloc[0]['prevalence']:.1%}" if len(at[0]) else ABSENT)]
        for row in at:
            cells += [
                _predictive(row.iloc[0], value) if len(row) else Cell(ABSENT)
                for value in ("ppv", "npv")
            ]
        rows.append((name, tuple(cells)))
    head = ("Finding", "Prevalence here", "PPV here", "NPV here", "PPV at 5 %", "NPV at 5 %")
    return Table(head, tuple(rows))


def _predictive(row: pd.Series, name: str) -> Cell:
    value, low, high = (float(row.get(f"{name}{end}", np.nan)) for end in ("", "_low", "_high"))
    if np.isnan(value):
        return Cell(ABSENT)
    return Cell(three(value), "" if np.isnan(low) else span(Interval(low, high)))
