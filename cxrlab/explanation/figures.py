"""Figures of explained cases: the image undisturbed, the signed map, the overlay, the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cxrlab.explanation import maps
from cxrlab.explanation.maps import ColourScale

# Layout in inches. Every image cell is a whole number of pixels a pixel (see `_resolution`).
_CELL = 2.24
_GAP = 0.06
_CAPTION = 0.52
_SPACE = 0.30
_MARGIN = 0.20
_HEADER = 0.50
_FOOTER = 1.00


@dataclass(frozen=True)
class Case:
    """One explained image.

    Attributes:
        strip: uint8 (H, 3 W, 3), image, signed map and overlay side by side, from `maps.paint`.
        name: what stands above it, a file name for instance.
        facts: what is known and what the model says, in one line.
        completeness_error: relative; NaN if the method has none.
        doubtful: whether that error is above the tolerance.
        mask: the lesion, bool (H, W), True inside, if known.
    """

    strip: NDArray[np.uint8]
    name: str
    facts: str
    completeness_error: float
    doubtful: bool = False
    mask: NDArray[np.bool_] | None = None


def shorten(text: str, length: int) -> str:
    """Cut the middle out of a long text: the ends of file names tell them apart."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def draw_gallery(cases: Sequence[Case], kind: str, scale: ColourScale, method: str) -> Figure:
    """Draw cases of one kind.

    Args:
        cases: at least one, all of one image size.
        kind: `true_positives`, for instance.
        scale: of the strips; common to all galleries of a run, so that they can be compared.
        method: how the maps were made.
    """
    title = kind.replace("_", " ").capitalize()
    return _draw(cases, f"{title}, most confident first", scale, method)


def draw_panel(cases: Sequence[Case], epoch: int, scale: ColourScale, method: str) -> Figure:
    """Draw the fixed validation images as the model sees them after so many epochs."""
    return _draw(cases, f"Validation panel after epoch {epoch}", scale, method)


def draw_sheet(cases: Sequence[Case], title: str, scale: ColourScale, method: str) -> Figure:
    """Draw cases of any kind under a title."""
    return _draw(cases, title, scale, method)


def _draw(cases: Sequence[Case], title: str, scale: ColourScale, method: str) -> Figure:
    columns = 1 if len(cases) < 3 else 2
    rows = math.ceil(len(cases) / columns)
    case_width, case_height = 3 * _CELL + 2 * _GAP, _CAPTION + _CELL + _SPACE
    width = 2 * _MARGIN + columns * case_width + (columns - 1) * _SPACE
    height = _HEADER + rows * case_height + _FOOTER
    figure = Figure(figsize=(width, height), dpi=_resolution(cases[0].strip.shape[1] // 3))
    _write(figure, _MARGIN, height - 0.30, title, size=12, weight="bold")
    for number, case in enumerate(cases):
        row, column = divmod(number, columns)
        left = _MARGIN + column * (case_width + _SPACE)
        _draw_case(figure, case, left, height - _HEADER - row * case_height)
    unit = "evidence in units of the method"
    if any(not math.isnan(case.completeness_error) for case in cases):
        unit = "contribution to the logit per pixel"
    outlined = any(case.mask is not None and case.mask.any() for case in cases)
    _draw_legend(figure, scale, method, unit, outlined)
    return figure


def _resolution(image_width: int) -> float:
    """Dots an inch at which an image pixel is a square of whole dots: no interpolation at all."""
    return image_width * max(1, math.ceil(224 / image_width)) / _CELL


def _draw_case(figure: Figure, case: Case, left: float, top: float) -> None:
    width = 3 * _CELL + 2 * _GAP
    _write(figure, left, top - 0.16, case.name, size=9, weight="bold", room=width)
    _write(figure, left, top - 0.32, case.facts, size=8, room=width)
    _write(
        figure,
        left,
        top - 0.47,
        _completeness(case),
        size=8,
        color="#b00020" if case.doubtful else "#555555",
    )
    for number, cell in enumerate(np.split(case.strip, 3, axis=1)):
        x = left + number * (_CELL + _GAP)
        axes = _axes(figure, x, top - _CAPTION - _CELL, _CELL, _CELL)
        axes.imshow(cell, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        if number and case.mask is not None and case.mask.any():
            axes.contour(case.mask, levels=[0.5], colors="#00c853", linewidths=0.8)


def _completeness(case: Case) -> str:
    if math.isnan(case.completeness_error):
        return "completeness does not apply"
    if math.isinf(case.completeness_error):
        return "▲ not finite: there is no map"
    text = f"completeness error {case.completeness_error:.2%}"
    return f"▲ {text}: above tolerance" if case.doubtful else text


def _draw_legend(
    figure: Figure, scale: ColourScale, method: str, unit: str, with_masks: bool
) -> None:
    signed = Normalize(-scale.signed, scale.signed)
    absolute = Normalize(0, scale.absolute)
    smoothing = f", Gaussian average, σ = {scale.sigma:g} px" if scale.sigma else ""  # noqa: RUF001
    bars = (
        (signed, maps.signed_colours(), f"middle: {unit}"),
        (absolute, maps.absolute_colours(), f"right: its absolute value{smoothing}"),
    )
    for number, (norm, colours, label) in enumerate(bars):
        axes = _axes(figure, _MARGIN + 0.15 + number * 3.6, 0.58, 2.9, 0.10)
        bar = figure.colorbar(ScalarMappable(norm, colours), cax=axes, orientation="horizontal")
        bar.set_ticks(np.linspace(norm.vmin or 0.0, norm.vmax or 0.0, 3).tolist())
        bar.ax.tick_params(labelsize=7, length=2, pad=2)
        bar.formatter = matplotlib.ticker.FormatStrFormatter("%.2g")
        bar.update_ticks()
        bar.ax.set_title(label, fontsize=8, loc="left", pad=4)
    outline = "; green outline: known lesion" if with_masks else ""
    note = f"{method.replace('_', ' ')}; colours saturate at the {maps.PERCENTILE:g}th percentile"
    _write(figure, _MARGIN, 0.14, note + outline, size=8, color="#555555")


def _axes(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches from the lower left corner."""
    total_width, total_height = figure.get_size_inches()
    return figure.add_axes(
        (x / total_width, y / total_height, width / total_width, height / total_height)
    )


def _write(
    figure: Figure,
    x: float,
    y: float,
    text: str,
    size: float,
    weight: str = "normal",
    color: str = "black",
    room: float = math.inf,
) -> None:
    """Write at a place in inches, cutting the middle out of what is longer than `room` inches."""
    width, height = figure.get_size_inches()
    written = figure.text(
        x / width,
        y / height,
        text,
        size=size,
        weight=weight,
        color=color,
        parse_math=False,  # a file name may hold dollar signs
    )
    while (excess := written.get_window_extent().width / figure.dpi / room) > 1:
        length = len(written.get_text())
        written.set_text(shorten(text, min(length - 1, int(length / excess))))
