"""A sweep in pictures: the objective by trial, what varies against it, what matters."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cxrlab.evaluation import style
from cxrlab.sweeps.importance import FEWEST_TRIALS, importances
from cxrlab.sweeps.records import Sweep, TrialRecord, chosen, shown
from cxrlab.sweeps.results import objectives

_MAP = "viridis"  # rises in lightness, so it reads in grey too
_TICK_ROOM = 0.05  # of the axis, for one label


def draw_figures(sweep: Sweep, records: Sequence[TrialRecord], folder: Path) -> dict[str, Figure]:
    """Every figure by name; none before a trial has finished."""
    if not any(objectives(sweep, record) for record in records):
        return {}
    with style.look():
        figures = {"objective": draw_objective(sweep, records)}
        if sweep.varies:
            figures["parallel_coordinates"] = draw_parallel(sweep, records)
            figures["importance"] = draw_importance(sweep, importances(sweep, records, folder))
    return figures


def draw_objective(sweep: Sweep, records: Sequence[TrialRecord]) -> Figure:
    """The first objective of each trial, and the best so far."""
    figure = style.new_figure(7.0, 4.2)
    axes = figure.add_subplot()
    scored = [(r.number, v[0]) for r in records if (v := objectives(sweep, r))]
    numbers, values = np.array(scored, dtype=np.float64).T
    higher = sweep.direction[0] == "maximize"
    running = np.maximum.accumulate(values) if higher else np.minimum.accumulate(values)
    axes.step(numbers, running, where="post", color=style.PALETTE[0], label="best so far")
    axes.plot(numbers, values, "o", color=style.PALETTE[1], markersize=6, label="trial")
    lost = [r.number for r in records if not objectives(sweep, r)]
    if lost:
        foot = axes.get_ylim()[0]
        axes.plot(lost, [foot] * len(lost), "x", color=style.MUTED, label="failed, pruned, killed")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=sweep.objective[0])
    style.legend(axes, "lower right", beside=True)
    better = "higher" if higher else "lower"
    style.title(axes, "Objective by trial", f"{len(scored)} finished trials; {better} is better")
    return figure


def draw_parallel(sweep: Sweep, records: Sequence[TrialRecord]) -> Figure:
    """A line a finished trial through the values of all varied keys, coloured by the objective."""
    done = [(record, v[0]) for record in records if (v := objectives(sweep, record))]
    scores = np.array([value for _, value in done])
    width = max(6.0, 1.6 * (len(sweep.varies) + 1) + 1.5)
    figure = style.new_figure(width, 4.6)
    axes = figure.add_subplot()
    norm = Normalize(scores.min(), scores.max() if np.ptp(scores) else scores.min() + 1e-9)
    columns = [
        place_values([chosen(record.overrides, [key]).get(key, "") for record, _ in done])
        for key in sweep.varies
    ]
    heights = np.array([*(column for column, _ in columns), norm(scores)])
    colours = ScalarMappable(norm, _MAP)
    # The best on top.
    order = np.argsort(scores if sweep.direction[0] == "maximize" else -scores)
    for trial in order:
        axes.plot(
            heights[:, trial], color=colours.to_rgba(scores[trial]), alpha=0.85, linewidth=1.8
        )
    for place, (_, ticks) in enumerate(columns):
        axes.axvline(place, color=style.MUTED, linewidth=0.8)
        _label_ticks(axes, place, ticks)
    axes.axvline(len(columns), color=style.MUTED, linewidth=0.8)
    names = [*map(sweep.short, sweep.varies), sweep.objective[0]]
    axes.set_xticks(range(len(names)), [textwrap.fill(n.replace("_", " "), 14) for n in names])
    axes.set(yticks=[], ylim=(-0.06, 1.06), xlim=(-0.45, len(columns) + 0.1))
    axes.grid(visible=False)
    for spine in ("left", "bottom"):
        axes.spines[spine].set_visible(False)
    figure.colorbar(colours, ax=axes, label=sweep.objective[0], pad=0.02)
    style.title(axes, "What varies", "a line a trial, coloured by the objective")
    return figure


def _label_ticks(axes: Axes, place: int, ticks: dict[str, float]) -> None:
    last = -1.0
    for label, height in sorted(ticks.items(), key=lambda item: item[1]):
        if height - last < _TICK_ROOM:
            continue
        last = height
        axes.annotate(
            label, xy=(place, height), xytext=(-4, 0), textcoords="offset points",
            ha="right", va="center", fontsize=8, color=style.INK,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "lw": 0},
        )  # fmt: skip


def place_values(texts: Sequence[str]) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Heights in [0, 1] for the values of a key, and the labels of its axis.

    Numbers are placed by size, on a logarithmic scale where they are positive and span a factor of
    ten or more; anything else is spread evenly in alphabetical order.

    Args:
        texts: a value a trial.

    Returns:
        Heights (N,) and label to height.
    """
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        levels = sorted(set(texts))
        spread = np.linspace(0, 1, len(levels)) if len(levels) > 1 else np.array([0.5])
        ticks = dict(zip(levels, map(float, spread), strict=True))
        return np.array([ticks[text] for text in texts]), ticks
    if numbers.min() > 0 and numbers.max() / numbers.min() >= 10:
        numbers = np.log10(numbers)
    span = np.ptp(numbers)
    heights = (numbers - numbers.min()) / span if span else np.full(numbers.shape, 0.5)
    order = np.argsort(heights)
    return heights, {shown(texts[i]): float(heights[i]) for i in order}


def draw_importance(sweep: Sweep, shares: dict[str, float]) -> Figure:
    """A bar a key: the share of the objective's variance that it explains."""
    kind = "fANOVA" if sweep.kind == "optuna" else "each key alone"
    below = f"share of the variance of {sweep.objective[0]} that is explained ({kind})"
    if not shares:
        reason = f"fewer than {FEWEST_TRIALS} finished trials, or all have one value"
        return style.in_words("What matters", below, reason)
    figure = style.new_figure(7.0, 1.6 + 0.4 * len(shares))
    axes = figure.add_subplot()
    names = [sweep.short(key) for key in shares]
    bars = axes.barh(names, list(shares.values()), color=style.PALETTE[0], height=0.6)
    axes.bar_label(bars, fmt="{:.0%}", padding=4, fontsize=9, color=style.INK)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlim=(0, 1.08), xlabel="share explained")
    style.title(axes, "What matters", below)
    return figure
