"""A comparison in one picture: ROC curves, and the differences with their intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrlab.comparison.compare import ComparedSystem, Comparison
from cxrlab.comparison.contrasts import Contrast
from cxrlab.comparison.files import letters
from cxrlab.comparison.notes import told_p
from cxrlab.evaluation import curves, style
from cxrlab.evaluation.predictions import FloatArray
from cxrlab.evaluation.view import View

# Shares of 1, so that one axis serves; a log loss would not fit on it.
_FOREST = {
    "auroc": "AUROC",
    "auprc": "average precision",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "recall": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "brier_calibrated": "Brier score*",
    "ece_calibrated": "calibration error*",
}
_MOST_CLASSES = 20
_NAME_WIDTH = 36
_GRID = np.linspace(0, 1, 501)


def draw_comparison(comparison: Comparison) -> Figure:
    """ROC curves of all systems on one axes, beside a forest plot of differences to the first.

    Of more than two classes or of findings a curve is the mean of the sensitivities of the
    classes, each against the rest, whose area is the macro AUROC. In the forest plot a hollow
    point has no interval.
    """
    rows = _rows(comparison)
    inches = max(0.33, 0.13 * (len(comparison.systems) - 1))  # of a row
    with style.look():
        figure = style.new_figure(12.4, max(5.6, 1.8 + inches * len(rows)))
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
        _roc(left, comparison)
        _forest(right, comparison, rows)
    return figure


def _roc(axes: Axes, comparison: Comparison) -> None:
    axes.plot([0, 1], [0, 1], "--", color=style.MUTED, linewidth=1)
    named = zip(letters(comparison), comparison.systems, strict=True)
    for index, (letter, system) in enumerate(named):
        area = system.metrics.values.get("auroc")
        name = textwrap.fill(f"{letter}: {system.name}", _NAME_WIDTH)
        label = f"{name}\nAUROC {'absent' if area is None else f'{area:.3f}'}"
        look: dict[str, Any] = {"color": style.colour(index), "linestyle": style.line(index)}
        across, up = _mean_curve(system.view) if area is not None else (_GRID[:0], _GRID[:0])
        axes.plot(across, up, label=label, **look)
        rates = [system.metrics.values.get(name) for name in ("specificity", "recall")]
        if system.view.binary and None not in rates:
            point = 1 - float(rates[0] or 0), float(rates[1] or 0)
            axes.plot(*point, "o", color="white", markeredgecolor=look["color"],
                      markeredgewidth=2, markersize=8, clip_on=False, zorder=5)  # fmt: skip
    style.unit_square(axes)
    axes.set_anchor("N")  # its title beside that of the other axes
    axes.set(xlabel="1 - specificity (false-positive rate)", ylabel="sensitivity")
    axes.legend(loc="lower right", fontsize=8)
    kinds = {
        "binary": "points: the operating points",
        "multiclass": "mean of the classes, each against the rest",
        "multilabel": "mean of the findings",
    }
    style.title(axes, "ROC curves", f"{_images(comparison)}; {kinds[comparison.task.kind]}")


def _mean_curve(view: View) -> tuple[FloatArray, FloatArray]:
    points = [
        curves.roc_points(member, score)
        for _, suffix, member, score in view.curves()
        if view.value(f"auroc{suffix}") is not None
    ]
    if len(points) == 1:
        return points[0]
    mean = np.mean([np.interp(_GRID, across, up) for across, up in points], axis=0)
    return np.append(0, _GRID), np.append(0, mean)


def _forest(axes: Axes, comparison: Comparison, rows: dict[str, str]) -> None:
    others = comparison.systems[1:]
    axes.axvline(0, color=style.MUTED, linewidth=1)
    step = 0.7 / max(1, len(others))
    drawn = 0
    for index, system in enumerate(others):
        for row, contrast in _contrasts(system, rows):
            place = row + step * (index - (len(others) - 1) / 2)
            _draw(axes, contrast, place, style.colour(index + 1), label=len(others) == 1)
            drawn += 1
    axes.set_yticks(range(len(rows)), rows.values())
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("difference to A (right of 0: higher than A)")
    axes.margins(x=0.06)
    letter = letters(comparison)[1]
    what = f"{letter} less A" if len(others) == 1 else "each system less A"
    note = "95 % intervals by drawing patients; *: lower is better"
    style.title(axes, f"Differences: {what}", note)
    if not drawn:
        axes.text(0.5, 0.5, "Nothing could be compared; comparison.csv says why.", ha="center",
                  va="center", wrap=True, color=style.MUTED, transform=axes.transAxes)  # fmt: skip


def _draw(axes: Axes, contrast: Contrast, place: float, colour: str, *, label: bool) -> None:
    difference, interval = contrast.difference or 0.0, contrast.interval
    if interval is not None:
        axes.hlines(place, interval.low, interval.high, color=colour, linewidth=2)
    face = colour if interval is not None else "white"
    axes.plot(difference, place, "s", color=face, markeredgecolor=colour, markersize=6, zorder=3)
    if label:
        p = "" if contrast.p is None else f"  {told_p(contrast.p)}"
        axes.annotate(
            f"{difference:+.3f}{p}",
            xy=(1, place),
            xytext=(6, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=style.INK,
        )


def _contrasts(system: ComparedSystem, rows: dict[str, str]) -> Iterator[tuple[int, Contrast]]:
    for row, metric in enumerate(rows):
        contrast = system.contrast(metric)
        if contrast is not None and contrast.difference is not None:
            yield row, contrast


def _rows(comparison: Comparison) -> dict[str, str]:
    """Metric and label of each row: of all together, then the AUROC of each class."""
    task = comparison.task
    if task.kind == "binary":
        return _FOREST
    classes = {f"auroc_{name}": f"AUROC {name}" for name in task.classes[:_MOST_CLASSES]}
    return _FOREST | {key: textwrap.shorten(text, 30) for key, text in classes.items()}


def _images(comparison: Comparison) -> str:
    return f"{comparison.split}, {comparison.images:,} images"
