"""Metrics of a prediction table. One that can't be computed is absent, with its reason.

From torchmetrics: AUROC, average precision, the confusion matrix; always from probabilities,
never logits, because torchmetrics guesses whether to apply a sigmoid. Our own: ratios of the
confusion matrix's counts, which torchmetrics makes 0 where they are 0/0, and Brier score, log
loss and equal-mass calibration error, which it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torchmetrics.functional import classification

from cxrlab.evaluation.curves import expected_calibration_error
from cxrlab.evaluation.predictions import FloatArray, scores

# A value, or the reason why there is none.
Outcome: TypeAlias = float | str

RANKING = ("auroc", "auprc")
COUNTED = ("precision", "recall", "specificity", "f1")
PROBABILISTIC = ("brier", "nll", "ece")
CALIBRATED = tuple(f"{name}_calibrated" for name in PROBABILISTIC)
CELLS = ("tn", "fp", "fn", "tp")

_SUMMARY = (*RANKING, "accuracy", "balanced_accuracy", *COUNTED, *PROBABILISTIC, *CALIBRATED)
_DECIDED = ("accuracy", "balanced_accuracy", *COUNTED, *CELLS, "threshold")


@dataclass(frozen=True)
class Metrics:
    """What could be computed of a prediction table, and why the rest could not.

    Attributes:
        values: metric by name.
        absent: reason by the name of the metric; shares no name with `values`.
    """

    values: dict[str, float]
    absent: dict[str, str]


def evaluate_table(
    table: pd.DataFrame, classes: Sequence[str], *, threshold: float | None
) -> Metrics:
    """Compute every metric of the contract.

    Two classes (class 1 is positive): `n`, `prevalence`, `auroc`, `auprc` (average precision),
    `brier`, `nll` (natural log), `ece` (15 equal-mass bins) of the raw probability and, as
    `..._calibrated`, of the calibrated one; at probability >= threshold `tn`, `fp`, `fn`, `tp`,
    `accuracy`, `balanced_accuracy`, `precision`, `recall`, `specificity`, `f1`, `threshold`.

    More classes: each image is decided as its most probable class. `confusion_<true>_<pred>`
    counts; `auroc`, `auprc`, `precision`, `recall`, `specificity`, `f1` and `prevalence` of each
    class against the rest as `<metric>_<class>`, their unweighted means (but of prevalence)
    without suffix; `balanced_accuracy` is the mean recall; `brier` sums over the classes, `ece`
    is of the most probable class. A mean is absent where one of its parts is.

    Args:
        table: columns of `prediction_table`.
        classes: names, at the index of their target.
        threshold: in [0, 1]; None for more than two classes, and where none was chosen: the
            metrics that need a decision are then absent.
    """
    target = table["target"].to_numpy(dtype=np.int64)
    probability = scores(table, classes, "probability")
    calibrated = scores(table, classes, "calibrated")
    if threshold is not None and len(classes) > 2:
        raise ValueError("more than two classes are decided by the most probable, not a threshold")
    reason = _unusable(target, probability, calibrated, classes)
    if reason is not None:
        outcomes: dict[str, Outcome] = dict.fromkeys(metric_names(classes), reason)
    elif len(classes) == 2:
        outcomes = _two_classes(target, probability, classes, threshold)
    else:
        outcomes = _more_classes(target, probability, classes)
    if reason is None:
        for name, outcome in _probabilistic(target, probability).items():
            outcomes[name] = outcome
        for name, outcome in _probabilistic(target, calibrated).items():
            outcomes[f"{name}_calibrated"] = outcome
    outcomes["n"] = float(len(table))
    return Metrics(
        values={name: float(v) for name, v in outcomes.items() if not isinstance(v, str)},
        absent={name: v for name, v in outcomes.items() if isinstance(v, str)},
    )


def metric_names(classes: Sequence[str]) -> list[str]:
    """Every name that `evaluate_table` gives for these classes, in `values` or in `absent`."""
    if len(classes) == 2:
        return ["n", "prevalence", *_SUMMARY, *CELLS, "threshold"]
    each = (*RANKING, *COUNTED, "prevalence")
    cells = [f"confusion_{true}_{predicted}" for true in classes for predicted in classes]
    return ["n", *_SUMMARY, *(f"{name}_{c}" for name in each for c in classes), *cells]


def confusion_counts(metrics: Metrics, classes: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """The (K, K) confusion matrix, rows true and columns predicted; None where it is absent."""
    names = list(CELLS)
    if len(classes) > 2:
        names = [f"confusion_{true}_{predicted}" for true in classes for predicted in classes]
    if not all(name in metrics.values for name in names):
        return None
    counts = np.array([metrics.values[name] for name in names], dtype=np.int64)
    return counts.reshape(len(classes), len(classes))


def _unusable(
    target: npt.NDArray[np.int64],
    probability: FloatArray,
    calibrated: FloatArray,
    classes: Sequence[str],
) -> str | None:
    if not target.size:
        return "there are no images"
    unknown = target[(target < 0) | (target >= len(classes))]
    if unknown.size:
        return f"{unknown.size} of {target.size} images have a target outside 0..{len(classes) - 1}"
    for values in (probability, calibrated):
        fine = ((values >= 0) & (values <= 1)).reshape(target.size, -1).all(axis=1)
        if not fine.all():
            return f"{(~fine).sum()} of {target.size} images have no probability in [0, 1]"
    return None


def _two_classes(
    target: npt.NDArray[np.int64],
    probability: FloatArray,
    classes: Sequence[str],
    threshold: float | None,
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {"prevalence": float(target.mean())}
    outcomes |= _ranking(target, probability, classes)
    if threshold is None:
        return outcomes | dict.fromkeys(_DECIDED, "no decision threshold was chosen")
    matrix = _confusion(target, (probability >= threshold).astype(np.int64), 2)
    tn, fp, fn, tp = (int(count) for count in matrix.ravel())
    outcomes |= {"tn": float(tn), "fp": float(fp), "fn": float(fn), "tp": float(tp)}
    outcomes |= _counted(tn, fp, fn, tp, classes[0], classes[1])
    outcomes["accuracy"] = (tn + tp) / target.size
    outcomes["balanced_accuracy"] = _mean([outcomes["recall"], outcomes["specificity"]])
    outcomes["threshold"] = threshold
    return outcomes


def _more_classes(
    target: npt.NDArray[np.int64], probability: FloatArray, classes: Sequence[str]
) -> dict[str, Outcome]:
    matrix = _confusion(target, probability.argmax(axis=1), len(classes))
    outcomes: dict[str, Outcome] = {
        f"confusion_{true}_{predicted}": float(matrix[i, j])
        for i, true in enumerate(classes)
        for j, predicted in enumerate(classes)
    }
    for index, name in enumerate(classes):
        rest = f"not {name}"
        member = (target == index).astype(np.int64)
        tp = int(matrix[index, index])
        fp = int(matrix[:, index].sum()) - tp
        fn = int(matrix[index].sum()) - tp
        own: Mapping[str, Outcome] = {
            **_ranking(member, probability[:, index], (rest, name)),
            **_counted(target.size - tp - fp - fn, fp, fn, tp, rest, name),
            "prevalence": float(member.mean()),
        }
        outcomes |= {f"{metric}_{name}": outcome for metric, outcome in own.items()}
    for metric in (*RANKING, *COUNTED):
        outcomes[metric] = _mean(outcomes[f"{metric}_{name}"] for name in classes)
    outcomes["accuracy"] = float(np.trace(matrix)) / target.size
    outcomes["balanced_accuracy"] = outcomes["recall"]
    return outcomes


def _ranking(
    target: npt.NDArray[np.int64], probability: FloatArray, classes: Sequence[str]
) -> dict[str, Outcome]:
    if target.min() == target.max():
        return dict.fromkeys(RANKING, f"no image is {classes[1 - target[0]]}")
    score, truth = torch.tensor(probability), torch.tensor(target)
    return {
        "auroc": float(classification.binary_auroc(score, truth)),
        "auprc": float(classification.binary_average_precision(score, truth)),
    }


def _confusion(
    target: npt.NDArray[np.int64], decision: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64]:
    # Decisions, not probabilities: torchmetrics would decide by > threshold, we by >=.
    found = classification.multiclass_confusion_matrix(
        torch.tensor(decision), torch.tensor(target), num_classes=classes
    )
    return np.asarray(found.numpy(), dtype=np.int64)


def _counted(
    tn: int, fp: int, fn: int, tp: int, negative: str, positive: str
) -> dict[str, Outcome]:
    no_positive, no_negative = f"no image is {positive}", f"no image is {negative}"
    return {
        "precision": _ratio(tp, tp + fp, f"no image was called {positive}"),
        "recall": _ratio(tp, tp + fn, no_positive),
        "specificity": _ratio(tn, tn + fp, no_negative),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn if tp + fn else 0, no_positive),
    }


def _probabilistic(target: npt.NDArray[np.int64], probability: FloatArray) -> dict[str, Outcome]:
    """Brier score, log loss (clipped at machine epsilon, as in scikit-learn) and ECE."""
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


def _ratio(numerator: int, denominator: int, reason: str) -> Outcome:
    return numerator / denominator if denominator else reason


def _mean(outcomes: Iterable[Outcome]) -> Outcome:
    parts = list(outcomes)
    missing = [part for part in parts if isinstance(part, str)]
    return missing[0] if missing else float(np.mean([float(part) for part in parts]))
