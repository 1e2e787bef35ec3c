"""The test of DeLong et al. for the AUROCs of two scores of the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from scipy.stats import rankdata

from cxrlab.evaluation.metrics import Interval

FloatArray = npt.NDArray[np.float64]

_Z95 = 1.959963984540054
# Rounding alone: a standard error of 1e-7, below that of any number of images that can be had.
_NO_VARIANCE = 1e-14


@dataclass(frozen=True)
class DeLong:
    """AUROCs of two scores of the same images, and whether they differ.

    Attributes:
        aurocs: of the first and of the second score.
        variances: of these AUROCs.
        covariance: of the two.
        difference: second less first.
        interval: 95 %, of the difference (normal).
        z: difference in standard errors.
        p: two-sided.
    """

    aurocs: tuple[float, float]
    variances: tuple[float, float]
    covariance: float
    difference: float
    interval: Interval
    z: float
    p: float


def delong_test(
    event: npt.NDArray[np.bool_], first: FloatArray, second: FloatArray
) -> DeLong | str:
    """Compare two AUROCs (DeLong, DeLong and Clarke-Pearson, Biometrics 1988).

    The test takes images for independent of one another.

    Args:
        event: (N,) whether an image is positive.
        first: (N,) finite score, higher for positives.
        second: (N,) of the same images.

    Returns:
        The test, or the reason why there is none.
    """
    positives, negatives = int(event.sum()), int((~event).sum())
    if min(positives, negatives) < 2:
        return f"{positives} positive and {negatives} negative images: two of each are needed"
    aurocs, covariance = delong_covariance(event, np.stack([first, second]))
    difference = float(aurocs[1] - aurocs[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance < _NO_VARIANCE:
        return "the difference has no variance, as where both rank all images alike"
    error = math.sqrt(variance)
    z = difference / error
    return DeLong(
        aurocs=(float(aurocs[0]), float(aurocs[1])),
        variances=(float(covariance[0, 0]), float(covariance[1, 1])),
        covariance=float(covariance[0, 1]),
        difference=difference,
        interval=Interval(difference - _Z95 * error, difference + _Z95 * error),
        z=z,
        p=float(2 * ndtr(-abs(z))),
    )


def delong_covariance(
    event: npt.NDArray[np.bool_], scores: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """AUROCs of K scores of the same images, and their covariance.

    From midranks, in O(K N log N) (Sun and Xu, IEEE Signal Processing Letters 2014): the rank of a
    positive among all images, less that among the positives, counts the negatives below it.

    Args:
        event: (N,) with at least two images of each class.
        scores: (K, N).

    Returns:
        (K,) and (K, K).
    """
    positive, negative = scores[:, event], scores[:, ~event]
    m, n = positive.shape[1], negative.shape[1]
    among_all = rankdata(scores, axis=1)
    below = (among_all[:, event] - rankdata(positive, axis=1)) / n
    above = 1 - (among_all[:, ~event] - rankdata(negative, axis=1)) / m
    return below.mean(axis=1), np.cov(below) / m + np.cov(above) / n
