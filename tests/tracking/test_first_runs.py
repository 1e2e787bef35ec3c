"""Processes that start their first run at once on a store that is not there yet."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.replica import write_chest_xray
from helpers.tracking import STEPS, log_one_run

from cxrlab.tracking.store import open_store

MANY, ROUNDS = 8, 20
TINY = (
    "data=chest_xray", "data.image_size=32", "data.batch_size=8", "trainer.max_epochs=1",
    "trainer.progress_bar=false", "model.backbone=resnet10t", "model.weights=none",
    "explanation=none", "evaluation.bootstrap=0", "tracking.log_model=false",
)  # fmt: skip


def race(folder: Path, count: int) -> None:
    """Start processes that make the store and log a run each, and look for all of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow.store.tracking.sqlalchemy_store", "helpers.tracking"])
    together = context.Barrier(count)
    workers = [
        context.Process(target=log_one_run, args=(folder, index, together))
        for index in range(count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(240)
    assert [worker.exitcode for worker in workers] == [0] * count

    client = open_store(None, folder).client()
    experiment = client.get_experiment_by_name("race")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(int(run.data.params["i"]) for run in runs) == list(range(count))
    for run in runs:
        index = int(run.data.params["i"])
        history = client.get_metric_history(run.info.run_id, "train/loss")
        assert run.info.status == "FINISHED"
        assert [(m.step, m.value) for m in history] == [(s, s * index) for s in range(STEPS)]
    assert not list(folder.glob("*.new*"))


def test_processes_that_start_at_once_on_a_fresh_store_lose_nothing(tmp_path: Path) -> None:
    race(tmp_path / "mlruns", 4)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_eight_first_runs_at_once_lose_nothing_twenty_times_over(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        race(tmp_path / str(number) / "mlruns", MANY)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_eight_commands_that_train_at_once_share_a_fresh_store(tmp_path: Path) -> None:
    root = write_chest_xray(tmp_path / "data" / "chest_xray")
    uri = f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}"
    commands = [
        [sys.executable, "-m", "cxrlab.train", *TINY, f"data.root={root}", f"seed={seed}",
         f"tracking.uri={uri}", f"hydra.run.dir={tmp_path / 'outputs' / str(seed)}"]
        for seed in range(MANY)
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    trained = [
        subprocess.Popen(c, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        for c in commands
    ]
    printed = [process.communicate(timeout=1400) for process in trained]
    errors = [error.decode()[-2000:] for _, error in printed]
    assert [process.returncode for process in trained] == [0] * MANY, errors
    client = open_store(uri, tmp_path).client()
    experiment = client.get_experiment_by_name("cxrlab")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sorted(int(run.data.params["seed"]) for run in runs) == list(range(MANY))
    told = {out.decode().strip().splitlines()[-1].removeprefix("run: ") for out, _ in printed}
    assert told == {run.info.run_id for run in runs}
    for run in runs:
        assert {"test/auroc", "val/auroc", "train/images_per_second"} <= run.data.metrics.keys()
    assert not any("locked" in error for error in errors)
