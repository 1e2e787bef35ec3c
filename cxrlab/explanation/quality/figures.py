"""Figures that set the methods side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cxrlab.evaluation import style
from cxrlab.explanation import captions, figures, maps
from cxrlab.explanation.quality.evidence import SMOOTHING
from cxrlab.explanation.quality.results import Result, Results
from cxrlab.explanation.quality.summary import MEASURES

_DRAWN = (
    "pointing_game", "mass_in_mask", "iou", "auprc", "insertion_less_deletion", "infidelity",
    "randomisation_similarity", "randomisation_ssim", "sensitivity_max", "border_share",
    "marker_pointing", "marker_share",
)  # fmt: skip
_SIDE_BY_SIDE = 6
_CELL = 1.7  # inches of an image

FloatArray = NDArray[np.float64]


def draw_all(results: Results, thresholds: Sequence[float], most: int) -> dict[str, Figure]:
    """Every figure of the results by its file's stem.

    Args:
        results: what was found.
        thresholds: from which probability the decision is positive; see `prediction_facts`.
        most: cases on a sheet; 0: no sheets.
    """
    with style.look():
        found = {"measures": draw_measures(results), "curves": draw_curves(results)}
        if any(result.study.similarities for result in results.methods):
            found["randomisation"] = draw_randomisation(results)
    if most:
        if len(results.methods) > 1:
            found["side_by_side"] = draw_side_by_side(results)
        for result in results.methods:
            found[f"sheet_{result.slug}"] = draw_sheet(results, result, thresholds, most)
    return found


def draw_measures(results: Results) -> Figure:
    """A panel a measure: each method with its interval, and chance as a line."""
    names = [
        name for name in _DRAWN if any(name in result.metrics.values for result in results.methods)
    ]
    columns = 3
    rows = -(-len(names) // columns)
    height = 0.6 + rows * (0.75 + 0.27 * len(results.methods))
    figure = style.new_figure(width=10, height=height)
    for number, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, number + 1)
        _draw_measure(axes, name, results, labelled=number % columns == 0)
    return figure


def draw_curves(results: Results) -> Figure:
    """Mean deletion and insertion curves of each method, and of noise."""
    figure = style.new_figure(width=10, height=4.2)
    parts = {"deletion": "evidence taken away", "insertion": "evidence shown alone"}
    for number, (part, below) in enumerate(parts.items()):
        axes = figure.add_subplot(1, 2, number + 1)
        for index, result in enumerate(results.rows):
            curves = [getattr(curve, part) for curve in result.study.curves if curve is not None]
            if curves:
                mean = np.mean(curves, axis=0)
                share = np.linspace(0, 1, len(mean))
                axes.plot(share, mean, **_look(index, result, results))
        style.title(axes, part.capitalize(), below)
        axes.set(xlabel="share of pixels changed", ylim=(-0.02, 1.02))
        if not number:
            axes.set_ylabel("probability of the decision")
    figure.axes[0].legend(loc="lower left")
    return figure


def draw_randomisation(results: Results) -> Figure:
    """Similarity to the trained network's maps as its weights are shuffled from the top."""
    figure = style.new_figure(width=10, height=4.6)
    for number, (part, name) in enumerate({"rank": "Rank correlation", "ssim": "SSIM"}.items()):
        axes = figure.add_subplot(1, 2, number + 1)
        for index, result in enumerate(results.methods):
            steps = [1.0, *(_mean(getattr(each, part)) for each in result.study.similarities)]
            if len(steps) > 1:
                axes.plot(steps, marker="o", markersize=4, **_look(index, result, results))
        layers = max((result.study.similarities for result in results.methods), key=len)
        labels = ["trained", *(figures.shorten(each.layers, 22) for each in layers)]
        axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", fontsize=8)
        axes.set_ylim(top=1.05)
        style.title(axes, f"{name} with the trained map", "weights shuffled down to")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def draw_side_by_side(results: Results) -> Figure:
    """The first cases, a row each: the image, and the overlay of each method."""
    cases = results.cases
    count = min(_SIDE_BY_SIDE, len(cases))
    columns: list[Sequence[NDArray[np.uint8]]] = [list(cases.images[:count])]
    columns += [_overlays(results, result, count) for result in results.methods]
    names = ["image", *(result.name.replace("_", " ") for result in results.methods)]
    top = 0.35
    height = count * (_CELL + 0.22) + top
    figure = Figure(figsize=(len(columns) * (_CELL + 0.05), height), dpi=style.DPI)
    for column, (pictures, name) in enumerate(zip(columns, names, strict=True)):
        for row in range(count):
            bottom = height - top - (row + 1) * (_CELL + 0.22)
            width = len(columns) * (_CELL + 0.05)
            axes = figure.add_axes(
                (column * (_CELL + 0.05) / width, bottom / height, _CELL / width, _CELL / height)
            )
            axes.imshow(pictures[row], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_axis_off()
            if cases.lesions is not None and cases.lesions[row].any():
                axes.contour(cases.lesions[row], levels=[0.5], colors="#00c853", linewidths=0.8)
            if not row:
                text = figures.shorten(name, 26)
                figure.text(column * (_CELL + 0.05) / width, 1 - 0.2 / height, text, size=8)
            if not column:
                name_of_case = PurePosixPath(cases.table["path"].iloc[row]).name
                place = (bottom + _CELL + 0.05) / height
                figure.text(0, place, name_of_case, size=7, color=style.MUTED, parse_math=False)
    return figure


def draw_sheet(results: Results, result: Result, thresholds: Sequence[float], most: int) -> Figure:
    """The first cases of a method: image, signed map, overlay, numbers, outlines."""
    cases, study = results.cases, result.study
    strips, scale = maps.paint(cases.images[:most], study.maps[:most], SMOOTHING)
    drawn = [
        figures.Case(
            strip=strips[place],
            name=PurePosixPath(row["path"]).name,
            facts=captions.prediction_facts(row, cases.task, thresholds),
            completeness_error=float(study.completeness_error[place]),
            doubtful=bool(study.doubtful[place]),
            mask=None if cases.lesions is None else cases.lesions[place],
        )
        for place, (_, row) in zip(range(most), cases.table.iterrows(), strict=False)
    ]
    more = "" if len(drawn) == len(cases) else f", {len(drawn)} of {len(cases)} cases"
    title = f"{result.name.replace('_', ' ').capitalize()} on {results.data}{more}"
    return figures.draw_sheet(drawn, title, scale, result.name)


def _overlays(results: Results, result: Result, count: int) -> list[NDArray[np.uint8]]:
    strips, _ = maps.paint(results.cases.images[:count], result.study.maps[:count], SMOOTHING)
    return [np.split(strip, 3, axis=1)[2] for strip in strips]


def _draw_measure(axes: Axes, name: str, results: Results, *, labelled: bool) -> None:
    chance = results.chance.metrics.values.get(name)
    if chance is not None:
        axes.axvline(chance, color=style.MUTED, linewidth=1, linestyle="--")
    for place, result in enumerate(results.methods):
        value, interval = result.metrics.values.get(name), result.metrics.intervals.get(name)
        if value is None:
            continue
        colour = style.colour(place)
        if interval is not None:
            axes.hlines(place, interval.low, interval.high, color=colour, linewidth=2)
        axes.plot(value, place, "o", color=colour, markersize=5)
    labels = [figures.shorten(result.name.replace("_", " "), 26) for result in results.methods]
    axes.set_yticks(range(len(labels)), labels if labelled else [""] * len(labels), fontsize=8)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.grid(axis="y", visible=False)
    measure = MEASURES[name]
    axes.set_title(f"{measure.label} ({measure.better} is better)", fontsize=9, loc="left")


def _look(index: int, result: Result, results: Results) -> dict[str, Any]:
    label = result.name.replace("_", " ")
    if result is results.chance:
        return {"color": style.MUTED, "linestyle": ":", "linewidth": 1.4, "label": label}
    return {"color": style.colour(index), "linestyle": style.line(index), "label": label}


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
