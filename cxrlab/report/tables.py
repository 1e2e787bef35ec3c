"""Tables of metrics, split beside split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxrlab.evaluation.metrics import Interval, Metrics
from cxrlab.report.words import ABSENT, number, span, three
from cxrlab.task import Task

# Field's name, the contract's name; grouped by the question that they answer.
METRICS: dict[str, dict[str, str]] = {
    "Ranking": {"auroc": "AUROC", "auprc": "Average precision"},
    "Decisions": {
        "recall": "Sensitivity (recall)",
        "specificity": "Specificity",
        "precision": "Precision (PPV)",
        "f1": "F1",
        "accuracy": "Accuracy",
        "balanced_accuracy": "Balanced accuracy",
    },
    "Probabilities, raw": {
        "brier": "Brier score",
        "nll": "Log loss",
        "ece": "Calibration error (ECE)",
    },
    "Probabilities, calibrated": {
        "brier_calibrated": "Brier score",
        "nll_calibrated": "Log loss",
        "ece_calibrated": "Calibration error (ECE)",
    },
}
COUNTS = {
    "n": "Images",
    "tp": "True positives",
    "fn": "False negatives",
    "tn": "True negatives",
    "fp": "False positives",
}
_EACH = {
    "auroc": "AUROC",
    "auprc": "Average precision",
    "recall": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1",
}
SPLITS = {
    "val": "validation",
    "test": "test",
    "train": "training",
    "val_shifted": "changed validation",
}


@dataclass(frozen=True)
class Bar:
    """A value between 0 and 1 and its interval, to be drawn."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Cell:
    """A value with what qualifies it.

    Attributes:
        text: the value.
        below: interval or share, in small.
        tone: `warning` where the value is to be distrusted.
    """

    text: str
    below: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table as it is drawn.

    Attributes:
        head: one heading a column, the first of the row names.
        rows: name and cells; a row without cells is a heading across the table.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Gap:
    """Metrics that are absent, or lack an interval, for one reason."""

    split: str
    names: str
    reason: str


def split_name(split: str) -> str:
    """What a reader calls a split."""
    return SPLITS.get(split, split)


def metric_cell(metrics: Metrics, name: str) -> Cell:
    """A metric with its interval; a dash where it is absent."""
    value = metrics.values.get(name)
    if value is None:
        return Cell(ABSENT)
    return Cell(three(value), span(metrics.intervals.get(name)))


def bar(metrics: Metrics, name: str) -> Bar | None:
    """A metric and its interval to be drawn, None where it is absent."""
    value = metrics.values.get(name)
    if value is None:
        return None
    ends = metrics.intervals.get(name, Interval(value, value))
    return Bar(value, ends.low, ends.high)


def metrics_table(by_split: dict[str, Metrics]) -> Table:
    """Every metric that has no class in its name, a column a split."""
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for group, names in METRICS.items():
        rows.append((group, ()))
        for name, label in names.items():
            rows.append((label, tuple(metric_cell(m, name) for m in by_split.values())))
    rows.append(("Counts", ()))
    for name, label in COUNTS.items():
        counts = [metrics.values.get(name) for metrics in by_split.values()]
        if any(count is not None for count in counts):
            shown = (Cell(ABSENT if count is None else number(count)) for count in counts)
            rows.append((label, tuple(shown)))
    return Table(("", *map(split_name, by_split)), tuple(rows))


def class_table(metrics: Metrics, task: Task) -> Table | None:
    """Each class against the rest, or each finding; None for two classes."""
    if task.kind == "binary":
        return None
    rows = []
    for name in task.classes:
        prevalence = metrics.values.get(f"prevalence_{name}")
        images = metrics.values.get(f"n_{name}", metrics.values.get("n", 0.0))
        having = ABSENT if prevalence is None else number(round(prevalence * images))
        cells = [metric_cell(metrics, f"{metric}_{name}") for metric in _EACH]
        rows.append((name, (Cell(having, f"of {number(images)}"), *cells)))
    first = "Finding" if task.kind == "multilabel" else "Class"
    return Table((first, "Images", *_EACH.values()), tuple(rows))


def gaps(by_split: dict[str, Metrics]) -> tuple[list[Gap], list[Gap]]:
    """What is absent, and what lacks an interval, with the reasons."""
    absent, bare = [], []
    for split, metrics in by_split.items():
        absent += _by_reason(split, metrics.absent)
        bare += _by_reason(split, metrics.no_interval)
    return absent, bare


def _by_reason(split: str, reasons: dict[str, str]) -> list[Gap]:
    found: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        found.setdefault(reason, []).append(name)
    return [Gap(split_name(split), _few(names), reason) for reason, names in found.items()]


def _few(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
