"""What is predicted: class names, and whether they exclude one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TaskKind = Literal["binary", "multiclass", "multilabel"]


@dataclass(frozen=True)
class Task:
    """The question that a model answers.

    Attributes:
        kind: `binary`: two classes, the second is positive, one logit; `multiclass`: more than
            two, of which an image has one; `multilabel`: findings of which an image may have any
            number, each present, absent or unknown.
        classes: names, at the index of their target.
    """

    kind: TaskKind
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        fits = {
            "binary": len(self.classes) == 2,
            "multiclass": len(self.classes) > 2,
            "multilabel": len(self.classes) > 1,
        }
        if not fits[self.kind]:
            raise ValueError(f"{len(self.classes)} classes make no {self.kind} task")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"a class is named twice in {self.classes}")

    @classmethod
    def exclusive(cls, classes: Sequence[str]) -> Task:
        """The task of classes of which an image has exactly one."""
        return cls("binary" if len(classes) == 2 else "multiclass", tuple(classes))

    @classmethod
    def multilabel(cls, classes: Sequence[str]) -> Task:
        """The task of findings that do not exclude one another."""
        return cls("multilabel", tuple(classes))

    @property
    def outputs(self) -> int:
        """Number of logits an image, K; 1 for two classes."""
        return 1 if self.kind == "binary" else len(self.classes)

    @property
    def target_columns(self) -> list[str]:
        """Columns that hold the truth: `target` (class index), or `target_<class>` a finding."""
        if self.kind == "multilabel":
            return [f"target_{name}" for name in self.classes]
        return ["target"]

    def targets(self, table: pd.DataFrame) -> NDArray[np.int64] | NDArray[np.float32]:
        """The truth of each row.

        Returns:
            (N,) int64 class index; for findings (N, K) float32: 1 present, 0 absent, NaN unknown.
        """
        columns = table[self.target_columns]
        if self.kind == "multilabel":
            return columns.to_numpy(np.float32)
        return columns["target"].to_numpy(np.int64)

    def memberships(self, table: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Each class with (N,) float32: 1 where a row belongs to it, 0 where not, NaN unknown."""
        targets = self.targets(table)
        for index, name in enumerate(self.classes):
            if self.kind == "multilabel":
                yield name, targets[:, index].astype(np.float32)
            else:
                yield name, (targets == index).astype(np.float32)
