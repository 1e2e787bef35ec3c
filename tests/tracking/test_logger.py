from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cxrlab.tracking.run import NullRun


def test_lightnings_metrics_reach_the_run_from_the_first_process_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_utilities.core.rank_zero import rank_zero_only

    from cxrlab.tracking.logger import RunLogger

    logger = RunLogger(NullRun(tmp_path))
    logger.log_hyperparams({"a": 1})
    logger.log_metrics({"train/loss": 0.5, "epoch": 0}, step=3)
    logger.log_metrics({"epoch": 1}, step=4)
    monkeypatch.setattr(rank_zero_only, "rank", 1, raising=False)
    logger.log_metrics({"train/loss": 9.0}, step=5)
    monkeypatch.setattr(rank_zero_only, "rank", 0, raising=False)
    assert not (tmp_path / "metrics.csv").exists()
    logger.finalize("success")
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert table[["name", "step", "value"]].to_numpy().tolist() == [["train/loss", 3, 0.5]]
    assert logger.version == str(tmp_path)
    assert logger.save_dir == str(tmp_path)
