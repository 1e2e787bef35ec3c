"""A comparison as it is printed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cxrlab.comparison.compare import ComparedSystem, Comparison
from cxrlab.comparison.contrasts import Contrast
from cxrlab.comparison.files import letters
from cxrlab.comparison.notes import notes, show_p, told_p
from cxrlab.console import new_table, print_table

_LABELS = {
    "auroc": "ROC-AUC",
    "auprc": "Average precision",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "f1": "F1",
    "brier": "Brier score",
    "brier_calibrated": "  calibrated",
    "nll": "Log loss",
    "nll_calibrated": "  calibrated",
    "ece": "Calibration error",
    "ece_calibrated": "  calibrated",
}
_MCNEMAR = {
    "accuracy": "all images",
    "recall": "positive images",
    "specificity": "negative images",
}
_ABSENT = "-"
_NAME_WIDTH = 28


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print which systems there are, each against the first, the spread of seeds and the notes.

    Plain text without colour codes where the output is no terminal.

    Args:
        comparison: what to print.
        console: where to; default: standard output.
    """
    console = console or Console()
    names = letters(comparison)
    print_table(
        f"Comparison on {comparison.split}: {comparison.images:,} images of "
        f"{comparison.patients:,} patients",
        _systems_table(comparison, names),
        console,
    )
    spread = _spread_table(comparison, names)
    if spread.columns[1:]:
        print_table("Over seeds: mean ± SD of single runs", spread, console)
    reference = comparison.systems[0]
    for letter, system in zip(names[1:], comparison.systems[1:], strict=True):
        table = _pair_table(reference, system, letter)
        print_table(f"{letter} against A, difference with 95 % interval", table, console)
        if comparison.task.kind != "binary":
            classes = _classes_table(reference, system, comparison, letter)
            print_table(f"{letter} against A, ROC-AUC of each class", classes, console)
        if lines := _tests(system, letter):
            console.print()
            console.print(Text("\n".join(lines)))
    console.print()
    for line in notes(comparison):
        console.print(Text(line))


def _systems_table(comparison: Comparison, names: Sequence[str]) -> Table:
    table = new_table("")
    table.add_column("", overflow="fold")
    table.add_column("Runs", justify="right", no_wrap=True)
    for letter, system in zip(names, comparison.systems, strict=True):
        table.add_row(letter, Text(system.name), str(len(system.runs)))
    return table


def _spread_table(comparison: Comparison, names: Sequence[str]) -> Table:
    table = new_table("")
    several = [
        (letter, system)
        for letter, system in zip(names, comparison.systems, strict=True)
        if system.spread
    ]
    for letter, system in several:
        table.add_column(f"{letter} ({len(system.runs)})", justify="right", no_wrap=True)
    for metric, label in _LABELS.items():
        found = [system.spread.get(metric) for _, system in several]
        cells = [f"{s.mean:.3f} ± {s.sd:.3f}" if s else _ABSENT for s in found]
        table.add_row(label, *cells)
    return table


def _pair_table(reference: ComparedSystem, system: ComparedSystem, letter: str) -> Table:
    table = new_table("")
    for heading in ("A", letter, f"{letter} - A", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for metric, label in _LABELS.items():
        values = [_value(each, metric) for each in (reference, system)]
        cells = _difference(system.contrast(metric))
        table.add_row(label, *values, *cells, end_section=metric == "f1")
    return table


def _classes_table(
    reference: ComparedSystem, system: ComparedSystem, comparison: Comparison, letter: str
) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="")
    table.add_column("", max_width=_NAME_WIDTH, overflow="fold")
    for heading in ("A", letter, f"{letter} - A", "p", "DeLong p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in comparison.task.classes:
        metric = f"auroc_{name}"
        table.add_row(
            Text(name),
            *(_value(each, metric) for each in (reference, system)),
            *_difference(system.contrast(metric)),
            _p(system.contrast(metric, "delong")),
        )
    return table


def _tests(system: ComparedSystem, letter: str) -> list[str]:
    """DeLong's and McNemar's tests of all classes together; the others are in the files."""
    found = []
    delong = system.contrast("auroc", "delong")
    if delong is not None and delong.p_adjusted is not None:
        p = told_p(delong.p_adjusted)
        found.append(f"DeLong, ROC-AUC: z = {delong.detail['z']:+.2f}, {p}")
    for metric, what in _MCNEMAR.items():
        contrast = system.contrast(metric, "mcnemar")
        if contrast is not None and contrast.p_adjusted is not None:
            one, other = (int(contrast.detail[f"{who}_alone"]) for who in ("reference", "system"))
            p = told_p(contrast.p_adjusted)
            found.append(f"McNemar, {what}: right A alone {one:,}, {letter} alone {other:,}, {p}")
    return found


def _difference(contrast: Contrast | None) -> tuple[str, str]:
    if contrast is None or contrast.difference is None:
        return _ABSENT, _ABSENT
    ends = contrast.interval
    shown = f" ({ends.low:+.3f} to {ends.high:+.3f})" if ends else ""
    return f"{contrast.difference:+.3f}{shown}", _p(contrast)


def _p(contrast: Contrast | None) -> str:
    """Adjusted for the number of systems, which changes nothing for two."""
    if contrast is None or contrast.p_adjusted is None:
        return _ABSENT
    return show_p(contrast.p_adjusted)


def _value(system: ComparedSystem, metric: str) -> str:
    value = system.metrics.values.get(metric)
    return _ABSENT if value is None else f"{value:.3f}"
