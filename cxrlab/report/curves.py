"""The course of a training, drawn from `metrics.csv`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.ticker import MaxNLocator

from cxrlab.report.words import number, three

FloatArray = npt.NDArray[np.float64]

_WIDTH, _HEIGHT = 320.0, 200.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 308.0, 12.0, 168.0
_MOST_DOTS = 40
_MOST_POINTS = 600


@dataclass(frozen=True)
class Line:
    """A line of a chart: a path, and dots where its points are few."""

    label: str
    style: str
    path: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """A drawing of 320 x 200 pixels.

    Attributes:
        title: what it shows.
        lines: drawn in this order.
        across: ticks of the steps, place and text.
        up: ticks of the values, place and text.
        best: place of the best epoch, if known.
        frame: left, right, top and bottom of the drawn area.
        label: what is read aloud.
    """

    title: str
    lines: tuple[Line, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    best: float | None
    frame: tuple[float, float, float, float]
    label: str


@dataclass(frozen=True)
class Course:
    """A training as its charts and as figures.

    Attributes:
        charts: loss, AUROC and learning rate, as far as they were recorded.
        epochs: validated ones.
        best_epoch: from 1; None where no AUROC was recorded.
        best_auroc: that on validation.
        images_per_second: median over the epochs.
        seconds: from the first value of training to its last.
        not_finite: how many values of the curves are not finite and left out.
    """

    charts: tuple[Chart, ...]
    epochs: int
    best_epoch: int | None
    best_auroc: float | None
    images_per_second: float | None
    seconds: float | None
    not_finite: int


def training_course(history: pd.DataFrame) -> Course:
    """Read the training from the metrics of a run.

    The best epoch is the first of those with the highest validation AUROC, as for the checkpoint.

    Args:
        history: columns name, step, value, time; a resumed run has steps twice, of which the
            later counts.
    """
    epochs = _series(history, "val/loss")
    # The evaluation logs `val/auroc` once more, at a step without a validation loss.
    auroc = _series(history, "val/auroc")
    auroc = auroc[auroc.index.isin(epochs.index)]
    losses = {"train/loss": _series(history, "train/loss"), "val/loss": epochs}
    rates = _series(history, "lr")
    best = int(auroc.index[int(auroc.argmax())]) if auroc.notna().any() else None
    best_epoch = None if best is None else int((epochs.index <= best).sum())
    drawn = [*losses.values(), auroc, rates]
    bad = sum(int((~np.isfinite(series)).sum()) for series in drawn)
    charts = [
        _chart("Loss", {"training": losses["train/loss"], "validation": epochs}, best),
        _chart("Validation AUROC", {"validation": auroc}, best),
        _chart("Learning rate", {"rate": rates}, best),
    ]
    speed = _series(history, "train/images_per_second")
    times = history.loc[history["name"].isin(["train/loss", "val/loss"]), "time"]
    return Course(
        charts=tuple(chart for chart in charts if chart is not None),
        epochs=len(epochs),
        best_epoch=best_epoch,
        best_auroc=None if best is None else float(auroc[best]),
        images_per_second=None if speed.empty else float(speed.median()),
        seconds=None if times.empty else float(times.max() - times.min()) / 1000,
        not_finite=bad,
    )


def _series(history: pd.DataFrame, name: str) -> pd.Series:
    rows = history[history["name"] == name].drop_duplicates("step", keep="last")
    values = rows.set_index("step")["value"].astype(np.float64)
    return values.sort_index()


def _chart(title: str, series: dict[str, pd.Series], best: int | None) -> Chart | None:
    finite = {name: values[np.isfinite(values)] for name, values in series.items()}
    kept = {name: values for name, values in finite.items() if not values.empty}
    if not kept:
        return None
    steps = np.concatenate([values.index.to_numpy(np.float64) for values in kept.values()])
    every = np.concatenate([values.to_numpy(np.float64) for values in kept.values()])
    across, up = _Scale.of(steps, _LEFT, _RIGHT), _Scale.of(every, _BOTTOM, _TOP)
    lines: list[Line] = []
    for name, values in kept.items():
        smooth = _smoothed(values) if name == "training" else values
        if smooth is not values:
            lines.append(_line("each step", "faint", values, across, up))
        style = "second" if name == "training" else "first"
        label = f"{name}, smoothed" if smooth is not values else name
        lines.append(_line(label, style, smooth, across, up))
    first, last = kept[next(reversed(kept))].iloc[[0, -1]]
    return Chart(
        title=title,
        lines=tuple(lines),
        across=tuple((round(across(tick), 1), number(tick)) for tick in across.ticks(whole=True)),
        up=tuple((round(up(tick), 1), f"{tick:.4g}") for tick in up.ticks()),
        best=None if best is None else round(across(best), 1),
        frame=(_LEFT, _RIGHT, _TOP, _BOTTOM),
        label=f"{title} over training steps, from {three(first)} to {three(last)}",
    )


@dataclass(frozen=True)
class _Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    only: float | None

    @classmethod
    def of(cls, values: FloatArray, start: float, end: float) -> _Scale:
        low, high = float(values.min()), float(values.max())
        only = low if low == high else None
        if low == high:  # a line needs room on both sides
            room = abs(low) / 2 or 0.5
            low, high = low - room, high + room
        return cls(low, high, start, end, only)

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, *, whole: bool = False) -> list[float]:
        if self.only is not None:
            return [self.only]
        ticks = MaxNLocator(4, integer=whole).tick_values(self.low, self.high)
        return [float(tick) for tick in ticks if self.low <= tick <= self.high]


def _smoothed(values: pd.Series) -> pd.Series:
    """A centred mean over a twentieth of the points; a few points stay as they are."""
    window = len(values) // 20
    return values if window < 2 else values.rolling(window, center=True, min_periods=1).mean()


def _line(label: str, style: str, values: pd.Series, across: _Scale, up: _Scale) -> Line:
    stride = max(1, len(values) // _MOST_POINTS)
    thin = values.iloc[::stride]
    points = [
        (round(across(float(step)), 1), round(up(float(value)), 1))
        for step, value in zip(thin.index, thin, strict=True)
    ]
    path = "M" + "L".join(f"{x} {y}" for x, y in points)
    dots = tuple(points) if len(points) <= _MOST_DOTS and style != "faint" else ()
    return Line(label, style, path, dots)
