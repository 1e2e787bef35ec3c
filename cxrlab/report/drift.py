"""How far sensitivity and specificity move from validation to test, and why."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cxrlab.evaluation.metrics import Interval, Metrics
from cxrlab.evaluation.predictions import scores
from cxrlab.report.finished import FinishedRun
from cxrlab.report.tables import Cell, Table
from cxrlab.report.words import ABSENT, span, three, two

# From this difference of sensitivity or specificity on, a threshold does not hold.
DRIFT = 0.05
NAMES = {"recall": "sensitivity", "specificity": "specificity"}


def moved(run: FinishedRun) -> dict[str, float]:
    """Sensitivity and specificity that differ by more than `DRIFT`, test less validation."""
    return {name: gap for name, gap in run.evaluation.drift().items() if is_drift(gap)}


def is_drift(gap: float) -> bool:
    """Whether a difference is more than `DRIFT`, the last digits of a float aside."""
    return round(abs(gap), 9) > DRIFT


def overlap(run: FinishedRun, name: str) -> bool:
    """Whether the intervals of a metric on validation and test have a value in common."""
    both = both_splits(run)
    ends = [metrics.intervals.get(name) for metrics in both or ()]
    known = [interval for interval in ends if interval is not None]
    if len(known) < 2:
        return False
    return max(i.low for i in known) <= min(i.high for i in known)


def both_splits(run: FinishedRun) -> tuple[Metrics, Metrics] | None:
    """The metrics of validation and of test, None where one is missing."""
    metrics = run.evaluation.metrics
    return (metrics["val"], metrics["test"]) if {"val", "test"} <= metrics.keys() else None


def reasons(run: FinishedRun) -> Iterator[str]:
    """Why a threshold of two classes does not hold, as far as the scores tell."""
    both = both_splits(run)
    gaps = moved(run)
    if not gaps or both is None:
        return
    for name in gaps:
        label = run.task.classes[1 if name == "recall" else 0]
        val, test = (_quartiles(run, split, label) for split in ("val", "test"))
        if val is None or test is None:
            continue
        way = "higher than" if test[1] > val[1] else "lower than"
        if round(test[1], 3) == round(val[1], 3):
            way = "about as high as"
        yield (
            f"{label} images of test score {way} those of validation: the median probability of "
            f"{run.positive} is {two(test[1])} against {two(val[1])}."
        )
        if overlap(run, name):
            yield (
                f"The intervals of {NAMES[name]} on the two splits overlap, so chance may explain "
                "part of the difference or all of it."
            )
    before, after = (metrics.values.get("auroc") for metrics in both)
    if before is not None and after is not None:
        kept = before - after <= DRIFT
        yield (
            f"AUROC is {two(after)} on test and {two(before)} on validation: "
            + (
                "the order of the images is kept while their scores have moved, so the threshold "
                "cuts them in another place. Recalibrate on images like those of test; do not "
                "choose a threshold on test itself."
                if kept
                else "the order of the images suffers too, so no threshold would bring the figures "
                "of validation back."
            )
        )


def _quartiles(run: FinishedRun, split: str, label: str) -> tuple[float, float, float] | None:
    """Of the raw probability of class 1 of the images of a class."""
    table = run.evaluation.tables[split]
    member = table["target"].to_numpy() == run.task.classes.index(label)
    values = scores(table, run.task, "probability")[member]
    if not values.size or np.isnan(values).any():
        return None
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def score_shift(run: FinishedRun) -> Table:
    """Median and quartiles of the raw probability of class 1, by class and split."""
    rows = []
    for label in run.task.classes:
        found = [_quartiles(run, split, label) for split in ("val", "test")]
        cells = [
            Cell(ABSENT) if q is None else Cell(three(q[1]), span(Interval(q[0], q[2])))
            for q in found
        ]
        rows.append((label, tuple(cells)))
    return Table(("Images of class", "validation", "test"), tuple(rows))
