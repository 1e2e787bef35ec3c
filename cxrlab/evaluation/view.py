"""What figures are drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxrlab.evaluation.metrics import Metrics, evaluate_table
from cxrlab.evaluation.predictions import FloatArray, scores
from cxrlab.task import Task


@dataclass(frozen=True)
class View:
    """Arrays of one prediction table, and its metrics.

    Attributes:
        task: what is predicted.
        target: (N,) class indices, or of findings (N, K): 1 present, 0 absent, NaN unknown.
        probability: (N,) of class 1 for two classes, else (N, K); `calibrated` likewise.
        thresholds: one for two classes, one a finding; empty where none was chosen.
        split: name for titles.
        metrics: of the same table, so that figures and tables show the same numbers.
    """

    task: Task
    target: npt.NDArray[Any]
    probability: FloatArray
    calibrated: FloatArray
    thresholds: Sequence[float]
    split: str
    metrics: Metrics

    @classmethod
    def of(cls, table: pd.DataFrame, task: Task, thresholds: Sequence[float], split: str) -> View:
        """The view of one split's prediction table."""
        return cls(
            task=task,
            target=task.targets(table),
            probability=scores(table, task, "probability"),
            calibrated=scores(table, task, "calibrated"),
            thresholds=thresholds,
            split=split,
            metrics=evaluate_table(table, task, thresholds=thresholds),
        )

    @property
    def binary(self) -> bool:
        """Whether class 1 stands for disease and class 0 for its absence."""
        return self.task.kind == "binary"

    @property
    def multilabel(self) -> bool:
        """Whether classes are findings that do not exclude one another."""
        return self.task.kind == "multilabel"

    @property
    def below(self) -> str:
        """The line below a title."""
        return f"{self.split}, {len(self.target):,} images"

    def value(self, name: str) -> float | None:
        """A metric, or None where it is absent."""
        return self.metrics.values.get(name)

    def reason(self, name: str) -> str | None:
        """Why nothing can be drawn that shows a metric of the table or of any of its classes."""
        names = [name, *(f"{name}_{each}" for each in self.task.classes)]
        return None if any(n in self.metrics.values for n in names) else self.metrics.absent[name]

    def curves(self) -> Iterator[tuple[int, str, npt.NDArray[np.bool_], FloatArray]]:
        """Class index, metric suffix, membership and score of each curve of a figure.

        Of two classes class 1, of more each against the rest, of findings each on the images
        whose truth is known.
        """
        if self.binary:
            yield 1, "", self.target == 1, self.probability
            return
        for index, name in enumerate(self.task.classes):
            score = self.probability[:, index]
            if self.multilabel:
                known = ~np.isnan(self.target[:, index])
                yield index, f"_{name}", self.target[known, index] == 1, score[known]
            else:
                yield index, f"_{name}", self.target == index, score
