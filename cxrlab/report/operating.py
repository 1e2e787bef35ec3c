"""What the operating point gives where it was chosen and on test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cxrlab.evaluation.threshold import Threshold, origin_words, show_probability
from cxrlab.report.drift import NAMES, both_splits, is_drift, reasons, score_shift
from cxrlab.report.finished import FinishedRun
from cxrlab.report.tables import Bar, Cell, Table, bar, metric_cell, split_name
from cxrlab.report.words import ABSENT, joined, signed, three

_RATIOS = {
    "recall": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision (PPV)",
    "f1": "F1",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
}


@dataclass(frozen=True)
class Pair:
    """A metric on validation and on test.

    Attributes:
        name: of the metric.
        val: on validation.
        test: on test.
        text: the difference in words.
        moved: whether it is more than `DRIFT`.
    """

    name: str
    val: Bar
    test: Bar
    text: str
    moved: bool


@dataclass(frozen=True)
class Operating:
    """The section on the operating point.

    Attributes:
        rules: what decides, and where it comes from.
        pairs: sensitivity and specificity on both splits.
        table: the metrics of both splits, and at 0.5.
        why: why the two splits differ, as far as the scores tell.
        shift: the scores of each class on both splits; None without both.
    """

    rules: tuple[str, ...]
    pairs: tuple[Pair, ...]
    table: Table | None
    why: tuple[str, ...]
    shift: Table | None


def operating_point(run: FinishedRun) -> Operating:
    """Compare validation with test at the thresholds of the run."""
    kind = run.task.kind
    both = both_splits(run)
    if kind == "binary":
        table: Table | None = _binary_table(run)
    else:
        table = _finding_table(run) if kind == "multilabel" else _class_table(run)
    return Operating(
        rules=_rules(run),
        pairs=tuple(_pairs(run)) if both else (),
        table=table,
        why=tuple(reasons(run)) if both and kind == "binary" else (),
        shift=score_shift(run) if both and kind == "binary" else None,
    )


def _rules(run: FinishedRun) -> tuple[str, ...]:
    task, thresholds = run.task, run.evaluation.point.thresholds
    if task.kind == "multiclass":
        return ("The most probable class is decided for; there is no threshold to choose.",)
    if not thresholds:
        return ("No threshold was chosen, so nothing was decided.",)
    if task.kind == "binary":
        value, source = show_probability(thresholds[0].value), _source(thresholds[0])
        return (f"{run.positive} is decided from a raw probability of {value} on: {source}.",)
    by_source: dict[str, list[str]] = {}
    for threshold, name in zip(thresholds, task.classes, strict=True):
        by_source.setdefault(_source(threshold), []).append(name)
    told = [f"{joined(names)}: {source}." for source, names in by_source.items()]
    return ("Each finding is decided at a threshold of its own on the raw probability.", *told)


def _source(threshold: Threshold) -> str:
    if threshold.origin == "given":
        return "a number given in the configuration, which no data chose"
    if threshold.origin == "default":
        return f"left at {threshold.rule}, for the rule could not be applied"
    return f"chosen on {origin_words(threshold.origin)} by the rule {threshold.rule}"


def _pairs(run: FinishedRun) -> Iterator[Pair]:
    both = both_splits(run)
    for name in NAMES:
        bars = [bar(metrics, name) for metrics in both or ()]
        known = [found for found in bars if found is not None]
        if len(known) == 2:
            gap = known[1].value - known[0].value
            mean = "" if run.task.kind == "binary" else "mean "
            yield Pair(
                f"{mean}{NAMES[name]}".capitalize(),
                val=known[0],
                test=known[1],
                text=f"{three(known[0].value)} to {three(known[1].value)}, {signed(gap)}",
                moved=is_drift(gap),
            )


def _binary_table(run: FinishedRun) -> Table:
    metrics = run.evaluation.metrics
    both = both_splits(run)
    head = [split_name(split) for split in metrics]
    if both:
        head.append("test less validation")
    head += [f"{split_name(split)} at 0.5" for split in metrics]
    rows = []
    for name, label in _RATIOS.items():
        cells = [metric_cell(m, name) for m in metrics.values()]
        if both:
            cells.append(_gap(both[0].values.get(name), both[1].values.get(name)))
        cells += [metric_cell(m, f"{name}_at_0.5") for m in metrics.values()]
        rows.append((label, tuple(cells)))
    return Table(("", *head), tuple(rows))


def _finding_table(run: FinishedRun) -> Table | None:
    thresholds, metrics = run.evaluation.point.thresholds, run.evaluation.metrics
    if not thresholds:
        return None
    both = both_splits(run)
    head = ["Threshold"]
    for label in ("sens.", "spec."):
        head += [f"{split_name(split)} {label}" for split in metrics]
        head += [f"change of {label}"] if both else []
    rows = []
    for threshold, finding in zip(thresholds, run.task.classes, strict=True):
        cells = [Cell(show_probability(threshold.value), threshold.rule)]
        for name in NAMES:
            key = f"{name}_{finding}"
            cells += [metric_cell(m, key) for m in metrics.values()]
            cells += [_gap(*(m.values.get(key) for m in both))] if both else []
        rows.append((finding, tuple(cells)))
    return Table(("Finding", *head), tuple(rows))


def _class_table(run: FinishedRun) -> Table:
    metrics, both = run.evaluation.metrics, both_splits(run)
    head = [f"{split_name(split)}: share recognised" for split in metrics]
    rows = []
    for name in run.task.classes:
        cells = [metric_cell(m, f"recall_{name}") for m in metrics.values()]
        cells += [_gap(*(m.values.get(f"recall_{name}") for m in both))] if both else []
        rows.append((name, tuple(cells)))
    return Table(("Class", *head, *(["test less validation"] if both else [])), tuple(rows))


def _gap(val: float | None, test: float | None) -> Cell:
    if val is None or test is None:
        return Cell(ABSENT)
    gap = test - val
    return Cell(signed(gap), tone="warning" if is_drift(gap) else "")
