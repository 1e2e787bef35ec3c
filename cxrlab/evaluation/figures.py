"""The figures of an evaluation, one function each, for every kind of task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from cxrlab.evaluation import curves, style
from cxrlab.evaluation.confusion import confusion_matrix
from cxrlab.evaluation.distributions import score_distributions
from cxrlab.evaluation.predictions import FloatArray
from cxrlab.evaluation.view import View
from cxrlab.task import Task


def draw_figures(
    table: pd.DataFrame, task: Task, thresholds: Sequence[float], *, split: str
) -> dict[str, Figure]:
    """Draw every figure of the contract.

    Args:
        table: columns of `prediction_table`.
        task: what is predicted.
        thresholds: as for `evaluate_table`.
        split: name for titles.

    Returns:
        Figure by file stem: `confusion_matrix`, `roc`, `precision_recall`, `reliability`,
        `scores` and, for two classes, `decision_curve`. One that can't be drawn says why.
    """
    view = View.of(table, task, thresholds, split)
    drawn: dict[str, tuple[str, str, Callable[[View], Figure]]] = {
        "confusion_matrix": ("Confusion matrix", "accuracy", confusion_matrix),
        "roc": ("ROC curve", "auroc", roc),
        "precision_recall": ("Precision-recall curve", "auprc", precision_recall),
        "reliability": ("Reliability", "ece", reliability),
        "scores": ("Scores by class", "brier", score_distributions),
    }
    if view.binary:
        drawn["decision_curve"] = ("Decision curve", "auroc", decision_curve)
    figures = {}
    for stem, (heading, needs, draw) in drawn.items():
        reason = view.reason(needs)
        with style.look():
            figures[stem] = (
                draw(view) if reason is None else style.in_words(heading, view.below, reason)
            )
    return figures


def roc(view: View) -> Figure:
    """Sensitivity against 1 - specificity, with AUROC and the operating point."""
    figure = style.new_figure()
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], "--", color=style.MUTED, linewidth=1, label="chance, 0.500")
    for index, suffix, member, score in view.curves():
        area = view.value(f"auroc{suffix}")
        if area is None:
            continue
        across, up = curves.roc_points(member, score)
        axes.plot(
            across,
            up,
            style.line(index),
            color=style.colour(index),
            linewidth=1.4 if view.multilabel else 2,
            label=f"{view.task.classes[index]}, AUROC {area:.3f}",
        )
    sensitivity, specificity = view.value("recall"), view.value("specificity")
    if view.binary and sensitivity is not None and specificity is not None:
        label = f"operating point: sensitivity {sensitivity:.3f},\nspecificity {specificity:.3f}"
        _operating_point(axes, 1 - specificity, sensitivity, label)
    style.unit_square(axes)
    axes.set(xlabel="1 - specificity (false-positive rate)", ylabel="sensitivity")
    style.legend(axes, "lower right", beside=view.multilabel)
    macro = None if view.binary else view.value("auroc")
    note = "" if macro is None else f", macro AUROC {macro:.3f}"
    style.title(axes, "ROC curve", f"{view.below}{_each(view)}{note}")
    return figure


def precision_recall(view: View) -> Figure:
    """Precision against recall, with average precision, prevalence and the operating point."""
    figure = style.new_figure()
    axes = figure.add_subplot()
    for index, suffix, member, score in view.curves():
        area = view.value(f"auprc{suffix}")
        if area is None:
            continue
        recall, precision = curves.precision_recall_points(member, score)
        # Steps, not slopes: so the area under the line is the average precision.
        look: dict[str, Any] = {
            "drawstyle": "steps-pre",
            "color": style.colour(index),
            "linestyle": style.line(index),
            "linewidth": 1.4 if view.multilabel else 2,
        }
        label = f"{view.task.classes[index]}, average precision {area:.3f}"
        chance = float(member.mean())
        if view.multilabel:  # lines of many findings, most of them rare, would hide one another
            label += f", chance {chance:.3f}"
        axes.plot(np.append(0, recall), np.append(precision[0], precision), label=label, **look)
        if not view.multilabel:
            colour = style.MUTED if view.binary else style.colour(index)
            name = f"chance (prevalence), {chance:.3f}" if view.binary else None
            axes.axhline(chance, color=colour, linestyle="--", linewidth=1, label=name)
    recall_at, precision_at = view.value("recall"), view.value("precision")
    if view.binary and recall_at is not None and precision_at is not None:
        label = f"operating point: recall {recall_at:.3f},\nprecision {precision_at:.3f}"
        _operating_point(axes, recall_at, precision_at, label)
    style.unit_square(axes)
    axes.set(xlabel="recall (sensitivity)", ylabel="precision (positive predictive value)")
    style.legend(axes, "lower left", beside=view.multilabel)
    note = ", dashed: prevalence" if view.task.kind == "multiclass" else ""
    style.title(axes, "Precision-recall curve", f"{view.below}{_each(view)}{note}")
    return figure


def reliability(view: View) -> Figure:
    """Observed share against predicted probability, before and after calibration.

    Bars are 95 % Wilson score intervals (Wilson, JASA 1927) of the calibrated bins.
    """
    figure = style.new_figure(6.0, 6.6)
    axes, counts = figure.subplots(2, 1, height_ratios=(5, 1), sharex=True)
    axes.plot([0, 1], [0, 1], "--", color=style.MUTED, linewidth=1, label="perfect")
    kinds = (
        ("raw", view.probability, "ece", style.RAW, "s"),
        ("calibrated", view.calibrated, "ece_calibrated", style.CALIBRATED, "o"),
    )
    for kind, probability, metric, colour, marker in kinds:
        confidence, event = _confidence(view, probability)
        bins = curves.equal_mass_bins(confidence, event)
        name = "mean ECE of a finding" if view.multilabel else "ECE"
        label = f"{kind}, {name} {view.value(metric):.3f}"
        axes.plot(
            bins.predicted,
            bins.observed,
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=1.3,
            label=label,
            clip_on=False,
            zorder=3,
        )
        if kind == "calibrated":
            low, high = _wilson(bins)
            axes.vlines(bins.predicted, low, high, color=colour, linewidth=1, alpha=0.6)
        counts.hist(
            confidence, bins=np.linspace(0, 1, 41), histtype="step", color=colour, linewidth=1.3
        )
    what, share, unit = _event(view)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel=f"observed: {share}")
    counts.set(xlabel=f"predicted {what}", ylabel=unit, yscale="symlog")
    counts.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.legend(loc="upper left")
    pooled = ", all findings together" if view.multilabel else ""
    note = f"{view.below}{pooled}; {curves.ECE_BINS} bins of equal size, 95 % intervals"
    style.title(axes, "Reliability", note)
    return figure


def decision_curve(view: View) -> Figure:
    """Net benefit of acting on the model, on everybody or on nobody (Vickers and Elkin, 2006)."""
    figure = style.new_figure(6.4, 4.8)
    axes = figure.add_subplot()
    at = np.linspace(0, 0.99, 397)
    everybody = curves.net_benefit(view.target, np.ones(view.target.size), at)
    model = curves.net_benefit(view.target, view.calibrated, at)
    axes.plot(at, model, color=style.CALIBRATED, label="model (calibrated)")
    axes.plot(at, everybody, "--", color=style.PALETTE[1], linewidth=1.5, label="treat all")
    axes.axhline(0, color=style.MUTED, linewidth=1.5, linestyle=":", label="treat none")
    top = max(float(view.target.mean()), float(model.max()))
    axes.set(
        xlim=(0, 1),
        ylim=(-0.15 * top, 1.08 * top),
        xlabel=f"threshold probability of {view.task.classes[1]} at which one would act",
        ylabel="net benefit (true positives per image)",
    )
    axes.legend(loc="upper right")
    style.title(axes, "Decision curve", view.below)
    return figure


def _each(view: View) -> str:
    if view.binary:
        return ""
    return "; each finding by itself" if view.multilabel else "; each class against the rest"


def _operating_point(axes: Axes, across: float, up: float, label: str) -> None:
    axes.plot(
        across,
        up,
        "o",
        color="white",
        markeredgecolor=style.INK,
        markeredgewidth=2,
        markersize=9,
        label=label,
        clip_on=False,
        zorder=5,
    )


def _event(view: View) -> tuple[str, str, str]:
    """What `_confidence` is the probability of, what is observed of it, and in what it counts."""
    if view.binary:
        positive = view.task.classes[1]
        return f"probability of {positive}", f"share that is {positive}", "images"
    if view.multilabel:
        return "probability of a finding", "share with the finding", "labels"
    return "probability of the chosen class", "share in which it was right", "images"


def _confidence(view: View, probability: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    if view.binary:
        return probability, view.target == 1
    if view.multilabel:
        known = ~np.isnan(view.target)
        return probability[known], view.target[known] == 1
    return probability.max(axis=1), probability.argmax(axis=1) == view.target


def _wilson(bins: curves.Bins) -> tuple[FloatArray, FloatArray]:
    z, n, p = 1.959964, bins.count, bins.observed
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return middle - half, middle + half
