"""Points of the curves that figures draw, and the bins of calibration, in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ECE_BINS = 15


@dataclass(frozen=True)
class Bins:
    """Means over bins of predicted probability, lowest bin first; empty bins are left out.

    Attributes:
        predicted: mean probability of each bin.
        observed: share of the bin in which the event happened.
        count: images in the bin.
    """

    predicted: FloatArray
    observed: FloatArray
    count: IntArray


def equal_mass_bins(probability: FloatArray, event: npt.ArrayLike, bins: int = ECE_BINS) -> Bins:
    """Bin by rank, so that bins hold the same number of images (to within one).

    Equal scores share the bin of the first of them, so the result depends on no order of rows.

    Args:
        probability: (N,), N > 0.
        event: (N,) 0 or 1.
        bins: greatest number of bins; fewer are left where N is smaller or scores are equal.
    """
    rank = np.searchsorted(np.sort(probability), probability, side="left")
    members = rank * bins // probability.size
    count = np.bincount(members)
    kept = count > 0
    predicted = np.bincount(members, weights=probability)[kept] / count[kept]
    happened = np.bincount(members, weights=np.asarray(event, dtype=np.float64))[kept]
    return Bins(predicted, happened / count[kept], count[kept])


def expected_calibration_error(
    probability: FloatArray, event: npt.ArrayLike, bins: int = ECE_BINS
) -> float:
    """Mean over equal-mass bins of |mean probability - observed share|, weighted by count.

    Nixon et al., Measuring Calibration in Deep Learning, 2019 (adaptive calibration error, here
    of the given event alone).
    """
    found = equal_mass_bins(probability, event, bins)
    gap = np.abs(found.predicted - found.observed)
    return float(np.sum(gap * found.count) / probability.size)


def counts_by_cut(target: npt.ArrayLike, score: FloatArray) -> tuple[IntArray, IntArray]:
    """True and false positives when all scores >= each distinct score count, from none to all.

    Args:
        target: (N,) 0 or 1.
        score: (N,).

    Returns:
        `(tp, fp)`, each one longer than the number of distinct scores, starting at 0.
    """
    positive = np.asarray(target) == 1
    distinct, group = np.unique(-score, return_inverse=True)
    tp = np.bincount(group[positive], minlength=distinct.size).cumsum()
    fp = np.bincount(group[~positive], minlength=distinct.size).cumsum()
    return np.append(0, tp), np.append(0, fp)


def roc_points(target: npt.ArrayLike, score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """False- and true-positive rates of every cut, from (0, 0) to (1, 1); both classes present."""
    tp, fp = counts_by_cut(target, score)
    return fp / fp[-1], tp / tp[-1]


def precision_recall_points(
    target: npt.ArrayLike, score: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Recall and precision of every cut, highest score first; positives present."""
    tp, fp = counts_by_cut(target, score)
    return tp[1:] / tp[-1], tp[1:] / (tp + fp)[1:]


def net_benefit(target: npt.ArrayLike, probability: FloatArray, at: FloatArray) -> FloatArray:
    """Net benefit of treating where probability >= p_t: TP/N - FP/N * p_t / (1 - p_t).

    Vickers and Elkin, Medical Decision Making 2006. Treat-all is the same with probability 1.

    Args:
        target: (N,) 0 or 1.
        probability: (N,), calibrated.
        at: (M,) threshold probabilities p_t in [0, 1).
    """
    positive = np.asarray(target) == 1
    # Images at or above each threshold, counted in sorted scores.
    tp = positive.sum() - np.searchsorted(np.sort(probability[positive]), at, side="left")
    fp = (~positive).sum() - np.searchsorted(np.sort(probability[~positive]), at, side="left")
    return (tp - fp * at / (1 - at)) / positive.size
