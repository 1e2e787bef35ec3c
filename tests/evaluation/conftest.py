from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from cxrlab.evaluation.predictions import prediction_table

MakeTable = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def make_rows() -> MakeTable:
    def make(target: Sequence[int], classes: Sequence[str], split: str = "test") -> pd.DataFrame:
        return pd.DataFrame(
            {
                "path": [f"{split}/{i}.png" for i in range(len(target))],
                "patient_id": [f"p{i}" for i in range(len(target))],
                "split": split,
                "target": np.asarray(target, dtype=np.int64),
                "label": [classes[t] for t in target],
            }
        )

    return make


@pytest.fixture(scope="session")
def make_table(make_rows: MakeTable) -> MakeTable:
    """A prediction table from probabilities, as a model would have given them."""

    def make(
        target: Sequence[int],
        probability: np.ndarray | Sequence[float],
        classes: Sequence[str] = ("NORMAL", "PNEUMONIA"),
        threshold: float | None = None,
        temperature: float = 1.0,
    ) -> pd.DataFrame:
        values = np.asarray(probability, dtype=np.float64)
        logits = np.log(values) - (np.log1p(-values) if values.ndim == 1 else 0)
        rows = make_rows(target, classes)
        return prediction_table(rows, logits, classes, temperature=temperature, threshold=threshold)

    return make
