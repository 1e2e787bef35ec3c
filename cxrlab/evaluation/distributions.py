"""The figure of score distributions by class."""

from __future__ import annotations

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
    return _two_distributions(view) if view.binary else _many_distributions(view)


def _two_distributions(view: View) -> Figure:
    odds, edges = _log_odds(view.probability)
    figure = style.new_figure(6.8, 4.8)
    panels = figure.subplots(2, 1, sharex=True)
    decided = None if view.threshold is None else view.probability >= view.threshold
    for index, axes in enumerate(panels):
        member = view.target == index
        name, other = view.classes[index], view.classes[1 - index]
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
        axes.set_ylabel("% of class")
        axes.set_ylim(bottom=0)
        style.panel_note(axes, note)
        if view.threshold is not None:
            axes.axvline(_odds(np.array([view.threshold]))[0], color=style.INK, linewidth=1.2)
    below = view.below
    if view.threshold is not None:
        below += f"; line: threshold {show_probability(view.threshold)}, black: wrong side of it"
    style.title(panels[0], "Scores by class", below, lift=18)
    _probability_axis(panels[-1], edges, f"probability of {view.classes[1]} (log-odds scale)")
    return figure


def _many_distributions(view: View) -> Figure:
    size = len(view.classes)
    figure = style.new_figure(8.0, 1.6 + 1.5 * size)
    panels = figure.subplots(size, 1, sharex=True)
    odds, edges = _log_odds(view.probability)
    for index, axes in enumerate(panels):
        for true, name in enumerate(view.classes):
            member = view.target == true
            weights = np.full(member.sum(), 100 / max(int(member.sum()), 1))
            axes.hist(
                odds[member, index],
                bins=edges,
                weights=weights,
                histtype="step",
                color=style.colour(true),
                linestyle=style.line(true),
                linewidth=1.6,
                label=f"{name} ({member.sum():,})",
            )
        axes.set_ylabel("% of class")
        axes.set_ylim(bottom=0)
        style.panel_note(axes, f"probability of {view.classes[index]}")
    style.title(panels[0], "Scores by class", f"{view.below}; colour: true class", lift=18)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    _probability_axis(panels[-1], edges, "probability (log-odds scale)")
    return figure


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
