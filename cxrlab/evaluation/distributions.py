"""The figure of score distributions by class."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit, logit

from cxrlab.evaluation import style
from cxrlab.evaluation.predictions import FloatArray
from cxrlab.evaluation.threshold import show_probability
from cxrlab.evaluation.view import View

# Scores beyond these are drawn at the rim.
_FARTHEST = float(logit(0.9999))
_TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)


def score_distributions(view: View) -> Figure:
    """Histograms of the scores by true class, on a log-odds axis, with the threshold."""
    if view.binary:
        return _two_distributions(view)
    return _by_finding(view) if view.multilabel else _many_distributions(view)


def _two_distributions(view: View) -> Figure:
    odds, edges = _log_odds(view.probability)
    threshold = view.thresholds[0] if view.thresholds else None
    figure = style.new_figure(6.8, 4.8)
    panels = figure.subplots(2, 1, sharex=True)
    decided = None if threshold is None else view.probability >= threshold
    for index, axes in enumerate(panels):
        member = view.target == index
        name, other = view.task.classes[index], view.task.classes[1 - index]
        note = f"{name}: {member.sum():,} images"
        wrong = np.zeros(member.shape, dtype=bool)
        if decided is not None:
            wrong = member & (decided != bool(index))
            note += f", {wrong.sum():,} of them called {other}"
        weight = 100 / max(int(member.sum()), 1)
        axes.hist(
            [odds[wrong], odds[member & ~wrong]],
            bins=edges,
            weights=[np.full(wrong.sum(), weight), np.full((member & ~wrong).sum(), weight)],
            stacked=True,
            color=[style.INK, style.colour(index)],
        )
        _percent_axis(axes)
        style.panel_note(axes, note)
        if threshold is not None:
            axes.axvline(_odds(np.array([threshold]))[0], color=style.INK, linewidth=1.2)
    below = view.below
    if threshold is not None:
        below += f"; line: threshold {show_probability(threshold)}, black: wrong side of it"
    style.title(panels[0], "Scores by class", below, lift=18)
    _probability_axis(panels[-1], edges, f"probability of {view.task.classes[1]} (log-odds scale)")
    return figure


def _many_distributions(view: View) -> Figure:
    size = len(view.task.classes)
    figure = style.new_figure(8.0, 1.6 + 1.5 * size)
    panels = figure.subplots(size, 1, sharex=True)
    odds, edges = _log_odds(view.probability)
    for index, axes in enumerate(panels):
        for true, name in enumerate(view.task.classes):
            member = view.target == true
            label = f"{name} ({member.sum():,})"
            _outline(axes, odds[member, index], edges, true, label)
        _percent_axis(axes)
        style.panel_note(axes, f"probability of {view.task.classes[index]}")
    style.title(panels[0], "Scores by class", f"{view.below}; colour: true class", lift=18)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    _probability_axis(panels[-1], edges, "probability (log-odds scale)")
    return figure


def _by_finding(view: View) -> Figure:
    """A panel a finding, its known images outlined by truth."""
    size = len(view.task.classes)
    columns = 1 if size <= 4 else 2
    rows = math.ceil(size / columns)
    figure = style.new_figure(1.6 + 5.2 * columns, 1.6 + 1.3 * rows)
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).T.ravel()
    odds, edges = _log_odds(view.probability)
    for index, axes in enumerate(panels):
        if index >= size:
            axes.set_visible(False)
            continue
        parts = [odds[view.target[:, index] == answer, index] for answer in (0, 1)]
        for answer, (part, name) in enumerate(zip(parts, ("absent", "present"), strict=True)):
            _outline(axes, part, edges, answer, name)
        if view.thresholds:
            axes.axvline(_odds(np.array([view.thresholds[index]]))[0], color=style.INK, lw=1.2)
        counts = f"{len(parts[0]):,} absent, {len(parts[1]):,} present"
        style.panel_note(axes, f"{view.task.classes[index]}: {counts}")
        _percent_axis(axes)
        if index % rows == rows - 1 or index == size - 1:
            _probability_axis(axes, edges, "probability (log-odds scale)")
            axes.tick_params(labelbottom=True)
    below = view.below + ("; line: threshold" if view.thresholds else "")
    style.title(panels[0], "Scores by finding", below, lift=18)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _outline(axes: Axes, odds: FloatArray, edges: FloatArray, index: int, label: str) -> None:
    """The histogram of one class, as shares of it."""
    axes.hist(
        odds,
        bins=edges.tolist(),
        weights=np.full(odds.size, 100 / max(odds.size, 1)),
        histtype="step",
        color=style.colour(index),
        linestyle=style.line(index),
        linewidth=1.6,
        label=label,
    )


def _percent_axis(axes: Axes) -> None:
    axes.set_ylabel("% of class")
    axes.set_ylim(0, max(axes.get_ylim()[1], 1))


def _log_odds(probability: FloatArray) -> tuple[FloatArray, FloatArray]:
    odds = _odds(probability)
    rim = float(np.clip(np.abs(odds).max(), logit(0.95), _FARTHEST))
    return np.clip(odds, -rim, rim), np.linspace(-rim, rim, 41)


def _odds(probability: FloatArray) -> FloatArray:
    low, high = expit(-_FARTHEST), expit(_FARTHEST)
    return np.asarray(logit(np.clip(probability, low, high)))


def _probability_axis(axes: Axes, edges: FloatArray, label: str) -> None:
    ticks = [p for p in _TICKS if edges[0] - 1e-9 <= logit(p) <= edges[-1] + 1e-9]
    axes.set_xticks(logit(ticks), [str(p) for p in ticks])
    axes.set(xlim=(edges[0] * 1.02, edges[-1] * 1.02), xlabel=label)
