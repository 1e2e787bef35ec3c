"""The result table that a run prints at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cxrlab.console import fits, new_table, print_table
from cxrlab.evaluation.binary import AT_HALF
from cxrlab.evaluation.metrics import Metrics, confusion_counts
from cxrlab.evaluation.threshold import Threshold, origin_words, show_probability
from cxrlab.task import Task

# In the order of a reader's interest; the first block is what a run is asked for.
_MAIN = {
    "auroc": "ROC-AUC",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "f1": "F1",
}
_MORE = {
    "balanced_accuracy": "Balanced accuracy",
    "auprc": "Average precision",
    "brier": "Brier score",
    "brier_calibrated": "  calibrated",
    "nll": "Log loss",
    "nll_calibrated": "  calibrated",
    "ece": "Calibration error",
    "ece_calibrated": "  calibrated",
}
_EACH_CLASS = {
    "auroc": "ROC-AUC",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "f1": "F1",
}
_EACH_FINDING = {"auroc": "ROC-AUC", "recall": "Sens.", "specificity": "Spec.", "f1": "F1"}
_NAME_WIDTH = 28  # of a finding; leaves its row within 80 columns
_ABSENT = "-"


def print_results(
    metrics_by_split: Mapping[str, Metrics],
    task: Task,
    console: Console | None = None,
    *,
    thresholds: Sequence[Threshold] = (),
) -> None:
    """Print metrics side by side, each class, decisions, thresholds and what is absent and why.

    Plain text without colour codes where the output is no terminal.

    Args:
        metrics_by_split: in the order of the columns, such as val, test.
        task: what is predicted.
        console: where to; default: standard output.
        thresholds: for their rule and origin; the values are among the metrics.
    """
    console = console or Console()
    heading = {
        "binary": "Result",
        "multiclass": "Result (means over the classes)",
        "multilabel": "Result (means over the findings)",
    }
    table = _metrics_table(metrics_by_split, _shown)
    if not fits(table, console):  # three splits beside each other in a narrow window
        table = _metrics_table(metrics_by_split, _alone)
    print_table(heading[task.kind], table, console)
    for split, metrics in metrics_by_split.items():
        if task.kind == "multilabel":
            print_table(f"Each finding, {split}", _finding_table(metrics, task), console)
        elif task.kind == "multiclass":
            table = _class_table(metrics, task.classes)
            print_table(f"Each class against the rest, {split}", table, console)
    for split, metrics in metrics_by_split.items():
        counts = None if task.kind == "multilabel" else confusion_counts(metrics, task)
        if counts is not None:
            table = _confusion_table(counts, task.classes)
            print_table(f"Confusion matrix, {split}", table, console)
    notes = [*_threshold_lines(thresholds, task), *_absent_lines(metrics_by_split, task)]
    if notes:
        console.print()
        console.print(Text("\n").join(notes))


def _metrics_table(
    metrics_by_split: Mapping[str, Metrics], shown: Callable[[Metrics, str], str]
) -> Table:
    table = new_table("")
    for split in metrics_by_split:
        table.add_column(split, justify="right")
    for block in (_MAIN, _MORE):
        for name, label in block.items():
            cells = [shown(metrics, name) for metrics in metrics_by_split.values()]
            style = "bold" if block is _MAIN else None
            table.add_row(label, *cells, style=style, end_section=name == "f1")
    counts = [f"{metrics.values['n']:,.0f}" for metrics in metrics_by_split.values()]
    table.add_row("Images", *counts)
    cuts = [metrics.values.get("threshold") for metrics in metrics_by_split.values()]
    if any(cut is not None for cut in cuts):
        told = [_ABSENT if cut is None else show_probability(cut) for cut in cuts]
        table.add_row("Threshold", *told)
    return table


def _class_table(metrics: Metrics, classes: Sequence[str]) -> Table:
    table = new_table("")
    for label in _EACH_CLASS.values():
        table.add_column(label, justify="right", no_wrap=True)
    for name in classes:
        table.add_row(Text(name), *(_alone(metrics, f"{metric}_{name}") for metric in _EACH_CLASS))
    return table


def _finding_table(metrics: Metrics, task: Task) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="")
    table.add_column("", max_width=_NAME_WIDTH, overflow="fold")
    for label in (*_EACH_FINDING.values(), "Present"):
        table.add_column(label, justify="right", no_wrap=True)
    for name in task.classes:
        known = metrics.values.get(f"n_{name}", 0.0)
        present = round(metrics.values.get(f"prevalence_{name}", 0.0) * known)
        table.add_row(
            Text(name),
            *(_alone(metrics, f"{metric}_{name}") for metric in _EACH_FINDING),
            f"{present:,}/{known:,.0f}",
        )
    return table


def _confusion_table(counts: npt.NDArray[np.int64], classes: Sequence[str]) -> Table:
    table = new_table("true / predicted")
    for name in classes:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for index, (name, row) in enumerate(zip(classes, counts, strict=True)):
        total = int(row.sum())
        cells = []
        for column, count in enumerate(row):
            share = f"{count / total:6.1%}" if total else f"{_ABSENT:>6}"
            cells.append(Text(f"{count:,} {share}", style="bold" if column == index else ""))
        table.add_row(Text(name), *cells)
    return table


def _threshold_lines(thresholds: Sequence[Threshold], task: Task) -> list[Text]:
    """Where thresholds come from; those of findings, whose values are in a table, by origin."""
    if task.kind == "binary":
        return [
            Text.assemble(
                "Threshold ",
                (show_probability(threshold.value), "bold"),
                f" for {task.classes[1]}, {_source(threshold)}",
            )
            for threshold in thresholds
        ]
    by_source: dict[str, list[str]] = {}
    for threshold, name in zip(thresholds, task.classes, strict=False):
        by_source.setdefault(_source(threshold), []).append(name)
    most = max(by_source, key=lambda source: len(by_source[source]), default="")
    return [
        Text(f"Thresholds {source}" + ("" if source == most else f": {', '.join(names)}"))
        for source, names in by_source.items()
    ]


def _source(threshold: Threshold) -> str:
    if threshold.origin == "given":
        return "given in the configuration"
    if threshold.origin == "default":
        return f"left at {threshold.rule}, for the rule can't be applied"
    return f"chosen on {origin_words(threshold.origin)} by {threshold.rule}"


def _absent_lines(metrics_by_split: Mapping[str, Metrics], task: Task) -> list[Text]:
    """One line for the metrics of a split that are absent for one reason."""
    lines = []
    for split, metrics in metrics_by_split.items():
        absent = {name: why for name, why in metrics.absent.items() if name not in AT_HALF}
        by_reason = sorted(absent.items(), key=lambda item: item[1])
        for reason, group in groupby(by_reason, key=lambda item: item[1]):
            names = dict.fromkeys(_metric(name, task) for name, _ in group)
            lines.append(Text(f"Not computed on {split}, because {reason}: {', '.join(names)}"))
    return lines


def _metric(name: str, task: Task) -> str:
    """The metric alone for a finding, which the reason names and which has many."""
    if task.kind == "multilabel":
        for finding in task.classes:
            name = name.removesuffix(f"_{finding}")
    return name


def _shown(metrics: Metrics, name: str) -> str:
    interval = metrics.intervals.get(name)
    ends = f" ({interval.low:.3f}-{interval.high:.3f})" if interval else ""
    return _alone(metrics, name) + ends


def _alone(metrics: Metrics, name: str) -> str:
    """Without its interval, where there is no room for it; the report shows all."""
    value = metrics.values.get(name)
    return _ABSENT if value is None else f"{value:.3f}"
