"""Metrics of one question with two answers, from arrays.

From torchmetrics: AUROC, average precision, the confusion matrix; always from probabilities,
never logits, because torchmetrics guesses whether to apply a sigmoid. Our own: ratios of the
confusion matrix's counts, which torchmetrics makes 0 where they are 0/0, and Brier score, log
loss and equal-mass calibration error, which it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torchmetrics.functional import classification

from cxrlab.evaluation.curves import expected_calibration_error
from cxrlab.evaluation.predictions import FloatArray

# A value, or the reason why there is none.
Outcome: TypeAlias = float | str

RANKING = ("auroc", "auprc")
COUNTED = ("precision", "recall", "specificity", "f1")
PROBABILISTIC = ("brier", "nll", "ece")
CALIBRATED = tuple(f"{name}_calibrated" for name in PROBABILISTIC)
CELLS = ("tn", "fp", "fn", "tp")
SUMMARY = (*RANKING, "accuracy", "balanced_accuracy", *COUNTED, *PROBABILISTIC, *CALIBRATED)
RATIOS = ("accuracy", "balanced_accuracy", *COUNTED)
# At 0.5, whatever the threshold: what a reader who knows of none would see.
AT_HALF = tuple(f"{name}_at_0.5" for name in RATIOS)

FINDING = ("n", "prevalence", *SUMMARY, *CELLS, "threshold")
BINARY = (*FINDING, *AT_HALF)

_DECIDED = (*RATIOS, *CELLS, "threshold")


def binary_outcomes(
    target: npt.NDArray[Any],
    probability: FloatArray,
    calibrated: FloatArray,
    answers: tuple[str, str],
    threshold: float | None,
) -> dict[str, Outcome]:
    """Every metric of `BINARY`.

    Args:
        target: (N,) 0 or 1.
        probability: (N,) of 1, raw.
        calibrated: (N,) of 1.
        answers: what 0 and 1 stand for, for reasons.
        threshold: 1 is decided where probability >= threshold; None: nothing is decided.
    """
    size: dict[str, Outcome] = {"n": float(target.size)}
    reason = unusable(target, probability, calibrated, 2)
    if reason is not None:
        return dict.fromkeys(BINARY, reason) | size
    truth = target.astype(np.int64)
    at_half = _decided(truth, probability, answers, 0.5)
    return {
        **size,
        "prevalence": float(truth.mean()),
        **ranking(truth, probability, answers),
        **_decided(truth, probability, answers, threshold),
        **{f"{name}_at_0.5": at_half[name] for name in RATIOS},
        **probabilistic(truth, probability, calibrated),
    }


def unusable(
    target: npt.NDArray[Any], probability: FloatArray, calibrated: FloatArray, classes: int
) -> str | None:
    """Why nothing can be computed, or None; arrays (N,) or (N, K), targets below `classes`."""
    if not target.size:
        return "there are no images"
    images = len(target)
    outside = _images_with(~np.isin(target, range(classes)))
    if outside:
        return f"{outside} of {images} images have a target outside 0..{classes - 1}"
    bad = max(_images_with(~((p >= 0) & (p <= 1))) for p in (probability, calibrated))
    return f"{bad} of {images} images have no probability in [0, 1]" if bad else None


def ranking(
    target: npt.NDArray[np.int64], probability: FloatArray, answers: tuple[str, str]
) -> dict[str, Outcome]:
    """AUROC and average precision; without both classes neither."""
    if target.min() == target.max():
        return dict.fromkeys(RANKING, f"no image is {answers[1 - target[0]]}")
    score, truth = torch.tensor(probability), torch.tensor(target)
    found = {
        "auroc": classification.binary_auroc(score, truth),
        "auprc": classification.binary_average_precision(score, truth),
    }
    # torchmetrics sums in float32: what is 1 can come out as 0.99999994.
    return {name: 1.0 if value > 1 - 1e-6 else float(value) for name, value in found.items()}


def confusion(
    target: npt.NDArray[np.int64], decision: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64]:
    """Counts (classes, classes), rows true and columns decided."""
    # Decisions, not probabilities: torchmetrics would decide by > threshold, we by >=.
    found = classification.multiclass_confusion_matrix(
        torch.tensor(decision), torch.tensor(target), num_classes=classes
    )
    return np.asarray(found.numpy(), dtype=np.int64)


def counted(tn: int, fp: int, fn: int, tp: int, answers: tuple[str, str]) -> dict[str, Outcome]:
    """The ratios of `COUNTED`."""
    no_negative, no_positive = (f"no image is {answer}" for answer in answers)
    return {
        "precision": _ratio(tp, tp + fp, f"no image was called {answers[1]}"),
        "recall": _ratio(tp, tp + fn, no_positive),
        "specificity": _ratio(tn, tn + fp, no_negative),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn if tp + fn else 0, no_positive),
    }


def probabilistic(
    target: npt.NDArray[np.int64], probability: FloatArray, calibrated: FloatArray
) -> dict[str, Outcome]:
    """Brier score, log loss (clipped at machine epsilon, as in scikit-learn) and ECE of both.

    Args:
        target: (N,) class indices.
        probability: (N,) of class 1, or (N, K), raw.
        calibrated: of the same shape.
    """
    raw, scaled = _losses(target, probability), _losses(target, calibrated)
    return {**raw, **{f"{name}_calibrated": loss for name, loss in scaled.items()}}


def mean_of_all(outcomes: Sequence[Outcome]) -> Outcome:
    """Their mean; absent, for the first reason, where one of them is."""
    missing = [outcome for outcome in outcomes if isinstance(outcome, str)]
    return missing[0] if missing else float(np.mean([float(outcome) for outcome in outcomes]))


def _decided(
    target: npt.NDArray[np.int64],
    probability: FloatArray,
    answers: tuple[str, str],
    threshold: float | None,
) -> dict[str, Outcome]:
    if threshold is None:
        return dict.fromkeys(_DECIDED, "no decision threshold was chosen")
    matrix = confusion(target, (probability >= threshold).astype(np.int64), 2)
    tn, fp, fn, tp = (int(count) for count in matrix.ravel())
    ratios = counted(tn, fp, fn, tp, answers)
    return {
        **dict(zip(CELLS, (float(tn), float(fp), float(fn), float(tp)), strict=True)),
        **ratios,
        "accuracy": (tn + tp) / target.size,
        "balanced_accuracy": mean_of_all([ratios["recall"], ratios["specificity"]]),
        "threshold": threshold,
    }


def _losses(target: npt.NDArray[np.int64], probability: FloatArray) -> dict[str, Outcome]:
    rows = np.arange(target.size)
    if probability.ndim == 1:
        brier = np.mean((probability - target) ** 2)
        likelihood = np.where(target == 1, probability, 1 - probability)
        confidence, event = probability, target == 1
    else:
        brier = np.mean(np.sum((probability - np.eye(probability.shape[1])[target]) ** 2, axis=1))
        likelihood = probability[rows, target]
        confidence, event = probability.max(axis=1), probability.argmax(axis=1) == target
    epsilon = np.finfo(np.float64).eps
    return {
        "brier": float(brier),
        "nll": float(-np.mean(np.log(np.clip(likelihood, epsilon, 1 - epsilon)))),
        "ece": expected_calibration_error(confidence, event),
    }


def _images_with(flags: npt.NDArray[np.bool_]) -> int:
    return int(flags.reshape(len(flags), -1).any(axis=1).sum())


def _ratio(numerator: int, denominator: int, reason: str) -> Outcome:
    return numerator / denominator if denominator else reason
