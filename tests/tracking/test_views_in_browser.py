"""What a user sees who opens the MLflow UI for the first time, in a real browser."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from helpers import mlflow_ui
from helpers.browser import browse, chromium_or_skip, free_port, serve

from cxrlab.sweeps.tags import PARENT_TAG
from cxrlab.tracking.run import start_run
from cxrlab.tracking.store import Store, experiment_id

RUNS = ("strong", "light", "focal", "plain")
TRIALS = ("lr=1e-3 #0", "lr=1e-4 #1")


def _log(store: Store, folder: Path, name: str, tags: Mapping[str, str], **metrics: float) -> str:
    with start_run(
        store, experiment="cxrlab", name=name, output=folder / name, tags=tags,
        params={"data.name": "phantom"}, grace=1,
    ) as run:  # fmt: skip
        for step in range(3):
            run.log_metrics(
                {"val/auroc": 0.6 + step / 10, "val/loss": 0.5, "train/loss": 0.5}, step
            )
        run.log_metrics({name.replace("__", "/"): value for name, value in metrics.items()}, 3)
    return run.run_id


@pytest.mark.slow
@pytest.mark.browser
def test_runs_their_comparison_and_a_sweep_are_there_without_set_up(
    store: Store, tmp_path: Path
) -> None:
    chromium_or_skip()
    for number, name in enumerate(RUNS):
        _log(store, tmp_path, name, {}, test__auroc=0.7 + number / 100, test__auroc_low=0.6)
    sweep = _log(store, tmp_path, "sweep lr", {"cxrlab.kind": "sweep"})
    for name in TRIALS:
        _log(store, tmp_path, name, {"cxrlab.kind": "trial", PARENT_TAG: sweep})
    experiment = experiment_id(store, "cxrlab")
    port = free_port()
    command = [sys.executable, "-m", "cxrlab.ui", f"port={port}", f"tracking.uri={store.uri}"]
    with (
        serve(command, os.environ, f"http://127.0.0.1:{port}", tmp_path / "server.log") as url,
        browse(mlflow_ui.STORAGE) as page,
    ):
        mlflow_ui.check_view(page, url, experiment, [*RUNS, "sweep lr"])
        search = "metrics.`test/auroc` >= 0"
        mlflow_ui.check_comparison(page, url, experiment, search, RUNS, "val/auroc")
        mlflow_ui.check_children(page, url, experiment, "sweep lr", TRIALS)
