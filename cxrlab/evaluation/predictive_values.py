"""What a positive and a negative call are worth where disease is rarer or more frequent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxrlab.evaluation.intervals import Samples, exact_interval, sample, why_no_intervals
from cxrlab.evaluation.metrics import Interval
from cxrlab.evaluation.predictions import check_thresholds
from cxrlab.evaluation.questions import Question, answer, questions_of
from cxrlab.evaluation.weighted import ratio
from cxrlab.task import Task

FloatArray = npt.NDArray[np.float64]

PREVALENCES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
OPERATING_POINT, AT_HALF = "operating point", "0.5"

_RATES = ("recall", "specificity")
_VALUES = {"ppv": "positive", "npv": "negative"}


def predictive_values(
    sensitivity: npt.ArrayLike, specificity: npt.ArrayLike, prevalence: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Positive and negative predictive value by Bayes' rule.

    PPV = Se p / (Se p + (1 - Sp)(1 - p)); NPV = Sp (1 - p) / (Sp (1 - p) + (1 - Se) p) (Altman and
    Bland, BMJ 1994). It holds where sensitivity and specificity are those of the images at hand:
    a population with milder disease has others.

    Args:
        sensitivity: in [0, 1]; NaN where unknown.
        specificity: in [0, 1]; NaN where unknown.
        prevalence: in [0, 1].

    Returns:
        `(ppv, npv)` in [0, 1], of the shape that the arguments broadcast to; NaN where unknown,
        and where no call of that kind is ever made.

    Raises:
        ValueError: a number outside [0, 1].
    """
    rates = [np.asarray(rate, dtype=np.float64) for rate in (sensitivity, specificity, prevalence)]
    if any(((rate < 0) | (rate > 1)).any() for rate in rates):
        raise ValueError("sensitivity, specificity and prevalence are in [0, 1]")
    hit, rejected, ill = np.broadcast_arrays(*rates)
    true, false = hit * ill, (1 - rejected) * (1 - ill)
    clear, missed = rejected * (1 - ill), (1 - hit) * ill
    return ratio(true, true + false), ratio(clear, clear + missed)


def predictive_value_table(
    table: pd.DataFrame,
    task: Task,
    *,
    thresholds: Sequence[float],
    draws: int,
    seed: int = 0,
    prevalences: Sequence[float] = PREVALENCES,
) -> pd.DataFrame:
    """Predictive values at several prevalences and at the split's own.

    95 % intervals are from drawing patients anew, with the prevalence held: bias-corrected and
    accelerated percentiles of the predictive values of each sample's sensitivity and specificity
    (`bca_interval`). Samples never differ in a rate of exactly 0 or 1; the interval is then
    widened to hold the predictive values at both ends of that rate's exact interval.

    Args:
        table: of one split, columns of `prediction_table`.
        task: of two classes or of findings.
        thresholds: as for `evaluate_table`.
        draws: samples of patients; 0: no intervals.
        seed: of the samples.
        prevalences: in (0, 1).

    Returns:
        A row a prevalence, lowest first, for each of `point`: `operating point` and, where that
        is another threshold, `0.5`; of findings for each `class`. Columns `point`, of findings
        `class`, `threshold`, `prevalence`, `own` (whether it is the split's), `ppv`, `ppv_low`,
        `ppv_high`, `npv`, `npv_low`, `npv_high` (NaN where absent) and `absent` (why).

    Raises:
        ValueError: more than two classes, or a prevalence outside (0, 1).
    """
    check_thresholds(task, thresholds)
    if not all(0 < prevalence < 1 for prevalence in prevalences):
        raise ValueError("prevalences are in (0, 1)")
    rows = []
    for question in questions_of(table, task, thresholds):
        chosen = question.threshold
        points = {} if chosen is None else {OPERATING_POINT: chosen}
        if chosen != 0.5:
            points[AT_HALF] = 0.5
        for point, threshold in points.items():
            decided = _Decided.of(question.at(threshold), draws, seed)
            key = {"point": point, "class": question.name, "threshold": threshold}
            rows += [key | row for row in decided.rows(prevalences)]
    keys = ["point", "class", "threshold", "prevalence", "own"]
    numbers = [f"{name}{end}" for name in _VALUES for end in ("", "_low", "_high")]
    found = pd.DataFrame(rows, columns=[*keys, *numbers, "absent"])
    found[numbers] = found[numbers].astype(np.float64)
    return found if task.kind == "multilabel" else found.drop(columns="class")


@dataclass(frozen=True)
class _Decided:
    """Sensitivity and specificity of a question, and their samples.

    Attributes:
        own: prevalence; NaN without images.
        rates: `recall` and `specificity`; NaN where absent.
        absent: why, by rate.
        exact: interval of a rate that is 0 or 1.
        samples: of both rates; or why there are none.
    """

    own: float
    rates: dict[str, float]
    absent: dict[str, str]
    exact: dict[str, Interval]
    samples: Samples | str

    @classmethod
    def of(cls, question: Question, draws: int, seed: int) -> _Decided:
        found = answer(question, _RATES, draws=0, seed=seed)
        rates = {name: found.values.get(name, np.nan) for name in _RATES}
        trials = question.trials()
        samples: Samples | str = why_no_intervals(question.patients, draws) or ""
        if not samples and not found.absent:
            samples = sample(question.rates(), question.patients, draws, seed)
        return cls(
            own=float(np.mean(question.target == 1)) if question.target.size else np.nan,
            rates=rates,
            absent=found.absent,
            exact={n: exact_interval(r, trials[n]) for n, r in rates.items() if r in (0, 1)},
            samples=samples,
        )

    def rows(self, prevalences: Sequence[float]) -> list[dict[str, Any]]:
        """One a prevalence, the own among them unless the images are all of one class."""
        own = {self.own} if 0 < self.own < 1 else set()
        return [self._row(prevalence) for prevalence in sorted({*prevalences, *own})]

    def _row(self, prevalence: float) -> dict[str, Any]:
        row: dict[str, Any] = {"prevalence": prevalence, "own": prevalence == self.own}
        reasons = [f"{name}: {reason}" for name, reason in self.absent.items()]
        values = _pair(self.rates, prevalence)
        for index, (name, call) in enumerate(_VALUES.items()):
            value = float(values[index])
            if np.isnan(value):
                if not self.absent:
                    reasons.append(f"{name}: no image was called {call}")
                continue
            row[name] = value
            interval = self._interval(index, value, prevalence)
            if isinstance(interval, str):
                reasons.append(f"interval of {name}: {interval}")
            else:
                row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        return row | {"absent": "; ".join(reasons)}

    def _interval(self, index: int, value: float, prevalence: float) -> Interval | str:
        """Of PPV (index 0) or NPV (1)."""
        if isinstance(self.samples, str):
            return self.samples
        found: Interval | str = Interval(value, value)
        # A rate of 0 or 1 is the same in all samples, and so may a value be that rests on it.
        if value not in (0, 1) and len(self.exact) < len(_RATES):
            drawn = _pair(self.samples.drawn, prevalence)[index]
            left_out = _pair(self.samples.left_out, prevalence)[index]
            patients = self.samples.patients
            found = Samples({"": drawn}, {"": left_out}, patients).interval("", value)
        if isinstance(found, str):
            return found
        moved = [
            float(_pair({**self.rates, name: end}, prevalence)[index])
            for name, interval in self.exact.items()
            for end in (interval.low, interval.high)
        ]
        return Interval(min([found.low, *moved]), max([found.high, *moved]))


def _pair(rates: Mapping[str, npt.ArrayLike], prevalence: float) -> tuple[FloatArray, FloatArray]:
    return predictive_values(rates["recall"], rates["specificity"], prevalence)
