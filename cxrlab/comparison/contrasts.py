"""Every test of one system against another, as rows: a metric, a difference, an interval, a p."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cxrlab.comparison.delong import DeLong, delong_test
from cxrlab.comparison.paired import McNemar, difference_interval, mcnemar_test
from cxrlab.evaluation.binary import AT_HALF, SUMMARY
from cxrlab.evaluation.metrics import Interval, Metrics, metric_names
from cxrlab.evaluation.predictions import FloatArray
from cxrlab.evaluation.view import View
from cxrlab.task import Task

BoolArray = npt.NDArray[np.bool_]
TestName: TypeAlias = Literal["bootstrap", "delong", "mcnemar"]

_METRICS = (*SUMMARY, *AT_HALF)


@dataclass(frozen=True)
class Drawn:
    """Two systems on the same samples of patients.

    Attributes:
        reference: (draws,) by metric, of the first system; NaN where a sample has no value.
        system: of the other.
        patients: how many there are to be drawn.
    """

    reference: dict[str, FloatArray]
    system: dict[str, FloatArray]
    patients: int


@dataclass(frozen=True)
class Contrast:
    """One test of one metric of a system against the reference.

    Attributes:
        metric: as `evaluate_table` names it.
        test: `bootstrap` draws patients; `delong` and `mcnemar` take images for independent.
        difference: system less reference; None where one of them lacks the metric.
        interval: 95 %, of the difference.
        p: two-sided.
        p_adjusted: p of Holm's family: this metric and test over all systems.
        reason: why something of these is None.
        detail: the test's own figures: `z`, `reference_variance`, `variance` and `covariance` of
            the AUROCs; images that `reference_alone` or `system_alone` decides rightly.
    """

    metric: str
    test: TestName
    difference: float | None = None
    interval: Interval | None = None
    p: float | None = None
    p_adjusted: float | None = None
    reason: str | None = None
    detail: dict[str, float] = field(default_factory=dict)


def compared_metrics(task: Task) -> list[str]:
    """The metrics that say how good a system is; counts, prevalence and thresholds do not."""
    kept = {*_METRICS, *(f"{metric}_{name}" for metric in _METRICS for name in task.classes)}
    return [name for name in metric_names(task) if name in kept]


def bootstrap_contrasts(
    reference: Metrics, system: Metrics, drawn: Drawn | str, task: Task
) -> list[Contrast]:
    """The difference of every metric, by drawing patients for both at once.

    Args:
        reference: metrics of the first system.
        system: of the other, on the same images.
        drawn: of both, on the same samples of patients; or why there are none.
        task: what is predicted.
    """
    return [_bootstrap(name, reference, system, drawn, task) for name in compared_metrics(task)]


def delong_contrasts(reference: View, system: View) -> list[Contrast]:
    """DeLong's test of the AUROC of two classes, of each against the rest, or of each finding."""
    found = []
    for one, other in zip(reference.curves(), system.curves(), strict=True):
        _, suffix, event, first = one
        name = f"auroc{suffix}"
        missing = _missing(name, reference.metrics, system.metrics)
        test = missing or delong_test(event, first, other[3])
        found.append(_row(name, "delong", test))
    return found


def mcnemar_contrasts(reference: View, system: View) -> list[Contrast]:
    """McNemar's test of the decisions at the operating points.

    Of two classes and of each finding, of all images (`accuracy`), of the positive (`recall`) and
    of the negative ones (`specificity`); of more classes whether the right one was chosen.
    """
    found = []
    first, second = dict(_right(reference)), dict(_right(system))
    for name in _decided(reference):
        missing = _missing(name, reference.metrics, system.metrics)
        test = missing or mcnemar_test(first[name], second[name])
        found.append(_row(name, "mcnemar", test))
    return found


def _bootstrap(
    name: str, reference: Metrics, system: Metrics, drawn: Drawn | str, task: Task
) -> Contrast:
    missing = _missing(name, reference, system)
    if missing is None and task.kind == "multilabel" and name in _METRICS:
        missing = _of_other_findings(name, reference, system, task)
    if missing is not None:
        return Contrast(name, "bootstrap", reason=missing)
    difference = system.values[name] - reference.values[name]
    if isinstance(drawn, str):
        return Contrast(name, "bootstrap", difference, reason=drawn)
    gaps = drawn.system[name] - drawn.reference[name]
    found = difference_interval(gaps, difference, drawn.patients)
    if isinstance(found, str):
        return Contrast(name, "bootstrap", difference, reason=found)
    return Contrast(name, "bootstrap", difference, *found)


def _missing(name: str, *metrics: Metrics) -> str | None:
    """Why a metric is absent in one of them."""
    reasons = (each.absent.get(name) for each in metrics)
    return next((reason for reason in reasons if reason is not None), None)


def _of_other_findings(name: str, reference: Metrics, system: Metrics, task: Task) -> str | None:
    """A mean leaves findings without the metric out, and two such means may not fit together."""
    parts = [f"{name}_{finding}" for finding in task.classes]
    left_out = [{part for part in parts if part in each.absent} for each in (reference, system)]
    return None if left_out[0] == left_out[1] else "the two are means of different findings"


def _row(name: str, test: TestName, outcome: DeLong | McNemar | str) -> Contrast:
    if isinstance(outcome, str):
        return Contrast(name, test, reason=outcome)
    if isinstance(outcome, DeLong):
        interval: Interval | None = outcome.interval
        detail = {
            "z": outcome.z,
            "reference_variance": outcome.variances[0],
            "variance": outcome.variances[1],
            "covariance": outcome.covariance,
        }
    else:
        interval = None
        detail = {
            "reference_alone": float(outcome.first_alone),
            "system_alone": float(outcome.second_alone),
        }
    return Contrast(name, test, outcome.difference, interval, outcome.p, detail=detail)


def _decided(view: View) -> list[str]:
    """The shares of right decisions that `mcnemar_contrasts` tests."""
    if view.task.kind == "multiclass":
        return ["accuracy"]
    suffixes = [suffix for _, suffix, _, _ in view.curves()]
    return [f"{share}{s}" for s in suffixes for share in ("accuracy", "recall", "specificity")]


def _right(view: View) -> Iterator[tuple[str, BoolArray]]:
    """Whether each image was decided rightly, of all and of those of either truth."""
    if view.task.kind == "multiclass":
        yield "accuracy", view.probability.argmax(axis=1) == view.target
        return
    for (_, suffix, event, score), cut in zip(view.curves(), view.thresholds, strict=False):
        right = (score >= cut) == event
        yield f"accuracy{suffix}", right
        yield f"recall{suffix}", right[event]
        yield f"specificity{suffix}", right[~event]
