"""The figure of predictive values against prevalence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrlab.evaluation import style
from cxrlab.evaluation.intervals import why_no_intervals
from cxrlab.evaluation.predictive_values import (
    AT_HALF,
    OPERATING_POINT,
    PREVALENCES,
    predictive_value_table,
)
from cxrlab.evaluation.threshold import show_probability
from cxrlab.task import Task

HEADING = "Predictive values"
_LEAST, _MOST = 0.005, 0.6
_NAMES = {"ppv": "positive (PPV)", "npv": "negative (NPV)"}


def draw_predictive_values(
    table: pd.DataFrame,
    task: Task,
    *,
    thresholds: Sequence[float],
    split: str,
    draws: int,
    seed: int = 0,
) -> Figure:
    """PPV and NPV against prevalence, at the operating point and at 0.5.

    Args:
        table: of one split, columns of `prediction_table`.
        task: of two classes; of others the figure says that it is not drawn.
        thresholds: as for `evaluate_table`.
        split: name for the title.
        draws: samples of patients for the bands; 0: no bands.
        seed: of the samples.
    """
    below = f"{split}, {len(table):,} images"
    with style.look():
        if task.kind != "binary":
            return style.in_words(HEADING, below, "the task is not one of two classes")
        own = float((task.targets(table) == 1).mean()) if len(table) else np.nan
        grid = _grid(own)
        values = predictive_value_table(
            table, task, thresholds=thresholds, draws=draws, seed=seed, prevalences=grid
        )
        if values[["ppv", "npv"]].isna().to_numpy().all():
            return style.in_words(HEADING, below, str(values["absent"].iloc[0]))
        why_none = why_no_intervals(table["patient_id"].astype(str).to_numpy(dtype=str), draws)
        below += "; bands: 95 % intervals" if why_none is None else f"; no intervals: {why_none}"
        return _curves(values, task, below, own)


def _curves(values: pd.DataFrame, task: Task, below: str, own: float) -> Figure:
    figure = style.new_figure(7.2, 5.0)
    axes = figure.add_subplot()
    for point, line in ((OPERATING_POINT, "-"), (AT_HALF, "--")):
        at = values[values["point"] == point]
        for index, (name, called) in enumerate(_NAMES.items()):
            if at[name].isna().all():
                continue
            colour = style.colour(index)
            threshold = show_probability(float(at["threshold"].iloc[0]))
            label = f"{called}, threshold {threshold}"
            width = 2 if line == "-" else 1.4
            axes.plot(at["prevalence"], at[name], line, color=colour, linewidth=width, label=label)
            if point == OPERATING_POINT or OPERATING_POINT not in set(values["point"]):
                ends = (at[f"{name}_low"].to_numpy(), at[f"{name}_high"].to_numpy())
                axes.fill_between(at["prevalence"], *ends, color=colour, alpha=0.15, linewidth=0)
    _mark_own(axes, values[values["own"]], own)
    _prevalence_axis(axes, own)
    axes.set(
        ylim=(-0.02, 1.02),
        xlabel=f"prevalence of {task.classes[1]}, sensitivity and specificity held",
    )
    axes.set_ylabel("share of calls that are right")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    style.title(axes, HEADING, below)
    return figure


def _mark_own(axes: Axes, own_rows: pd.DataFrame, own: float) -> None:
    if own_rows.empty:
        return
    axes.axvline(own, color=style.MUTED, linewidth=1, linestyle=":")
    first = own_rows.iloc[0]
    for index, name in enumerate(_NAMES):
        if not np.isnan(first[name]):
            axes.plot(own, first[name], "o", color=style.colour(index), markersize=6, zorder=3)
    axes.annotate(
        f"this split, {own:.1%}",
        xy=(own, 0),
        xycoords=("data", "axes fraction"),
        xytext=(-5, 6),
        textcoords="offset points",
        ha="right",
        color=style.MUTED,
        fontsize=9,
    )


def _prevalence_axis(axes: Axes, own: float) -> None:
    ticks = [*PREVALENCES, 0.9] if own > _MOST else list(PREVALENCES)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:.0%}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(*_range(own))


def _range(own: float) -> tuple[float, float]:
    """From 0.5 to 60 %, and farther where the split's own prevalence lies outside."""
    if not 0 < own < 1:
        return _LEAST, _MOST
    return min(_LEAST, own / 1.5), max(_MOST, min(1.3 * own, (1 + own) / 2))


def _grid(own: float) -> list[float]:
    # Evenly on the axis, and evenly in prevalence, for the curves bend where nearly all are ill.
    ends = _range(own)
    return np.union1d(np.geomspace(*ends, 41), np.linspace(*ends, 41)).tolist()
