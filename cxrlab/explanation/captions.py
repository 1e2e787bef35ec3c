"""The line of facts below a case's name: the truth, what the model says, and where it draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cxrlab.explanation.figures import shorten
from cxrlab.task import Task

_CLASS_LENGTH = 24


def prediction_facts(row: pd.Series[Any], task: Task, thresholds: Sequence[float]) -> str:
    """Truth, probability of the explained class, decision and threshold of a case.

    Args:
        row: a row of `gallery_cases`.
        task: what was predicted.
        thresholds: from which probability the decision is positive: one for two classes, one a
            finding; none for more than two classes.
    """
    explained = int(row["explained"])
    rule = ""
    if thresholds:
        rule = f" (threshold {thresholds[explained if task.kind == 'multilabel' else 0]:.3g})"
    return (
        f"true {_answer(row['target'], task)}   "
        f"p({_short(task.classes[explained])}) {float(row['probability']):.3f} → "
        f"{_answer(row['decision'], task)}{rule}"
    )


def panel_facts(target: float, explained: int, logit: float, task: Task) -> str:
    """Truth and the explained logit of an image in training.

    The probability is left out for more than two classes, where one logit does not determine it.

    Args:
        target: class index; of a finding 1, 0 or NaN.
        explained: class index or finding whose logit it is; two classes have one logit.
        logit: the explained one.
        task: what is predicted.
    """
    truth = _answer(target, task)
    name = _short(task.classes[explained])
    if task.kind == "multiclass":
        return f"true {truth}   logit of {name} {logit:.2f}"
    probability = 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))
    return f"true {truth}   logit {logit:.2f}   p({name}) {probability:.3f}"


def _answer(value: float, task: Task) -> str:
    if task.kind != "multilabel":
        return _short(task.classes[int(value)])
    if math.isnan(value):
        return "unknown"
    return "present" if value else "absent"


def _short(name: str) -> str:
    return shorten(name, _CLASS_LENGTH)
