from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from pytorch_lightning.callbacks import ModelCheckpoint

from cxrlab.tracking.logger import RunLogger
from cxrlab.tracking.run import NullRun


def _written(folder: Path) -> list[list[object]]:
    file = folder / "metrics.csv"
    if not file.exists():
        return []
    return pd.read_csv(file)[["name", "step", "value"]].to_numpy().tolist()


def test_lightnings_metrics_reach_the_run_from_the_first_process_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_utilities.core.rank_zero import rank_zero_only

    logger = RunLogger(NullRun(tmp_path))
    logger.log_hyperparams({"a": 1})
    logger.log_metrics({"train/loss": 0.5, "epoch": 0}, step=3)
    logger.log_metrics({"epoch": 1}, step=4)
    monkeypatch.setattr(rank_zero_only, "rank", 1, raising=False)
    logger.log_metrics({"train/loss": 9.0}, step=5)
    monkeypatch.setattr(rank_zero_only, "rank", 0, raising=False)
    logger.finalize("success")
    assert _written(tmp_path) == [["train/loss", 3, 0.5]]
    assert logger.version == str(tmp_path)
    assert logger.save_dir == str(tmp_path)


def test_batches_go_out_with_checkpoints_and_not_at_every_step(tmp_path: Path) -> None:
    logger = RunLogger(NullRun(tmp_path))
    logger.log_metrics({"train/loss": 0.5}, step=3)
    logger.save()  # what Lightning calls after every step that it logs
    assert _written(tmp_path) == []
    logger.after_save_checkpoint(ModelCheckpoint())
    assert _written(tmp_path) == [["train/loss", 3, 0.5]]


def test_a_failed_fit_leaves_the_end_to_the_runs_owner(tmp_path: Path) -> None:
    logger = RunLogger(NullRun(tmp_path))
    logger.log_metrics({"train/loss": 0.5}, step=3)
    logger.finalize("failed")
    assert _written(tmp_path) == []
