"""Questions with two answers to a prediction table, and how well parts of it are answered.

Of a whole table `evaluate_table` and `add_intervals` say the same (a test holds the two
together); here are only the metrics that subgroups are compared by, so that many groups cost
little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxrlab.evaluation.binary import binary_outcomes
from cxrlab.evaluation.intervals import with_intervals
from cxrlab.evaluation.metrics import Metrics, evaluate_table
from cxrlab.evaluation.predictions import scores
from cxrlab.evaluation.resampling import count_patients
from cxrlab.evaluation.weighted import Measure, auroc_of, ratio
from cxrlab.task import Task

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

TWO_ANSWERS = ("auroc", "recall", "specificity")
MORE_CLASSES = ("auroc", "balanced_accuracy")


@dataclass(frozen=True)
class Question:
    """Two classes, or one finding, on the images whose truth is known; N of them.

    Attributes:
        name: of the finding; empty for two classes.
        answers: what 0 and 1 stand for.
        target: (N,) 0 or 1.
        score: (N,) raw probability of 1.
        patients: (N,) of each image.
        rows: (N,) places in the table that it was made of.
        threshold: 1 is decided where score >= threshold; None: nothing is decided.
    """

    name: str
    answers: tuple[str, str]
    target: npt.NDArray[Any]
    score: FloatArray
    patients: npt.NDArray[np.str_]
    rows: npt.NDArray[np.intp]
    threshold: float | None

    def only(self, chosen: BoolArray) -> Question:
        """The same question of the chosen (N,) images."""
        return replace(
            self,
            target=self.target[chosen],
            score=self.score[chosen],
            patients=self.patients[chosen],
            rows=self.rows[chosen],
        )

    def at(self, threshold: float) -> Question:
        """The same question with another threshold."""
        return replace(self, threshold=threshold)

    def rates(self) -> Measure:
        """Sensitivity (`recall`) and `specificity` by weights; there is a threshold."""
        if self.threshold is None:
            raise ValueError("without a threshold nothing is decided")
        event, called = self.target == 1, self.score >= self.threshold
        cells = np.stack([event, event & called, ~event, ~event & ~called], axis=1).astype(float)

        def measure(weights: FloatArray) -> dict[str, FloatArray]:
            positives, hits, negatives, rejected = (weights @ cells).T
            return {"recall": ratio(hits, positives), "specificity": ratio(rejected, negatives)}

        return measure

    def trials(self) -> dict[str, int]:
        """How many patients sensitivity and specificity are of."""
        parts = {"recall": self.target == 1, "specificity": self.target == 0}
        return {name: count_patients(self.patients[part]) for name, part in parts.items()}


def questions_of(table: pd.DataFrame, task: Task, thresholds: Sequence[float]) -> list[Question]:
    """The question of two classes, or one a finding.

    Args:
        table: columns of `prediction_table`.
        task: of two classes or of findings.
        thresholds: as for `evaluate_table`.
    """
    if task.kind == "multiclass":
        raise ValueError("more than two classes are no question with two answers")
    shape = (len(table), task.outputs)
    target = task.targets(table).reshape(shape)
    raw = scores(table, task, "probability").reshape(shape)
    patients = table["patient_id"].astype(str).to_numpy(dtype=str)
    found = []
    for index in range(task.outputs):
        name = task.classes[index] if task.kind == "multilabel" else ""
        rows = np.flatnonzero(~np.isnan(target[:, index].astype(np.float64)))
        found.append(
            Question(
                name=name,
                answers=(f"free of {name}", name) if name else (task.classes[0], task.classes[1]),
                target=target[rows, index],
                score=raw[rows, index],
                patients=patients[rows],
                rows=rows,
                threshold=thresholds[index] if thresholds else None,
            )
        )
    return found


def answer(question: Question, names: Sequence[str], *, draws: int, seed: int) -> Metrics:
    """Some of `auroc`, `recall` and `specificity`, with intervals as `add_intervals` gives them.

    Args:
        question: of N images.
        names: of the metrics.
        draws: samples of patients; 0: no intervals.
        seed: of the samples.
    """
    if question.name and not question.target.size:
        return Metrics({}, dict.fromkeys(names, f"no image is labelled for {question.name}"))
    outcomes = binary_outcomes(
        question.target, question.score, question.score, question.answers, question.threshold
    )
    metrics = Metrics(
        values={name: v for name in names if not isinstance(v := outcomes[name], str)},
        absent={name: v for name in names if isinstance(v := outcomes[name], str)},
    )

    area = auroc_of(question.target == 1, question.score)
    rates = None if question.threshold is None else question.rates()

    def measure(weights: FloatArray) -> dict[str, FloatArray]:
        values = {"auroc": area(weights)} if "auroc" in metrics.values else {}
        return values if rates is None else values | rates(weights)

    return with_intervals(metrics, measure, question.patients, question.trials(), draws, seed)


def answer_classes(table: pd.DataFrame, task: Task, *, draws: int, seed: int) -> Metrics:
    """Macro `auroc` and `balanced_accuracy` of more than two classes, with intervals."""
    found = evaluate_table(table, task, thresholds=())
    metrics = Metrics(
        values={name: found.values[name] for name in MORE_CLASSES if name in found.values},
        absent={name: found.absent[name] for name in MORE_CLASSES if name in found.absent},
    )
    target, raw = task.targets(table), scores(table, task, "probability")
    patients = table["patient_id"].astype(str).to_numpy(dtype=str)
    members = [target == index for index in range(len(task.classes))]
    areas = [auroc_of(member, raw[:, index]) for index, member in enumerate(members)]
    cells = np.stack(members, axis=1).astype(np.float64)
    right = cells * (raw.argmax(axis=1) == target)[:, None]

    def measure(weights: FloatArray) -> dict[str, FloatArray]:
        recall = ratio(weights @ right, weights @ cells)
        return {
            "auroc": np.mean([area(weights) for area in areas], axis=0),
            "balanced_accuracy": recall.mean(axis=1),
        }

    return with_intervals(metrics, measure, patients, {}, draws, seed)
