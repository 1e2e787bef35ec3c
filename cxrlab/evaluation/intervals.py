"""95 % intervals of every metric, by drawing patients anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import beta

from cxrlab.evaluation.binary import AT_HALF, SUMMARY
from cxrlab.evaluation.metrics import Interval, Metrics
from cxrlab.evaluation.predictions import scores
from cxrlab.evaluation.resampling import bootstrap_weights, count_patients, jackknife_weights
from cxrlab.evaluation.weighted import Measure, measure_of
from cxrlab.task import Task

FloatArray = npt.NDArray[np.float64]

DRAWS = 2000
_TAIL = 0.025
FEWEST_PATIENTS = 10
# Not counts, prevalence or threshold; also of a class, `auroc_VIRUS`.
_STATISTICS = (*SUMMARY, *AT_HALF)
# Samples without a class have no value; of more than these the rest would be a selection.
MOST_UNDEFINED = 0.05


def add_intervals(
    metrics: Metrics,
    table: pd.DataFrame,
    task: Task,
    *,
    thresholds: Sequence[float],
    draws: int = DRAWS,
    seed: int = 0,
) -> Metrics:
    """Give each metric that is a statistic of the images a 95 % interval.

    Patients are drawn with replacement, with all their images, so images of one patient do not
    pass for independent ones. The ends are bias-corrected and accelerated percentiles (Efron,
    JASA 1987), the acceleration from leaving patients out in turn, expanded for few patients
    (Hesterberg, The American Statistician 2015). The calibration error, which few images alone
    push up, has the reversed percentiles (Davison and Hinkley, Bootstrap Methods, 1997, 5.2),
    widened to hold the value itself. A proportion of exactly 0 or 1, of which no sample differs,
    has the ends of Clopper and Pearson (1934) with the patients that it is of for trials.

    Args:
        metrics: of the table, as `evaluate_table` gives them.
        table: columns of `prediction_table`, N rows.
        task: what is predicted.
        thresholds: those of the metrics.
        draws: samples of patients.
        seed: of the samples.

    Returns:
        The metrics with `intervals`, and with `no_interval`: why some values have none.
    """
    patients = table["patient_id"].astype(str).to_numpy(dtype=str)
    if not {"auroc", "brier", "accuracy"} & metrics.values.keys():
        return metrics
    measure = measure_of(table, task, thresholds)
    trials = _trials(table, patients, task, thresholds)
    return with_intervals(metrics, measure, patients, trials, draws, seed)


def with_intervals(
    metrics: Metrics,
    measure: Measure,
    patients: npt.NDArray[np.str_],
    trials: Mapping[str, int],
    draws: int,
    seed: int,
) -> Metrics:
    """The metrics with the intervals of their samples, or with why they have none.

    Args:
        metrics: of N images.
        measure: the same metrics, or some of them, by weights of the images.
        patients: (N,) of each image.
        trials: patients that a proportion is of; at 0 and 1 it has exact ends.
        draws: samples of patients; 0: no intervals.
        seed: of the samples.
    """
    reason = why_no_intervals(patients, draws)
    if reason is not None or not metrics.values:
        statistics = (name for name in metrics.values if name.startswith(_STATISTICS))
        return replace(metrics, no_interval=dict.fromkeys(statistics, reason or ""))
    samples = sample(measure, patients, draws, seed)
    found: dict[str, Interval | str] = {
        name: exact_interval(value, trials[name])
        if name in trials and value in (0, 1)
        else samples.interval(name, value)
        for name, value in metrics.values.items()
        if name in samples.drawn
    }
    return replace(
        metrics,
        intervals={name: end for name, end in found.items() if not isinstance(end, str)},
        no_interval={name: end for name, end in found.items() if isinstance(end, str)},
    )


def why_no_intervals(patients: npt.NDArray[np.str_], draws: int) -> str | None:
    """Why nothing of these (N,) patients has an interval, or None."""
    if not draws:
        return "no samples of patients were drawn"
    count = count_patients(patients)
    if count < FEWEST_PATIENTS:
        return f"{count} patients are fewer than {FEWEST_PATIENTS}"
    return None


@dataclass(frozen=True)
class Samples:
    """Metrics on samples of patients, and with patients left out in turn.

    Attributes:
        drawn: (draws,) by metric; NaN where a sample has no value.
        left_out: (patients or groups of them,) by metric.
        patients: how many there are.
    """

    drawn: dict[str, FloatArray]
    left_out: dict[str, FloatArray]
    patients: int

    def interval(self, name: str, value: float) -> Interval | str:
        """The 95 % interval of a metric with this value, or the reason why there is none."""
        drawn = self.drawn[name]
        known = drawn[~np.isnan(drawn)]
        missing = 1 - known.size / drawn.size
        if missing > MOST_UNDEFINED:
            return f"{missing:.0%} of the samples of patients have no such value"
        if np.ptp(known) == 0:
            return "every sample of patients gives the same value"
        if name.startswith("ece"):
            return reversed_interval(known, value)
        return bca_interval(known, value, self.left_out[name], self.patients)


def sample(measure: Measure, patients: Iterable[str], draws: int, seed: int) -> Samples:
    """Measure on samples of patients.

    Args:
        measure: of N images.
        patients: of each image.
        draws: samples with replacement.
        seed: of the samples.
    """
    return Samples(
        _together([measure(w) for w in bootstrap_weights(patients, draws, seed)]),
        _together([measure(w) for w in jackknife_weights(patients)]),
        count_patients(patients),
    )


def bca_interval(drawn: FloatArray, value: float, left_out: FloatArray, patients: int) -> Interval:
    """Bias-corrected and accelerated percentiles (Efron, JASA 1987), expanded for few patients.

    Samples of n patients spread less than the population, by sqrt((n - 1) / n), and percentiles
    take that spread for known; Student's t over that root in place of the normal quantile makes
    up for both (Hesterberg, The American Statistician 2015, 5.1).

    Args:
        drawn: values on bootstrap samples, not all the same.
        value: on the data itself.
        left_out: values with each patient, or each group of patients, left out; NaN: none.
        patients: drawn for each sample, at least 2.
    """
    below = (np.sum(drawn < value) + np.sum(drawn == value) / 2) / drawn.size
    # A value outside all samples has no finite correction; half a sample bounds it.
    bias = ndtri(np.clip(below, 0.5 / drawn.size, 1 - 0.5 / drawn.size))
    gap = np.nanmean(left_out) - left_out[~np.isnan(left_out)]
    spread = np.sum(gap**2) ** 1.5
    acceleration = np.sum(gap**3) / (6 * spread) if spread > 0 else 0.0
    reach = stdtrit(patients - 1, 1 - _TAIL) * np.sqrt(patients / (patients - 1))
    shifted = bias + np.array([-reach, reach])
    level = ndtr(bias + shifted / (1 - acceleration * shifted))
    low, high = np.quantile(drawn, level)
    return Interval(float(low), float(high))


def reversed_interval(drawn: FloatArray, value: float) -> Interval:
    """Percentiles of the samples' error, taken off the value; not below 0, the value inside."""
    low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL])
    return Interval(max(0.0, float(2 * value - high)), max(value, float(2 * value - low)))


def exact_interval(value: float, trials: int) -> Interval:
    """Ends of Clopper and Pearson (Biometrika 1934) of a proportion of exactly 0 or 1."""
    if value == 1:
        return Interval(float(beta.ppf(_TAIL, trials, 1)), 1.0)
    return Interval(0.0, float(beta.ppf(1 - _TAIL, 1, trials)))


def _together(pieces: Sequence[dict[str, FloatArray]]) -> dict[str, FloatArray]:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _trials(
    table: pd.DataFrame, patients: npt.NDArray[np.str_], task: Task, thresholds: Sequence[float]
) -> dict[str, int]:
    """How many patients a proportion is of, by the metric's name."""
    raw = scores(table, task, "probability").reshape(len(table), -1)
    if task.kind == "multiclass":
        called = raw.argmax(axis=1)[:, None] == np.arange(len(task.classes))
        cuts = {"": called}
    else:
        cuts = {"_at_0.5": raw >= 0.5} if task.kind == "binary" else {}
        cuts |= {"": raw >= np.array(thresholds)} if thresholds else {}
    found = {f"accuracy{cut}": count_patients(patients) for cut in cuts}
    if task.kind == "multilabel":
        found = {}  # the accuracy is a mean over findings
    memberships = list(task.memberships(table))[-raw.shape[1] :]
    for cut, called in cuts.items():
        for index, (name, member) in enumerate(memberships):
            suffix = cut if task.kind == "binary" else f"_{name}"
            known = ~np.isnan(member)
            parts = {
                "recall": member == 1,
                "specificity": member == 0,
                "precision": called[:, index] & known,
            }
            found |= {f"{m}{suffix}": count_patients(patients[p]) for m, p in parts.items()}
    return found
