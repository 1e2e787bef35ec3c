"""Manifest rows and prediction tables made of numbers, as fixtures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from cxrlab.data.manifest import join_findings
from cxrlab.evaluation.calibration import Calibration
from cxrlab.evaluation.predictions import prediction_table
from cxrlab.task import Task

MakeTable = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def make_rows() -> MakeTable:
    """Manifest rows of class indices, or of findings (N, K): 1, 0 or NaN."""

    def make(target: npt.ArrayLike, task: Task, split: str = "test") -> pd.DataFrame:
        if task.kind == "multilabel":
            truth = np.asarray(target, dtype=np.float32)
            labels = join_findings(task, truth)
        else:
            truth = np.asarray(target, dtype=np.int64)[:, None]
            labels = [task.classes[index] for index in truth[:, 0]]
        return pd.DataFrame(
            {
                "path": [f"{split}/{i}.png" for i in range(len(truth))],
                "patient_id": [f"p{i}" for i in range(len(truth))],
                "split": split,
                **dict(zip(task.target_columns, truth.T, strict=True)),
                "label": labels,
            }
        )

    return make


@pytest.fixture(scope="session")
def make_table(make_rows: MakeTable) -> MakeTable:
    """A prediction table from probabilities, as a model would have given them."""

    def make(
        target: npt.ArrayLike,
        probability: npt.ArrayLike,
        task: Task | None = None,
        thresholds: Sequence[float] = (),
        temperature: float = 1.0,
    ) -> pd.DataFrame:
        task = task or Task.exclusive(("NORMAL", "PNEUMONIA"))
        values = np.asarray(probability, dtype=np.float64)
        logits = np.log(values) - (0 if task.kind == "multiclass" else np.log1p(-values))
        rows = make_rows(target, task)
        return prediction_table(
            rows, logits, task, calibration=Calibration(temperature), thresholds=thresholds
        )

    return make
