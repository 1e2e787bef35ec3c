"""Metrics of a prediction table. One that can't be computed is absent, with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxrlab.evaluation.binary import (
    BINARY,
    CELLS,
    COUNTED,
    FINDING,
    RANKING,
    SUMMARY,
    Outcome,
    binary_outcomes,
    confusion,
    counted,
    mean_of_all,
    probabilistic,
    ranking,
    unusable,
)
from cxrlab.evaluation.predictions import FloatArray, check_thresholds, scores
from cxrlab.task import Task


@dataclass(frozen=True)
class Interval:
    """Ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Metrics:
    """What could be computed of a prediction table, and why the rest could not.

    Attributes:
        values: metric by name.
        absent: reason by the name of the metric; shares no name with `values`.
        intervals: of those values that `add_intervals` could give one.
        no_interval: reason by the name of the others.
    """

    values: dict[str, float]
    absent: dict[str, str]
    intervals: dict[str, Interval] = field(default_factory=dict)
    no_interval: dict[str, str] = field(default_factory=dict)

    def flat(self) -> dict[str, float]:
        """Values, and the ends of their intervals as `<metric>_low` and `<metric>_high`."""
        ends = {
            f"{name}_{end}": value
            for name, interval in self.intervals.items()
            for end, value in (("low", interval.low), ("high", interval.high))
        }
        return self.values | ends


def evaluate_table(table: pd.DataFrame, task: Task, *, thresholds: Sequence[float]) -> Metrics:
    """Compute every metric of the contract.

    Two classes (class 1 is positive): `n`, `prevalence`, `auroc`, `auprc` (average precision),
    `brier`, `nll` (natural log), `ece` (15 equal-mass bins) of the raw probability and, as
    `..._calibrated`, of the calibrated one; at probability >= threshold `tn`, `fp`, `fn`, `tp`,
    `accuracy`, `balanced_accuracy`, `precision`, `recall`, `specificity`, `f1`, `threshold`; the
    ratios also at probability >= 0.5, as `..._at_0.5`.

    More classes: each image is decided as its most probable class. `confusion_<true>_<pred>`
    counts; `auroc`, `auprc`, `precision`, `recall`, `specificity`, `f1` and `prevalence` of each
    class against the rest as `<metric>_<class>`, their unweighted means (but of prevalence)
    without suffix; `balanced_accuracy` is the mean recall; `brier` sums over the classes, `ece`
    is of the most probable class. A mean is absent where one of its parts is: without one of
    a few classes it answers another question.

    Findings that do not exclude one another: the metrics of two classes at the finding's own
    threshold, on the images whose truth is known, as `<metric>_<class>`; without suffix `n`, all
    images, and the unweighted mean over the findings of each metric but `prevalence`, the counts
    and `threshold`.
    A mean is of the findings that have the metric, for among many some are too rare for a small
    split; `absent` holds the others.

    Args:
        table: columns of `prediction_table`.
        task: what is predicted.
        thresholds: in [0, 1], one for two classes, one a finding. Empty for more than two
            classes, and where none was chosen: the metrics that need a decision are then absent.
    """
    check_thresholds(task, thresholds)
    target = task.targets(table)
    probability = scores(table, task, "probability")
    calibrated = scores(table, task, "calibrated")
    if task.kind == "binary":
        cut = thresholds[0] if thresholds else None
        answers = (task.classes[0], task.classes[1])
        outcomes = binary_outcomes(target, probability, calibrated, answers, cut)
    elif task.kind == "multiclass":
        outcomes = _exclusive(target.astype(np.int64), probability, calibrated, task)
    else:
        outcomes = _findings(target, probability, calibrated, task, thresholds)
    outcomes["n"] = float(len(table))
    return Metrics(
        values={name: float(v) for name, v in outcomes.items() if not isinstance(v, str)},
        absent={name: v for name, v in outcomes.items() if isinstance(v, str)},
    )


def metric_names(task: Task) -> list[str]:
    """Every name that `evaluate_table` gives for this task, in `values` or in `absent`."""
    if task.kind == "binary":
        return list(BINARY)
    if task.kind == "multilabel":
        return ["n", *SUMMARY, *(f"{name}_{c}" for c in task.classes for name in FINDING)]
    each = (*RANKING, *COUNTED, "prevalence")
    return ["n", *SUMMARY, *(f"{name}_{c}" for name in each for c in task.classes), *_cells(task)]


def confusion_counts(metrics: Metrics, task: Task) -> npt.NDArray[np.int64] | None:
    """The (K, K) matrix of exclusive classes, rows true and columns decided; None where absent."""
    if task.kind == "binary":
        return binary_counts(metrics)
    return _square([metrics.values.get(name) for name in _cells(task)])


def binary_counts(metrics: Metrics, suffix: str = "") -> npt.NDArray[np.int64] | None:
    """(2, 2), rows true and columns decided, of two classes or, by its suffix, of a finding."""
    return _square([metrics.values.get(f"{cell}{suffix}") for cell in CELLS])


def _exclusive(
    target: npt.NDArray[np.int64], probability: FloatArray, calibrated: FloatArray, task: Task
) -> dict[str, Outcome]:
    reason = unusable(target, probability, calibrated, len(task.classes))
    if reason is not None:
        return dict.fromkeys(metric_names(task), reason)
    matrix = confusion(target, probability.argmax(axis=1), len(task.classes))
    outcomes: dict[str, Outcome] = dict(
        zip(_cells(task), matrix.ravel().astype(float), strict=True)
    )
    for index, name in enumerate(task.classes):
        answers = (f"not {name}", name)
        member = (target == index).astype(np.int64)
        tp = int(matrix[index, index])
        fp = int(matrix[:, index].sum()) - tp
        fn = int(matrix[index].sum()) - tp
        own = {
            **ranking(member, probability[:, index], answers),
            **counted(target.size - tp - fp - fn, fp, fn, tp, answers),
            "prevalence": float(member.mean()),
        }
        outcomes |= {f"{metric}_{name}": outcome for metric, outcome in own.items()}
    for metric in (*RANKING, *COUNTED):
        outcomes[metric] = mean_of_all([outcomes[f"{metric}_{name}"] for name in task.classes])
    outcomes["accuracy"] = float(np.trace(matrix)) / target.size
    outcomes["balanced_accuracy"] = outcomes["recall"]
    return outcomes | probabilistic(target, probability, calibrated)


def _findings(
    target: npt.NDArray[Any],
    probability: FloatArray,
    calibrated: FloatArray,
    task: Task,
    thresholds: Sequence[float],
) -> dict[str, Outcome]:
    reason = unusable(np.nan_to_num(target), probability, calibrated, 2)
    if reason is not None:
        return dict.fromkeys(metric_names(task), reason)
    each = []
    for index, name in enumerate(task.classes):
        known = ~np.isnan(target[:, index])
        own = binary_outcomes(
            target[known, index],
            probability[known, index],
            calibrated[known, index],
            (f"free of {name}", name),
            thresholds[index] if thresholds else None,
        )
        if not known.any():
            own = dict.fromkeys(FINDING, f"no image is labelled for {name}") | {"n": 0.0}
        each.append({metric: own[metric] for metric in FINDING})
    outcomes = {
        f"{metric}_{name}": outcome
        for name, own in zip(task.classes, each, strict=True)
        for metric, outcome in own.items()
    }
    return outcomes | {metric: _mean_of_known([own[metric] for own in each]) for metric in SUMMARY}


def _mean_of_known(outcomes: Sequence[Outcome]) -> Outcome:
    known = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    if known:
        return float(np.mean(known))
    reasons = {str(outcome) for outcome in outcomes}
    return reasons.pop() if len(reasons) == 1 else "it could be computed of no finding"


def _cells(task: Task) -> list[str]:
    return [f"confusion_{true}_{decided}" for true in task.classes for decided in task.classes]


def _square(cells: Sequence[float | None]) -> npt.NDArray[np.int64] | None:
    if None in cells:
        return None
    size = math.isqrt(len(cells))
    return np.array(cells, dtype=np.int64).reshape(size, size)
