"""What figures are drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxrlab.evaluation.metrics import Metrics, evaluate_table
from cxrlab.evaluation.predictions import FloatArray, scores


@dataclass(frozen=True)
class View:
    """Arrays of one prediction table, and its metrics.

    Attributes:
        target: (N,) class indices.
        probability: (N,) of class 1 for two classes, else (N, K); `calibrated` likewise.
        classes: names.
        threshold: of two classes, if one was chosen.
        split: name for titles.
        metrics: of the same table, so that figures and tables show the same numbers.
    """

    target: npt.NDArray[np.int64]
    probability: FloatArray
    calibrated: FloatArray
    classes: Sequence[str]
    threshold: float | None
    split: str
    metrics: Metrics

    @classmethod
    def of(
        cls, table: pd.DataFrame, classes: Sequence[str], threshold: float | None, split: str
    ) -> View:
        """The view of one split's prediction table."""
        return cls(
            target=table["target"].to_numpy(dtype=np.int64),
            probability=scores(table, classes, "probability"),
            calibrated=scores(table, classes, "calibrated"),
            classes=classes,
            threshold=threshold,
            split=split,
            metrics=evaluate_table(table, classes, threshold=threshold),
        )

    @property
    def binary(self) -> bool:
        """Whether class 1 stands for disease and class 0 for its absence."""
        return len(self.classes) == 2

    @property
    def below(self) -> str:
        """The line below a title."""
        return f"{self.split}, {self.target.size:,} images"

    def value(self, name: str) -> float | None:
        """A metric, or None where it is absent."""
        return self.metrics.values.get(name)

    def reason(self, name: str) -> str | None:
        """Why nothing can be drawn that shows a metric of the table or of any of its classes."""
        names = [name, *(f"{name}_{each}" for each in self.classes)]
        return None if any(n in self.metrics.values for n in names) else self.metrics.absent[name]

    def against_rest(self) -> Iterator[tuple[int, str, npt.NDArray[np.bool_], FloatArray]]:
        """Class index, metric suffix, membership and score: class 1, or each of more classes."""
        if self.binary:
            yield 1, "", self.target == 1, self.probability
            return
        for index, name in enumerate(self.classes):
            yield index, f"_{name}", self.target == index, self.probability[:, index]
