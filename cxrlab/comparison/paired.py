"""Tests of two systems on the same images: by drawing patients, and by their discordant images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit
from scipy.stats import binomtest

from cxrlab.evaluation.intervals import MOST_UNDEFINED
from cxrlab.evaluation.metrics import Interval
from cxrlab.evaluation.resampling import bootstrap_weights
from cxrlab.evaluation.weighted import Measure

FloatArray = npt.NDArray[np.float64]

_TAIL = 0.025
_ROUNDING = 1e-12


@dataclass(frozen=True)
class McNemar:
    """Which of two systems is right more often, where one alone is.

    Attributes:
        first_alone: images that only the first decides rightly.
        second_alone: images that only the second does.
        difference: share of images that the second decides rightly, less that of the first.
        p: two-sided.
    """

    first_alone: int
    second_alone: int
    difference: float
    p: float


def mcnemar_test(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> McNemar | str:
    """The exact test of McNemar (Psychometrika 1947): a fair coin for each discordant image.

    It takes images for independent of one another.

    Args:
        first: (N,) whether the first system decides an image rightly.
        second: (N,) the same of the second.

    Returns:
        The test, or the reason why there is none.
    """
    if not first.size:
        return "there are no images"
    alone = int((first & ~second).sum()), int((second & ~first).sum())
    if not sum(alone):
        return "no image is decided rightly by one alone"
    p = float(binomtest(alone[1], sum(alone)).pvalue)
    return McNemar(*alone, difference=(alone[1] - alone[0]) / first.size, p=p)


def paired_draws(
    measures: Sequence[Measure], patients: Iterable[str], draws: int, seed: int
) -> list[dict[str, FloatArray]]:
    """Measure several systems on the same samples of patients.

    Args:
        measures: one a system, all of the same N images.
        patients: of each image.
        draws: samples with replacement.
        seed: of the samples.

    Returns:
        For each system (draws,) by metric; NaN where a sample has no value.
    """
    pieces: list[list[dict[str, FloatArray]]] = [[] for _ in measures]
    for weights in bootstrap_weights(patients, draws, seed):
        for own, measure in zip(pieces, measures, strict=True):
            own.append(measure(weights))
    return [{n: np.concatenate([piece[n] for piece in own]) for n in own[0]} for own in pieces]


def difference_interval(
    drawn: FloatArray, difference: float, patients: int
) -> tuple[Interval, float] | str:
    """The 95 % interval of a paired difference, and the two-sided p of there being none.

    Student's t with the standard error of the draws (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, 12.3 and 13.2) and one degree of freedom less than there are patients; p < 0.05
    and an interval without 0 are the same. Percentiles, which suit a metric of one system, are too
    narrow here: between equal systems of 30 to 150 patients they found a difference in AUROC in 6
    to 7 % of simulated studies, bias-corrected and accelerated ones in 7 to 12 %, this in 3 to 5 %.

    Args:
        drawn: (draws,) differences on samples of patients; NaN: none.
        difference: on the data itself.
        patients: how many there are.

    Returns:
        Interval and p, or the reason why there is neither.
    """
    known = drawn[~np.isnan(drawn)]
    missing = 1 - known.size / drawn.size
    if missing > MOST_UNDEFINED:
        return f"{missing:.0%} of the samples of patients have no such value"
    error = float(known.std(ddof=1))
    # Equal in all but rounding.
    if error <= _ROUNDING * max(1.0, abs(difference)):
        return "every sample of patients gives the same difference"
    reach = float(stdtrit(patients - 1, 1 - _TAIL)) * error
    p = float(2 * stdtr(patients - 1, -abs(difference) / error))
    return Interval(difference - reach, difference + reach), p


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p of one family of tests (Holm, Scandinavian Journal of Statistics 1979).

    Args:
        p_values: in [0, 1]; None is no test, and does not count.

    Returns:
        In their order.
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[index] = highest
    return adjusted
