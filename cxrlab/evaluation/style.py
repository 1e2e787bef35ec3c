"""One look for all evaluation figures: colours, type, titles."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

# Okabe and Ito, Color Universal Design, 2008: told apart with any colour vision.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK = "#222222"
MUTED = "#6B6B6B"
GRID = "#E4E4E4"
CALIBRATED, RAW = PALETTE[0], PALETTE[4]

DPI = 150

_SETTINGS: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "white",
    "lines.linewidth": 2,
    "text.color": INK,
    "text.parse_math": False,  # a class name may hold a dollar sign
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


def look() -> AbstractContextManager[None]:
    """Within it figures look the same, whatever the user's own matplotlib settings are."""
    settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **_SETTINGS}
    settings.pop("backend")  # not a matter of looks, and setting it would pick a window toolkit
    return matplotlib.rc_context(settings)


def colour(index: int) -> str:
    """Colour of the class with this index."""
    return PALETTE[index % len(PALETTE)]


def line(index: int) -> str:
    """Line style of the class with this index: changes where colours begin again."""
    return ("-", "--", ":", "-.")[index // len(PALETTE) % 4]


def new_figure(width: float = 6.0, height: float = 5.4) -> Figure:
    """An empty figure; size in inches at `DPI`."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def title(axes: Axes, heading: str, below: str, *, lift: float = 0) -> None:
    """A bold heading at the left with a muted line below it, `lift` points above the usual."""
    axes.set_title(heading, loc="left", weight="bold", pad=24 + lift)
    axes.annotate(
        below,
        xy=(0, 1),
        xytext=(0, 8 + lift),
        xycoords="axes fraction",
        textcoords="offset points",
        color=MUTED,
        fontsize=9,
    )


def legend(axes: Axes, loc: Literal["lower left", "lower right"], *, beside: bool = False) -> None:
    """A legend in a corner of the axes, or beside them where it would cover too much."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) <= 6 and not beside:
        axes.legend(loc=loc)
        return
    figure = axes.get_figure(root=True)
    if figure is not None:
        # Inches: the handle, and letters of 9 points.
        room = 0.6 + 0.066 * max(map(len, labels), default=0)
        figure.set_size_inches(figure.get_figwidth() + room, figure.get_figheight())
        figure.legend(handles, labels, loc="outside right upper")


def panel_note(axes: Axes, note: str) -> None:
    """A line just above one panel of several."""
    axes.annotate(
        note, xy=(0, 1), xytext=(0, 5), xycoords="axes fraction", textcoords="offset points", size=9
    )


def unit_square(axes: Axes) -> None:
    """Both axes from 0 to 1 with one scale and a little air, so that lines at the rim show."""
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))


def in_words(heading: str, below: str, reason: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = new_figure(height=2.4)
    axes = figure.add_subplot()
    title(axes, heading, below)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, f"Not drawn: {reason}.", ha="center", va="center", wrap=True, color=MUTED)
    return figure
