"""Sweeps of real trainings of a tiny model, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.replica import write_chest_xray

from cxrlab.cores import cores
from cxrlab.errors import PrunedError
from cxrlab.sweeps.pruning import Pruning
from cxrlab.sweeps.records import read_trials
from cxrlab.tracking.store import Store

TINY = (
    "data=chest_xray", "data.image_size=32", "data.batch_size=8", "model.weights=none",
    "model.backbone=resnet10t", "explanation=none", "trainer.max_epochs=1",
    "trainer.early_stopping=null", "tracking.log_model=false", "evaluation.bootstrap=0",
)  # fmt: skip
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chest_xray(tmp_path_factory.mktemp("data") / "chest_xray")


def start(store: Store, replica: Path, *overrides: str, flag: str = "--multirun") -> list[str]:
    own = [f"tracking.uri={store.uri}", f"data.root={replica}", *TINY, *overrides]
    return [sys.executable, "-m", "cxrlab.train", flag, *own]


def environment() -> dict[str, str]:
    # joblib divides the threads itself, unless the variable is there.
    return {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}


class FakeTrainer:
    """As much of a trainer as a callback at the end of validation reads."""

    sanity_checking = False

    def __init__(self, epoch: int, value: float) -> None:
        self.current_epoch = epoch
        self.callback_metrics = {"val/auroc": np.float64(value)}


def test_a_trial_below_the_median_is_ended_and_a_better_one_is_not() -> None:
    optuna = pytest.importorskip("optuna")
    from optuna.pruners import MedianPruner

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", pruner=MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    )
    for level in (0.5, 0.6, 0.7, 0.8, 0.9):
        trial = study.ask()
        for epoch in range(3):
            trial.report(level, epoch)
        study.tell(trial, level)
    bad, good = (Pruning(study, study.ask().number, "val/auroc") for _ in range(2))
    for epoch in range(2):
        good.on_validation_end(FakeTrainer(epoch, 0.71), None)
    bad.on_validation_end(FakeTrainer(0, 0.1), None)  # too early to tell
    with pytest.raises(PrunedError, match=r"after epoch 2: val/auroc 0.6500 is worse"):
        bad.on_validation_end(FakeTrainer(1, 0.65), None)


@pytest.mark.slow
def test_two_processes_share_the_cores_and_one_store(store: Store, replica: Path) -> None:
    done = subprocess.run(
        start(store, replica, "optimizer.lr=1e-4,1e-3", "sweep.name=two", *JOBLIB),
        capture_output=True, text=True, check=False, timeout=280, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"CPU, {max(1, cores() // 2)} threads" in done.stderr
    folder = Path("outputs/sweeps/two")
    assert [t.status for t in read_trials(folder)] == ["FINISHED"] * 2
    assert all((folder / str(n) / "predictions" / "val.csv").exists() for n in range(2))
    assert not list(folder.glob("*/predictions/test.csv"))
    runs = store.client().search_runs(["1"])
    assert sorted(r.info.run_name for r in runs)[:2] == ["lr=1e-3 #1", "lr=1e-4 #0"]
