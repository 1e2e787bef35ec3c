"""How well a few plain features tell a class: held-out AUROC with an interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

Floats = NDArray[np.floating]

_FOLDS = 5
_Z = float(norm.ppf(0.975))


@dataclass(frozen=True)
class Area:
    """AUROC and the ends of its 95 % interval, each in [0, 1]."""

    auroc: float
    low: float
    high: float

    def __str__(self) -> str:
        """As it stands in messages."""
        return f"AUROC {self.auroc:.2f} (95 % interval {self.low:.2f} to {self.high:.2f})"

    def flipped(self) -> Area:
        """Of the negated score."""
        return Area(1 - self.auroc, 1 - self.high, 1 - self.low)


def area(member: NDArray[np.bool_], score: Floats, group: NDArray[np.int64]) -> Area:
    """AUROC with an interval that knows that images of one patient are alike.

    DeLong's variance from placement values, summed by cluster: Obuchowski, Nonparametric analysis
    of clustered ROC curve data, Biometrics 1997.

    Args:
        member: (N,) of the class or not, some of each.
        score: (N,).
        group: (N,) patient number.
    """
    positives, negatives = int(member.sum()), int((~member).sum())
    rank = rankdata(score)
    placement = np.empty(len(score))
    placement[member] = (rank[member] - rankdata(score[member])) / negatives
    placement[~member] = 1 - (rank[~member] - rankdata(score[~member])) / positives
    auroc = float(placement[member].mean())
    _, cluster = np.unique(group, return_inverse=True)
    off = placement - auroc
    above = np.bincount(cluster, np.where(member, off, 0)) / positives
    below = np.bincount(cluster, np.where(member, 0, off)) / negatives
    clusters = len(above)
    variance = float(((above + below) ** 2).sum()) * clusters / max(clusters - 1, 1)
    half = _Z * variance**0.5
    return Area(auroc, max(auroc - half, 0.0), min(auroc + half, 1.0))


def feature_area(member: NDArray[np.bool_], value: Floats, group: NDArray[np.int64]) -> Area:
    """The AUROC of one feature in the direction in which it is above 0.5."""
    found = area(member, value, group)
    return found if found.auroc >= 0.5 else found.flipped()


def held_out_area(
    features: Floats,
    member: NDArray[np.bool_],
    group: NDArray[np.int64],
    model: Callable[[], ClassifierMixin],
) -> Area:
    """AUROC of a model on patients that it was not fitted on, by 5-fold cross-validation.

    Args:
        features: (N, F).
        member: (N,) of the class or not.
        group: (N,) patient number.
        model: makes an unfitted classifier with `predict_proba`.
    """
    _, patient = np.unique(group, return_inverse=True)
    fold = np.random.default_rng(0).permutation(patient.max() + 1)[patient] % _FOLDS
    score = np.full(len(member), member.mean())
    for held_out in (fold == number for number in range(_FOLDS)):
        fitted = member[~held_out]
        if held_out.any() and fitted.any() and not fitted.all():
            classifier = model().fit(features[~held_out], fitted)
            score[held_out] = classifier.predict_proba(features[held_out])[:, 1]
    return area(member, score, group)


def linear_model() -> ClassifierMixin:
    """Logistic regression of standardised features, held back."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))


def tree_model() -> ClassifierMixin:
    """A small tree, for features of which no order means anything, such as widths."""
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_leaf_nodes=16, min_samples_leaf=20, random_state=0)
