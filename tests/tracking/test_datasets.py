from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from cxrlab.errors import UserError
from cxrlab.tracking.run import start_run
from cxrlab.tracking.store import Store

COLLISION = "(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id"


def log(store: Store, output: Path) -> str:
    with start_run(
        store, experiment="e", name="n", output=output, tags={}, params={}, grace=1
    ) as run:
        table = pd.DataFrame({"path": ["a.png"]})
        run.log_dataset(table, name="chest", split="val", digest="d" * 40, source="/data")
    return run.run_id


def failing(monkeypatch: pytest.MonkeyPatch, message: str) -> list[str]:
    """The first call fails, as where another run adds the dataset at the same moment."""
    calls: list[str] = []
    original = MlflowClient.log_inputs

    def log_inputs(self: MlflowClient, run_id: str, *arguments: Any) -> None:
        calls.append(run_id)
        if len(calls) == 1:
            raise MlflowException(message)
        original(self, run_id, *arguments)

    monkeypatch.setattr(MlflowClient, "log_inputs", log_inputs)
    return calls


def test_two_runs_that_log_one_dataset_at_once_both_have_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, COLLISION)
    inputs = store.client().get_run(log(store, tmp_path)).inputs.dataset_inputs
    assert [i.dataset.name for i in inputs] == ["chest_val"]


def test_any_other_failure_is_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = failing(monkeypatch, "disk I/O error")
    with pytest.raises(UserError, match="disk I/O error"):
        log(store, tmp_path)
    assert len(calls) == 1
