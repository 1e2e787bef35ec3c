"""The metrics of `evaluate_table` on many samples of one table at once, by weights of its images.

A sample is a row of weights: how often it holds each image. The values are those of
`evaluate_table` on a table with its rows repeated so often (a test holds the two together).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxrlab.evaluation.binary import CELLS, COUNTED, PROBABILISTIC, RANKING, RATIOS, SUMMARY
from cxrlab.evaluation.curves import ECE_BINS
from cxrlab.evaluation.predictions import scores
from cxrlab.task import Task

FloatArray = npt.NDArray[np.float64]

# Weights (b, N) to values (b,) by metric; NaN where a sample has none.
Measure: TypeAlias = Callable[[FloatArray], dict[str, FloatArray]]


def measure_of(table: pd.DataFrame, task: Task, thresholds: Sequence[float]) -> Measure:
    """The metrics of a prediction table, ready for weights.

    Args:
        table: columns of `prediction_table`, N rows, probabilities all in [0, 1].
        task: what is predicted.
        thresholds: as for `evaluate_table`.

    Returns:
        Maps weights (b, N) to the values of `SUMMARY` and, of more than two classes or of
        findings, of each class as `<metric>_<class>`.
    """
    target = task.targets(table)
    raw, calibrated = scores(table, task, "probability"), scores(table, task, "calibrated")
    if task.kind == "binary":
        return _two_classes(target == 1, raw, calibrated, thresholds[0] if thresholds else None)
    if task.kind == "multiclass":
        return _exclusive(target.astype(np.int64), raw, calibrated, task)
    known = ~np.isnan(target)
    each = [
        _two_classes(
            target[known[:, k], k] == 1,
            raw[known[:, k], k],
            calibrated[known[:, k], k],
            thresholds[k] if thresholds else None,
            at_half=False,
        )
        for k in range(len(task.classes))
    ]

    def findings(weights: FloatArray) -> dict[str, FloatArray]:
        own = [of(weights[:, known[:, k]]) for k, of in enumerate(each)]
        named = {
            f"{metric}_{name}": values
            for name, found in zip(task.classes, own, strict=True)
            for metric, values in found.items()
        }
        return named | {m: _mean_of_known([found[m] for found in own if m in found])
                        for m in SUMMARY if any(m in found for found in own)}  # fmt: skip

    return findings


def auroc_of(event: npt.NDArray[np.bool_], score: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """AUROC of (N,) images by weights (b, N): (b,), NaN where a sample lacks a class."""
    ranked = _Ranked(score, event)
    return lambda weights: _auroc(*ranked.sums(weights))


def _two_classes(
    event: npt.NDArray[np.bool_],
    raw: FloatArray,
    calibrated: FloatArray,
    threshold: float | None,
    *,
    at_half: bool = True,
) -> Measure:
    ranked, ranked_calibrated = _Ranked(raw, event), _Ranked(calibrated, event)
    losses = np.stack([*_losses(event, raw), *_losses(event, calibrated)], axis=1)
    cells = None if threshold is None else _cells(event, raw >= threshold)
    half = _cells(event, raw >= 0.5)

    def measure(weights: FloatArray) -> dict[str, FloatArray]:
        total = weights.sum(axis=1)
        positive, negative = ranked.sums(weights)
        brier, nll, brier_calibrated, nll_calibrated = ratio(weights @ losses, total[:, None]).T
        values = {
            "auroc": _auroc(positive, negative),
            "auprc": _average_precision(positive, negative),
            "brier": brier,
            "nll": nll,
            "ece": ranked.calibration_error(positive, negative),
            "brier_calibrated": brier_calibrated,
            "nll_calibrated": nll_calibrated,
            "ece_calibrated": ranked_calibrated.calibration_error(*ranked_calibrated.sums(weights)),
        }
        if cells is not None:
            values |= _decided(weights @ cells)
        if at_half:
            ratios = _decided(weights @ half)
            values |= {f"{name}_at_0.5": ratios[name] for name in RATIOS}
        return values

    return measure


def _exclusive(
    target: npt.NDArray[np.int64], raw: FloatArray, calibrated: FloatArray, task: Task
) -> Measure:
    decided = raw.argmax(axis=1)
    ranked = [_Ranked(raw[:, k], target == k) for k in range(len(task.classes))]
    cells = [_cells(target == k, decided == k) for k in range(len(task.classes))]
    confident = [_Ranked(p.max(axis=1), p.argmax(axis=1) == target) for p in (raw, calibrated)]
    rows = np.arange(target.size)
    truth = np.eye(len(task.classes))[target]
    losses = np.stack(
        [loss for p in (raw, calibrated)
         for loss in (((p - truth) ** 2).sum(axis=1), _log_loss(p[rows, target]))], axis=1
    )  # fmt: skip

    def measure(weights: FloatArray) -> dict[str, FloatArray]:
        total = weights.sum(axis=1)
        values: dict[str, FloatArray] = {}
        for name, own, counts in zip(task.classes, ranked, cells, strict=True):
            positive, negative = own.sums(weights)
            values[f"auroc_{name}"] = _auroc(positive, negative)
            values[f"auprc_{name}"] = _average_precision(positive, negative)
            ratios = _decided(weights @ counts)
            values |= {f"{metric}_{name}": ratios[metric] for metric in COUNTED}
        for metric in (*RANKING, *COUNTED):
            values[metric] = np.mean([values[f"{metric}_{name}"] for name in task.classes], axis=0)
        values["accuracy"] = ratio(weights @ (decided == target).astype(np.float64), total)
        values["balanced_accuracy"] = values["recall"]
        means = ratio(weights @ losses, total[:, None]).T
        for suffix, own, (brier, nll) in zip(
            ("", "_calibrated"), confident, (means[:2], means[2:]), strict=True
        ):
            found = (brier, nll, own.calibration_error(*own.sums(weights)))
            values |= {f"{m}{suffix}": v for m, v in zip(PROBABILISTIC, found, strict=True)}
        return values

    return measure


class _Ranked:
    """Images by ascending score, those of equal score as one group; G groups."""

    def __init__(self, score: FloatArray, event: npt.NDArray[np.bool_]) -> None:
        self._order = np.argsort(score, kind="stable")
        sorted_scores = score[self._order]
        self._starts = np.flatnonzero(np.diff(sorted_scores, prepend=-1.0))
        self._score = sorted_scores[self._starts]
        self._event = event[self._order]

    def sums(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weight of the positive and of the negative images of each group; (b, G) each."""
        ordered = weights[:, self._order]
        positive = ordered * self._event
        ordered -= positive
        if self._starts.size == self._order.size:
            return positive, ordered
        if not self._starts.size:
            return positive[:, :0], ordered[:, :0]
        return (
            np.add.reduceat(positive, self._starts, axis=1),
            np.add.reduceat(ordered, self._starts, axis=1),
        )

    def calibration_error(self, positive: FloatArray, negative: FloatArray) -> FloatArray:
        """As `expected_calibration_error`; (b,)."""
        both = positive + negative
        total = both.sum(axis=1)
        before = np.cumsum(both, axis=1) - both
        with np.errstate(invalid="ignore", divide="ignore"):
            place = np.nan_to_num(before * ECE_BINS // total[:, None])
        # Groups after the last image of a sample weigh nothing; they may go anywhere.
        place = np.minimum(place, ECE_BINS - 1).astype(np.int64)
        place += ECE_BINS * np.arange(len(both))[:, None]
        gap = both * self._score - positive
        summed = np.bincount(place.ravel(), gap.ravel(), minlength=ECE_BINS * len(both))
        return ratio(np.abs(summed.reshape(len(both), ECE_BINS)).sum(axis=1), total)


def _auroc(positive: FloatArray, negative: FloatArray) -> FloatArray:
    """Share of pairs of a positive and a negative image in order, ties by half; (b,)."""
    below = np.cumsum(negative, axis=1)
    below -= negative / 2
    below *= positive
    return ratio(below.sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))


def _average_precision(positive: FloatArray, negative: FloatArray) -> FloatArray:
    """Precision at each distinct score, weighted by the positives that it adds; (b,)."""
    down = positive[:, ::-1]
    hits = np.cumsum(down, axis=1)
    called = np.cumsum(negative[:, ::-1], axis=1)
    called += hits
    total = positive.sum(axis=1)
    found = np.divide(hits, called, out=hits, where=called > 0)
    found *= down
    # Without a negative image precision is 1 whatever the scores: no measure of the model.
    return np.where(negative.sum(axis=1) > 0, ratio(found.sum(axis=1), total), np.nan)


def _cells(event: npt.NDArray[np.bool_], decided: npt.NDArray[np.bool_]) -> FloatArray:
    """(N, 4) which cell of the confusion matrix an image is in, in the order of `CELLS`."""
    cell = 2 * event.astype(np.int64) + decided
    return np.asarray(np.eye(len(CELLS))[cell])


def _decided(counts: FloatArray) -> dict[str, FloatArray]:
    """The ratios of `counted` and both accuracies from (b, 4) counts."""
    tn, fp, fn, tp = counts.T
    recall, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    return {
        "precision": ratio(tp, tp + fp),
        "recall": recall,
        "specificity": specificity,
        "f1": np.where(tp + fn > 0, ratio(2 * tp, 2 * tp + fp + fn), np.nan),
        "accuracy": ratio(tn + tp, counts.sum(axis=1)),
        "balanced_accuracy": (recall + specificity) / 2,
    }


def _losses(event: npt.NDArray[np.bool_], probability: FloatArray) -> list[FloatArray]:
    likelihood = np.where(event, probability, 1 - probability)
    return [(probability - event) ** 2, _log_loss(likelihood)]


def _log_loss(likelihood: FloatArray) -> FloatArray:
    epsilon = np.finfo(np.float64).eps
    return np.asarray(-np.log(np.clip(likelihood, epsilon, 1 - epsilon)))


def ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Their quotient, NaN where `below` is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(below > 0, above / below, np.nan))


def _mean_of_known(values: Sequence[FloatArray]) -> FloatArray:
    stacked = np.stack(values)
    known = ~np.isnan(stacked)
    return ratio(np.where(known, stacked, 0).sum(axis=0), known.sum(axis=0).astype(np.float64))
