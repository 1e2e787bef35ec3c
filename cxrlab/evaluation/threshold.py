"""The operating point: which probability counts as disease, and by which rule it was chosen."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from cxrlab.config.rule import Rule, parse_rule
from cxrlab.errors import UserError, warn

_ORIGINS = {
    "val": "validation",
    "val_shifted": "changed validation images",
    "test": "test",
    "train": "training",
}


@dataclass(frozen=True)
class Threshold:
    """A decision threshold that remembers where it comes from.

    Attributes:
        value: probability in [0, 1]; the decision is positive where probability >= value.
        rule: the rule as written in a configuration, such as `sensitivity:0.97`.
        origin: the split on which it was chosen, `given` for a number, or `default` for a
            finding for which none could be chosen.
    """

    value: float
    rule: str
    origin: str


def origin_words(origin: str) -> str:
    """What a reader calls the images that a threshold was chosen on."""
    return re.sub(r"\b(val_shifted|val|test|train)\b", lambda found: _ORIGINS[found[1]], origin)


def choose_threshold(
    rule: str | float,
    target: npt.ArrayLike,
    probability: npt.ArrayLike,
    origin: str = "val",
    finding: str | None = None,
) -> Threshold:
    """Apply a rule to the scores of one split.

    Candidates are the cuts between neighbouring distinct scores, so that none lies on an
    observed score: a cut's value is the middle of its gap (the outermost gaps end at 0 and 1).

    * `youden` takes the greatest J = sensitivity + specificity - 1 (Youden, Cancer 1950); among
      equal cuts the one in the widest gap, which small shifts of the scores disturb least, then
      the more sensitive one.
    * `balanced` takes the cut at which a logistic curve through all scores calls both classes
      equally likely; see `balanced_cut`.
    * `sensitivity:X` takes, of the cuts with sensitivity >= X, the most specific, then the most
      sensitive; `specificity:X` the mirror image.
    * `cost:FN/FP` takes the least sum of costs over the split's images, at its own prevalence;
      equal cuts as for `youden`.

    Args:
        rule: see `parse_rule`.
        target: (N,) 0 or 1.
        probability: (N,) in [0, 1], uncalibrated. Not read for a number.
        origin: the split that the scores are of.
        finding: what the scores are of, for messages, where a model is asked for several.

    Raises:
        UserError: the split lacks a class, so that no rule but a number can be applied, or no
            cut in [0, 1] reaches the level.
        ValueError: bad rule, shapes that differ, or scores that are no probabilities.
    """
    parsed = parse_rule(rule)
    if parsed.kind == "number":
        return Threshold(float(cast("float", parsed.level)), str(parsed), "given")
    positive = np.asarray(target) == 1
    score = np.asarray(probability, dtype=np.float64)
    if positive.shape != score.shape or score.ndim != 1:
        raise ValueError(f"target {positive.shape} and probability {score.shape} are not both (N,)")
    if not np.all((score >= 0) & (score <= 1)):
        raise ValueError("scores outside [0, 1] or not a number are no probabilities")
    where = origin if finding is None else f"{finding} in {origin}"
    if positive.all() or not positive.any():
        found = "no images" if not positive.size else f"only class {int(positive[0])}"
        raise UserError(
            f"threshold={parsed} can't be chosen: {where} has {found}; "
            f"give a number such as threshold=0.5, or a {origin} split with both classes"
        )
    if parsed.kind == "balanced":
        value = _balanced(score[positive], score[~positive], where)
    else:
        value = _Cuts.of(positive, score).choose(parsed, where)
    return Threshold(value, str(parsed), origin)


def _balanced(
    positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64], where: str
) -> float:
    from cxrlab.evaluation.balanced import balanced_cut  # brings scipy

    cut = balanced_cut(positive, negative)
    if cut is None:
        warn(
            f"the scores of {where} do not tell the classes apart (those with the disease score no "
            "higher), so the threshold is 0.5; train longer or give a number"
        )
        return 0.5
    return cut


def choose_thresholds(
    rule: str | float,
    target: npt.NDArray[np.float32],
    probability: npt.NDArray[np.float64],
    findings: Sequence[str],
    origin: str = "val",
) -> tuple[Threshold, ...]:
    """Apply a rule to each finding by itself, on the images whose truth is known.

    One finding among many should not end a run: where the rule can't be applied to it, its
    threshold is 0.5 and a warning says so.

    Args:
        rule: see `parse_rule`.
        target: (N, K): 1 present, 0 absent, NaN unknown.
        probability: (N, K) in [0, 1], uncalibrated.
        findings: K names.
        origin: the split that the scores are of.
    """
    found = []
    for index, finding in enumerate(findings):
        known = ~np.isnan(target[:, index])
        truth, score = target[known, index], probability[known, index]
        try:
            found.append(choose_threshold(rule, truth, score, origin, finding))
        except UserError as error:
            warn(f"{error}; {finding} is decided at 0.5")
            found.append(Threshold(0.5, "0.5", "default"))
    return tuple(found)


def show_probability(value: float) -> str:
    """A probability to read: three decimals, and more where it is close to 0 or 1."""
    distance = min(value, 1 - value)
    digits = 3 if distance <= 0 else max(3, min(8, math.ceil(-math.log10(distance)) + 1))
    return f"{value:.{digits}f}"


@dataclass(frozen=True)
class _Cuts:
    """Every way to cut the scores in two, lowest cut first."""

    value: npt.NDArray[np.float64]
    gap: npt.NDArray[np.float64]
    tp: npt.NDArray[np.int64]
    fp: npt.NDArray[np.int64]
    positives: int
    negatives: int

    @classmethod
    def of(cls, positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]) -> _Cuts:
        distinct, group = np.unique(score, return_inverse=True)
        lower = np.concatenate([[0.0], distinct])
        upper = np.concatenate([distinct, [1.0]])
        middle = (lower + upper) / 2
        # Between two adjacent floats there is no middle: the decision is >=, so take the upper.
        value = np.where((middle > lower) & (middle <= upper), middle, upper)
        here = np.bincount(group[positive], minlength=distinct.size)
        there = np.bincount(group[~positive], minlength=distinct.size)
        cuts = cls(
            value=value,
            gap=upper - lower,
            tp=np.append(here[::-1].cumsum()[::-1], 0),
            fp=np.append(there[::-1].cumsum()[::-1], 0),
            positives=int(positive.sum()),
            negatives=int((~positive).sum()),
        )
        # A score of exactly 1 is positive at every threshold in [0, 1].
        return cuts.keep(np.arange(value.size) < value.size - (distinct[-1] == 1.0))

    def keep(self, chosen: npt.NDArray[np.bool_]) -> _Cuts:
        return _Cuts(
            self.value[chosen],
            self.gap[chosen],
            self.tp[chosen],
            self.fp[chosen],
            self.positives,
            self.negatives,
        )

    def choose(self, rule: Rule, where: str) -> float:
        sensitivity = self.tp / self.positives
        specificity = (self.negatives - self.fp) / self.negatives
        if rule.kind == "youden":
            # J * positives * negatives, in integers: equal cuts must compare as equal.
            j = self.tp * self.negatives - self.fp * self.positives
            if j.max() <= 0:
                warn(
                    f"the scores of {where} do not tell the classes apart (Youden's J is 0), so "
                    "the threshold puts every image in one class; train longer or give a number"
                )
            return float(self.value[self._widest_of_best(j)])
        if rule.kind == "cost":
            cost = cast("float", rule.level) * (self.positives - self.tp) + self.fp
            best = self._widest_of_best(-cost)
            if self.tp[best] + self.fp[best] in (0, self.positives + self.negatives):
                warn(
                    f"threshold={rule} is cheapest on {where} with every image in one class; "
                    "change the costs, or choose by youden, sensitivity:X or specificity:X"
                )
            return float(self.value[best])
        first, second = sensitivity, specificity
        if rule.kind == "specificity":
            first, second = specificity, sensitivity
        reached = first >= cast("float", rule.level)
        if not reached.any():
            raise UserError(
                f"threshold={rule} can't be reached on {where}: at most {first.max():.4f}, for "
                "images of the other class score exactly 1; lower the level or give a number"
            )
        order = np.lexsort((first[reached], second[reached]))
        return float(self.value[reached][order[-1]])

    def _widest_of_best(self, worth: npt.NDArray[Any]) -> int:
        return int(np.lexsort((self.tp, self.gap, worth))[-1])
