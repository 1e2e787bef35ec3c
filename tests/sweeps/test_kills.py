"""Searches by two processes that are killed or stopped, and go on by the same command."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from helpers.processes import wait_for, working_in
from helpers.replica import write_chest_xray
from mlflow.entities import Run

from cxrlab.sweeps.records import Sweep, TrialRecord, chosen, read_sweep, read_trials
from cxrlab.sweeps.study import STUDY_FILE, open_study
from cxrlab.tracking.store import Store

pytestmark = pytest.mark.slow

TRIALS, KILLS = 24, 5
PATIENCE = 300  # seconds
NAME = "killed"
OPTIONS = (
    "sweep=optuna", f"sweep.trials={TRIALS}", f"sweep.name={NAME}", "hydra/launcher=joblib",
    "hydra.launcher.n_jobs=2", "data=chest_xray", "data.image_size=32", "data.batch_size=8",
    "model.weights=none", "model.backbone=resnet10t", "model.freeze_backbone=true",
    "explanation=none", "trainer.max_epochs=3", "tracking.log_model=false",
    "evaluation.bootstrap=0",
)  # fmt: skip


class Swept:
    """A sweep in a folder, as often as it is started."""

    def __init__(self, folder: Path, store: Store, *options: str) -> None:
        self.folder, self.store = folder, store
        self.output = folder / "outputs" / "sweeps" / NAME
        self._command = [
            sys.executable, "-m", "cxrlab.train", f"tracking.uri={store.uri}", *OPTIONS, *options
        ]  # fmt: skip

    def start(self) -> subprocess.Popen[str]:
        """Start it, or go on with it, in a process group of its own."""
        return subprocess.Popen(
            self._command, cwd=self.folder, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=(self.folder / "stderr").open("w"),
            # joblib divides the threads itself, unless the variable is there.
            env={k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"},
        )  # fmt: skip

    def log(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def sweep(self) -> Sweep:
        sweep = read_sweep(self.output)
        assert sweep is not None
        return sweep

    @property
    def trials(self) -> list[TrialRecord]:
        return read_trials(self.output)

    def finished(self) -> int:
        return sum(trial.status in ("FINISHED", "PRUNED") for trial in self.trials)

    def running(self) -> list[TrialRecord]:
        return [trial for trial in self.trials if trial.status == "RUNNING"]

    def runs(self, kind: str) -> list[Run]:
        found = self.store.client().search_runs(["1"], f"tags.`cxrlab.kind` = '{kind}'")
        return list(found)


@pytest.fixture
def swept(tmp_path: Path, store: Store) -> Swept:
    replica = write_chest_xray(tmp_path / "chest_xray")
    return Swept(tmp_path, store, f"data.root={replica}")


def kill_at_random(swept: Swept, rng: random.Random) -> None:
    """Start it, and kill all its processes: now and then in its start, else some trials later."""
    process = swept.start()
    wanted = swept.finished() + rng.randint(0, 4)
    if rng.random() < 0.2:
        time.sleep(rng.uniform(0, 12))
    else:
        wait_for(lambda: bool(swept.running()) and swept.finished() >= wanted, process, PATIENCE)
        time.sleep(rng.uniform(0, 6))
    assert process.poll() is None, swept.log()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(working_in(swept.folder), timeout=30)
    assert not working_in(swept.folder)


@pytest.mark.timeout(1800)
def test_a_search_killed_five_times_is_whole_and_study_folder_and_mlflow_agree(
    swept: Swept,
) -> None:
    rng = random.Random(11)
    for _ in range(KILLS):
        kill_at_random(swept, rng)
    process = swept.start()
    process.communicate(timeout=900)
    assert process.returncode == 0, swept.log()

    done = [trial for trial in swept.trials if trial.status in ("FINISHED", "PRUNED")]
    assert len(done) == TRIALS
    assert {trial.status for trial in swept.trials} <= {"FINISHED", "PRUNED", "KILLED"}
    check_study(swept, done)
    check_runs(swept)
    rows = list(csv.DictReader((swept.output / "sweep.csv").open()))
    assert [row["trial"] for row in rows] == [str(trial.number) for trial in done]


def check_study(swept: Swept, done: Sequence[TrialRecord]) -> None:
    """The study counts the trials that the folder does, with the same values, each drawn once."""
    study = open_study(swept.sweep, swept.output).get_trials(deepcopy=False)
    ended = {"COMPLETE": "FINISHED", "PRUNED": "PRUNED"}
    heard = {trial.number: ended[trial.state.name] for trial in study if trial.state.name in ended}
    assert heard == {trial.number: trial.status for trial in done}
    assert {trial.state.name for trial in study} <= {"COMPLETE", "PRUNED", "FAIL"}
    for trial in done:
        told = study[trial.number]
        drawn = {key: str(value) for key, value in told.params.items()}
        assert chosen(trial.overrides, swept.sweep.varies) == drawn
        if trial.status == "FINISHED":
            assert told.value == trial.values()["val/auroc"]
    assert len({tuple(sorted(study[trial.number].params.items())) for trial in done}) == TRIALS
    # No two draw the same number either, as they would if each start drew by the same seed.
    assert len({study[trial.number].params["optimizer.lr"] for trial in done}) == TRIALS


def check_runs(swept: Swept) -> None:
    """Of each trial that began MLflow has one run, ended as the trial did, below one parent."""
    (parent,) = [run for run in swept.runs("sweep") if run.info.status == "FINISHED"]
    assert parent.info.run_id == swept.sweep.parent
    assert not list(swept.store.client().search_runs(["1"], "status = 'RUNNING'"))
    runs = {run.info.run_id: run for run in swept.runs("trial")}
    ids = [trial.run_id for trial in swept.trials if trial.run_id is not None]
    assert sorted(ids) == sorted(runs)
    for trial in swept.trials:
        if trial.run_id is None:
            assert trial.status == "KILLED", "cut off before it had a run"
            continue
        run = runs[trial.run_id]
        assert run.data.tags["mlflow.parentRunId"] == swept.sweep.parent
        assert run.data.tags["cxrlab.trial"] == str(trial.number)
        assert run.info.status == {"PRUNED": "KILLED"}.get(trial.status, trial.status)
        if trial.status == "FINISHED":
            assert run.data.metrics["val/auroc"] == trial.values()["val/auroc"]
            for key, text in chosen(trial.overrides, swept.sweep.varies).items():
                kept = run.data.params[key]
                assert kept == text or float(kept) == float(text)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("number", "to_all"),
    [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False)],
    ids=["Ctrl-C in a terminal", "SIGINT", "SIGTERM"],
)
def test_a_search_that_is_stopped_ends_its_processes_and_says_how_to_go_on(
    swept: Swept, number: signal.Signals, to_all: bool
) -> None:
    process = swept.start()
    wait_for(
        lambda: any(trial.run_id for trial in swept.running()) and len(swept.running()) == 2,
        process, PATIENCE,
    )  # fmt: skip
    started = psutil.Process(process.pid).children(recursive=True)
    assert len(started) >= 2
    (os.killpg if to_all else os.kill)(process.pid, number)
    process.communicate(timeout=120)
    assert process.returncode == 130, swept.log()
    psutil.wait_procs(started, timeout=30)
    assert not working_in(swept.folder)
    assert {trial.status for trial in swept.trials} == {"KILLED"}
    assert {run.info.status for run in (*swept.runs("trial"), *swept.runs("sweep"))} == {"KILLED"}
    assert "the sweep stops; go on with: python -m cxrlab.train" in swept.log()
    assert "Traceback" not in swept.log()
    assert (swept.output / STUDY_FILE).stat().st_size > 0
