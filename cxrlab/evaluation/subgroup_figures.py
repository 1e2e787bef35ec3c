"""The figure of subgroups: a forest plot."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cxrlab.evaluation import style
from cxrlab.evaluation.metrics import Metrics
from cxrlab.evaluation.subgroups import FEWEST_IMAGES, FEWEST_OF_CLASS, OWN_GROUP, metrics_of
from cxrlab.task import Task

HEADING = "Subgroups"
_TITLES = {
    "auroc": "AUROC",
    "recall": "Sensitivity",
    "specificity": "Specificity",
    "balanced_accuracy": "Balanced accuracy",
}
_ROW = 0.25  # inches
_MOST_LETTERS = 42
_ABSENT = "–"  # noqa: RUF001


@dataclass(frozen=True)
class _Row:
    """A line of the plot: the heading of a column, or one of its groups."""

    place: float
    label: str
    group: Any = None


@dataclass(frozen=True)
class _Panel:
    """One metric of the groups, beside its value in the whole split."""

    metric: str
    note: str
    whole: float | None


def draw_subgroups(groups: pd.DataFrame, metrics: Metrics, task: Task, *, split: str) -> Figure:
    """Groups down the side, their metrics with 95 % intervals across, beside the whole split's.

    Of findings AUROC alone, a panel a finding.

    Args:
        groups: of `subgroup_table`.
        metrics: of the whole split.
        task: what is predicted.
        split: name for the title.
    """
    images = f"{metrics.values['n']:,.0f} images" if "n" in metrics.values else "no images"
    below = f"{split}, {images}"
    with style.look():
        if not len(groups):
            reason = "the dataset names no columns to report by"
            return style.in_words(HEADING, below, reason)
        if groups[list(metrics_of(task))].isna().to_numpy().all():
            reasons = sorted(set(groups["absent"].astype(str)), key=len)
            return style.in_words(HEADING, below, f"no group has a value ({reasons[0]})")
        if task.kind == "multilabel":
            return _by_finding(groups, metrics, task, below)
        return _forest(groups, metrics, task, below)


def _forest(groups: pd.DataFrame, metrics: Metrics, task: Task, below: str) -> Figure:
    rows = list(_rows(groups))
    names = metrics_of(task)
    figure = style.new_figure(4.2 + 2.3 * len(names), 1.5 + _ROW * len(rows))
    panels = figure.subplots(1, len(names), sharey=True)
    for axes, name in zip(panels, names, strict=True):
        whole = metrics.values.get(name)
        macro = "Macro " if task.kind == "multiclass" and name == "auroc" else ""
        shown = "" if whole is None else f", all {whole:.3f}"
        _draw(axes, rows, _Panel(name, f"{macro}{_TITLES[name]}{shown}", whole))
    _name_rows(panels[0], rows, [f"{images:,}" for images in groups["images"]])
    style.title(panels[0], HEADING, below, lift=18)
    _explain(figure, groups, names)
    return figure


def _by_finding(groups: pd.DataFrame, metrics: Metrics, task: Task, below: str) -> Figure:
    size = len(task.classes)
    columns = min(size, 4)
    lines = math.ceil(size / columns)
    any_finding = groups[groups["class"] == task.classes[0]]
    height = 1.4 + lines * (0.5 + _ROW * len(list(_rows(any_finding))))
    figure = style.new_figure(2.6 + 2.6 * columns, height)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for index, axes in enumerate(panels):
        if index >= size:
            axes.set_visible(False)
            continue
        name = task.classes[index]
        rows = list(_rows(groups[groups["class"] == name]))
        whole = metrics.values.get(f"auroc_{name}")
        shown = "" if whole is None else f", all {whole:.3f}"
        _draw(axes, rows, _Panel("auroc", f"{_short(name, 24)}{shown}", whole))
        _count_positives(axes, rows)
        if index % columns:
            axes.set_yticks([row.place for row in rows], [""] * len(rows))
        else:
            _name_rows(axes, rows)
    style.title(panels[0], HEADING, f"{below}; AUROC", lift=18)
    _explain(figure, groups, ("auroc",), "at the right: images with the finding / all")
    return figure


def _rows(groups: pd.DataFrame) -> Iterator[_Row]:
    """From the top, with a little air between columns."""
    place = 0.0
    for column, own in groups.groupby("column", sort=False):
        yield _Row(place, _short(str(column)))
        place += 1
        for group in own.itertuples(index=False):
            yield _Row(place, _short(str(group.group)), group)
            place += 1
        place += 0.4


def _draw(axes: Axes, rows: Sequence[_Row], panel: _Panel) -> None:
    if panel.whole is not None:
        axes.axvline(panel.whole, color=style.MUTED, linestyle="--", linewidth=1)
    seen = [] if panel.whole is None else [panel.whole]
    missing = []
    for row in rows:
        if row.group is None:
            continue
        value, low, high = (
            float(getattr(row.group, f"{panel.metric}{end}")) for end in ("", "_low", "_high")
        )
        if math.isnan(value):
            missing.append(row.place)
            continue
        if not math.isnan(low):
            axes.plot([low, high], [row.place] * 2, color=style.PALETTE[0], linewidth=1.6)
        axes.plot(value, row.place, **_marker(row.group, panel.metric))
        seen += [value] if math.isnan(low) else [value, low]
    left = math.floor(min([*seen, 0.9]) * 10 - 0.2) / 10
    left = max(left, 0)
    axes.set_xlim(left - 0.02 * (1 - left), 1 + 0.03 * (1 - left))
    axes.set_ylim(rows[-1].place + 0.7, -0.7)
    for place in missing:
        axes.text(left, place, _ABSENT, color=style.MUTED, ha="left", va="center")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    style.panel_note(axes, panel.note)


def _marker(group: Any, metric: str) -> dict[str, Any]:
    beside = metric == "auroc" and group.against != OWN_GROUP
    return {
        "marker": "D" if beside else "o",
        "markersize": 5.5 if beside else 6.5,
        "markerfacecolor": "white" if group.small else style.PALETTE[0],
        "markeredgecolor": style.PALETTE[0],
        "markeredgewidth": 1.4,
        "linestyle": "none",
        "clip_on": False,
        "zorder": 3,
    }


def _name_rows(axes: Axes, rows: Sequence[_Row], numbers: Sequence[str] = ()) -> None:
    """Names, and between them and the axes numbers below the word `images`."""
    axes.set_yticks([row.place for row in rows], [row.label for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        if row.group is None:
            label.set_fontweight("bold")
        elif row.group.small:
            label.set_color(style.MUTED)
    if not numbers:
        return
    axes.tick_params(axis="y", pad=52)
    places = [rows[0].place, *(row.place for row in rows if row.group is not None)]
    for place, text in zip(places, ("images", *numbers), strict=True):
        across = axes.get_yaxis_transform()
        axes.text(
            -0.03,
            place,
            text,
            transform=across,
            color=style.MUTED,
            ha="right",
            va="center_baseline",
        )


def _count_positives(axes: Axes, rows: Sequence[_Row]) -> None:
    for row in rows:
        if row.group is not None:
            text = f"{row.group.positives:,}/{row.group.images:,}"
            across = axes.get_yaxis_transform()
            axes.text(1.03, row.place, text, transform=across, size=7, va="center")


def _explain(figure: Figure, groups: pd.DataFrame, names: Sequence[str], *notes: str) -> None:
    """What the marks mean that are in this figure."""
    lines = [*notes, "dashed: the whole split", "lines: 95 % intervals"]
    values = groups[list(names)].notna().to_numpy()
    if (values & groups[[f"{name}_low" for name in names]].isna().to_numpy()).any():
        lines.append("no line: no interval")
    if groups["small"].any():
        lines.append(f"hollow: fewer than {FEWEST_IMAGES} images or {FEWEST_OF_CLASS} of a class")
    others = groups["against"][~groups["against"].isin(["", OWN_GROUP])].dropna().unique()
    if len(others):
        whom = " or ".join(others) if len(others) <= 2 else "all images of the other class"
        lines.append(f"diamond: AUROC against {_short(whom, 60)} of the split, for one class only")
    if not values.all():
        lines.append(f"{_ABSENT}: no value")
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(wspace=0.05)  # the last number of a panel and the first of the next
    text = textwrap.fill("; ".join(lines), int(15 * figure.get_figwidth()))
    figure.supxlabel(text, size=8, color=style.MUTED, ha="left", x=0.01)


def _short(name: str, most: int = _MOST_LETTERS) -> str:
    """On one line, long names without their middle, since their ends tell them apart."""
    name = " ".join(name.split())
    if len(name) <= most:
        return name
    return f"{name[: most * 2 // 3]}…{name[-(most - most * 2 // 3 - 1) :]}"
