"""The line of facts below a case's name: the truth, what the model says, and where it draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cxrlab.explanation.figures import shorten

_CLASS_LENGTH = 24


def prediction_facts(row: pd.Series[Any], classes: Sequence[str], threshold: float | None) -> str:
    """True class, probability, decision and threshold of one row of a prediction table.

    Args:
        row: with `target`, `decision` and `probability`, or `probability_<class>` for more
            than two classes.
        classes: names by class index.
        threshold: from which probability the decision is positive; None for more than two.
    """
    decided = classes[int(row["decision"])]
    column = "probability" if "probability" in row else f"probability_{decided}"
    positive = classes[1] if column == "probability" else decided
    rule = "" if threshold is None else f" (threshold {threshold:.3g})"
    return (
        f"true {_short(classes[int(row['target'])])}   "
        f"p({_short(positive)}) {float(row[column]):.3f} → {_short(decided)}{rule}"
    )


def panel_facts(target: int, logit: float, classes: Sequence[str]) -> str:
    """True class and the explained logit of an image in training.

    The probability is given for two classes; one logit of several does not determine it.
    """
    truth = _short(classes[target])
    if len(classes) > 2:
        return f"true {truth}   logit of {truth} {logit:.2f}"
    probability = 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))
    return f"true {truth}   logit {logit:.2f}   p({_short(classes[1])}) {probability:.3f}"


def _short(name: str) -> str:
    return shorten(name, _CLASS_LENGTH)
