"""How a model does in each group of a reporting column, such as sex, age or pathogen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxrlab.errors import UserError
from cxrlab.evaluation.grouping import groups_of, report_columns
from cxrlab.evaluation.metrics import Metrics
from cxrlab.evaluation.predictions import check_thresholds
from cxrlab.evaluation.questions import (
    MORE_CLASSES,
    TWO_ANSWERS,
    Question,
    answer,
    answer_classes,
    questions_of,
)
from cxrlab.evaluation.resampling import count_patients
from cxrlab.task import Task

BoolArray = npt.NDArray[np.bool_]

FEWEST_IMAGES = 30
FEWEST_OF_CLASS = 10
OWN_GROUP = "own group"

_ENDS = ("", "_low", "_high")


def subgroup_table(
    table: pd.DataFrame,
    task: Task,
    columns: Sequence[str],
    *,
    thresholds: Sequence[float],
    draws: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure each group of each reporting column by itself.

    Intervals are those of `add_intervals`: 95 %, from drawing the group's patients anew.

    A group of one class only has no AUROC of its own: its images are then ranked against all
    images of the other class in the split, and `against` says so.

    Args:
        table: of one split, columns of `prediction_table`.
        task: what is predicted.
        columns: reporting columns; `groups_of` says how each is cut.
        thresholds: as for `evaluate_table`.
        draws: samples of patients; 0: no intervals.
        seed: of the samples.

    Returns:
        A row a group, of findings a row a group and finding:

        * `column`, `group`, of findings `class`;
        * `images` (of a finding those whose truth is known), their `patients`, and `positives`
          (empty for more than two classes);
        * `auroc`, `recall` (sensitivity) and `specificity`, each also as `..._low` and
          `..._high`; for more than two classes macro `auroc` and `balanced_accuracy`; NaN where
          absent;
        * `small`: fewer than 30 images, or than 10 of a class that a value rests on;
        * `against`: whom the AUROC ranks the images against, `own group` or `all <class>`;
          empty without AUROC;
        * `absent`: why values and intervals are missing; empty where none is.

    Raises:
        UserError: the table lacks one of the columns.
    """
    check_thresholds(task, thresholds)
    lacking = [name for name in columns if name not in table]
    if lacking:
        there = ", ".join(report_columns(table, task)) or "none"
        raise UserError(
            f"the predictions have no column {lacking[0]!r} to report by: their reporting columns "
            f"are {there}; name one of these"
        )
    questions = () if task.kind == "multiclass" else questions_of(table, task, thresholds)
    measured = _Split(table, task, questions, draws, seed)
    rows = [
        {"column": column, "group": group, **row}
        for column in dict.fromkeys(columns)
        for group, members in groups_of(table[column])
        for row in measured.rows(members)
    ]
    found = pd.DataFrame(rows, columns=_columns(task))
    kinds: dict[str, Any] = {"images": "int64", "patients": "int64", "positives": "Int64"}
    kinds |= {f"{name}{end}": "float64" for name in metrics_of(task) for end in _ENDS}
    return found.astype(kinds | {"small": "bool"})


def metrics_of(task: Task) -> tuple[str, ...]:
    """The metrics that groups are compared by."""
    return MORE_CLASSES if task.kind == "multiclass" else TWO_ANSWERS


def _columns(task: Task) -> list[str]:
    return [
        "column",
        "group",
        *(["class"] if task.kind == "multilabel" else []),
        *("images", "patients", "positives"),
        *(f"{name}{end}" for name in metrics_of(task) for end in _ENDS),
        *("small", "against", "absent"),
    ]


@dataclass(frozen=True)
class _Split:
    table: pd.DataFrame
    task: Task
    questions: Sequence[Question]
    draws: int
    seed: int

    def rows(self, members: BoolArray) -> Iterator[dict[str, Any]]:
        """One, or one a finding, of the images (N,) of a group."""
        if self.task.kind == "multiclass":
            yield self._of_classes(self.table[members])
            return
        for question in self.questions:
            yield self._of_question(question, members[question.rows])

    def _of_classes(self, group: pd.DataFrame) -> dict[str, Any]:
        present, counts = np.unique(self.task.targets(group), return_counts=True)
        if present.size == 1 and 0 <= present[0] < len(self.task.classes):
            # Said of the group at once, not of the first class that it lacks.
            reason = f"every image is {self.task.classes[present[0]]}"
            metrics = Metrics({}, dict.fromkeys(MORE_CLASSES, reason))
        else:
            metrics = answer_classes(group, self.task, draws=self.draws, seed=self.seed)
        return {
            "images": len(group),
            "patients": count_patients(group["patient_id"].astype(str)),
            **metrics.flat(),
            "small": _small(len(group), counts),
            "against": OWN_GROUP if "auroc" in metrics.values else "",
            "absent": _reasons(metrics),
        }

    def _of_question(self, question: Question, members: BoolArray) -> dict[str, Any]:
        group = question.only(members)
        ranked, against = group, OWN_GROUP
        present = np.unique(group.target)
        if present.size == 1 and present[0] in (0, 1):
            other = 1 - int(present[0])
            ranked = question.only(members | (question.target == other))
            against = f"all {question.answers[other]}"
        metrics = self._answer(group, ranked)
        return {
            **({"class": question.name} if question.name else {}),
            "images": group.target.size,
            "patients": count_patients(group.patients),
            "positives": int((group.target == 1).sum()),
            **metrics.flat(),
            "small": _small(group.target.size, np.unique(ranked.target, return_counts=True)[1]),
            "against": against if "auroc" in metrics.values else "",
            "absent": _reasons(metrics),
        }

    def _answer(self, group: Question, ranked: Question) -> Metrics:
        """Of a group, its AUROC in the ranking that also holds images of other groups."""
        if ranked is group:
            return answer(group, TWO_ANSWERS, draws=self.draws, seed=self.seed)
        own = answer(group, TWO_ANSWERS[1:], draws=self.draws, seed=self.seed)
        beside = answer(ranked, TWO_ANSWERS[:1], draws=self.draws, seed=self.seed)
        return Metrics(
            beside.values | own.values,
            beside.absent | own.absent,
            beside.intervals | own.intervals,
            beside.no_interval | own.no_interval,
        )


def _small(images: int, of_class: npt.NDArray[np.int64]) -> bool:
    return images < FEWEST_IMAGES or bool((of_class < FEWEST_OF_CLASS).any())


def _reasons(metrics: Metrics) -> str:
    """Metrics and intervals that are missing, those of one reason together."""
    missing = {"": metrics.absent, "interval of ": metrics.no_interval}
    return "; ".join(
        f"{what}{', '.join(names)}: {reason}"
        for what, reasons in missing.items()
        for reason, names in _by_reason(reasons).items()
    )


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        found.setdefault(reason, []).append(name)
    return found
