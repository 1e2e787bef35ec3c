"""The figure of right and wrong decisions: a confusion matrix, or a row a finding."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrlab.evaluation import style
from cxrlab.evaluation.metrics import binary_counts, confusion_counts
from cxrlab.evaluation.predictions import FloatArray
from cxrlab.evaluation.threshold import show_probability
from cxrlab.evaluation.view import View

_KINDS = (("true negative", "false positive"), ("false negative", "true positive"))


def confusion_matrix(view: View) -> Figure:
    """Counts, and shares of each true class; shading by share."""
    return _by_finding(view) if view.multilabel else _matrix(view)


def _matrix(view: View) -> Figure:
    counts = confusion_counts(view.metrics, view.task)
    if counts is None:
        raise ValueError("the view's metrics hold no confusion matrix")
    classes = view.task.classes
    size = len(classes)
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    figure = style.new_figure(max(6.0, 2.2 + 1.1 * size), max(5.0, 1.6 + 1.0 * size))
    axes = figure.add_subplot()
    _shade(axes, share)
    for row, column in np.ndindex(size, size):
        cell = _cell(share[row, column])
        axes.text(column, row, f"{counts[row, column]:,}", va="bottom", size=17, **cell)
        part = f"{share[row, column]:.1%}" if totals[row, 0] else "no images"
        axes.text(column, row + 0.06, part, va="top", size=10, **cell)
        if view.binary:
            axes.text(column, row + 0.26, _KINDS[row][column], va="top", size=9, **cell)
    ticks = range(size)
    axes.set_xticks(ticks, classes)
    if max(map(len, classes)) > (24 if view.binary else 12):
        axes.tick_params(axis="x", rotation=30)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
    axes.set_yticks(ticks, [f"{n}\n{t:,}" for n, t in zip(classes, totals[:, 0], strict=True)])
    axes.set(xlabel="predicted", ylabel="true class")
    style.title(axes, "Confusion matrix", f"{view.below}; {_decided(view)}")
    return figure


def _by_finding(view: View) -> Figure:
    """A row a finding; each pair of columns shares the images of one truth."""
    names = view.task.classes
    figure = style.new_figure(8.4, 1.8 + 0.44 * len(names))
    axes = figure.add_subplot()
    tables = [binary_counts(view.metrics, f"_{name}") for name in names]
    counts = np.stack([np.zeros((2, 2), dtype=np.int64) if t is None else t for t in tables])
    totals = counts.sum(axis=2, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    _shade(axes, share.reshape(len(names), 4))
    for row, true, decided in np.ndindex(counts.shape):
        text = "–"  # noqa: RUF001
        if totals[row, true, 0]:
            text = f"{counts[row, true, decided]:,}  ({share[row, true, decided]:.0%})"
        cell = _cell(share[row, true, decided])
        axes.text(2 * true + decided, row, text, va="center", size=10, **cell)
    axes.axvline(1.5, color="white", linewidth=6)
    axes.set_xticks(range(4), [kind for pair in _KINDS for kind in pair])
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), names)
    note = f"{view.below}; % of those known to be without the finding (left) and with it (right)"
    style.title(axes, "Decisions by finding", note, lift=18)
    return figure


def _shade(axes: Axes, share: FloatArray) -> None:
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _cell(share: float) -> dict[str, Any]:
    return {"ha": "center", "color": "white" if share > 0.6 else style.INK}


def _decided(view: View) -> str:
    if not view.thresholds:
        return "decided as the most probable class"
    return f"{view.task.classes[1]} where probability >= {show_probability(view.thresholds[0])}"
