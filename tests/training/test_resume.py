from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from cxrlab.layout import BEST, LAST
from cxrlab.tracking.store import open_store
from cxrlab.training.callbacks import Speed

OPTIONS = ("explanation=none", "trainer.max_epochs=3", "trainer.ema_decay=0.9")


@pytest.fixture
def interrupt_after(monkeypatch: pytest.MonkeyPatch):
    """Press Ctrl-C in the middle of a step."""
    count = Speed.on_train_batch_end

    def arrange(batches: int) -> None:
        def press(self, trainer, *arguments) -> None:
            count(self, trainer, *arguments)
            if trainer.global_step == batches:
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(Speed, "on_train_batch_end", press)

    return arrange


@pytest.mark.parametrize("batches", [3, 8], ids=["in the first epoch", "in the second epoch"])
def test_a_resumed_run_equals_an_unbroken_one(
    batches: int, run_training, interrupt_after, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_training(*OPTIONS, name="whole").output
    interrupt_after(batches)
    with pytest.raises(KeyboardInterrupt):
        run_training(*OPTIONS, name="broken")
    monkeypatch.undo()
    broken = run_training(*OPTIONS, "resume=latest", name="broken").output
    for file in (LAST, BEST):
        one, other = (
            torch.load(o / file, map_location="cpu", weights_only=False)["state_dict"]
            for o in (whole, broken)
        )
        for name, value in one.items():
            assert torch.equal(value, other[name]), (file, name)


def test_ctrl_c_saves_says_how_to_go_on_and_resume_finishes_the_same_run(
    tmp_path: Path, replica: Path, cache_folder: Path
) -> None:
    store = open_store(None, tmp_path / "mlruns")
    command = [sys.executable, "-m", "cxrlab.train", f"tracking.uri={store.uri}"]
    options = [
        "data=chest_xray", f"data.root={replica}", "data.image_size=32", "data.batch_size=8",
        "model.weights=none", "explanation=none", "trainer.max_epochs=15",
        "trainer.early_stopping=null", "tracking.log_model=false", "optimizer.lr=1e-4",
    ]  # fmt: skip
    environment = {**os.environ, "CXRLAB_CACHE": str(cache_folder), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, *options], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    run = store.client().search_runs(["1"])[0]
    assert f"python -m cxrlab.train resume={run.info.run_id}" in stderr
    assert run.info.status == "KILLED"
    assert "Traceback" not in stderr

    done = subprocess.run(
        [*command, f"resume={run.info.run_id[:8]}"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"run: {run.info.run_id}"
    runs = store.client().search_runs(["1"])
    assert [r.info.status for r in runs] == ["FINISHED"]
    steps = [m.step for m in store.client().get_metric_history(run.info.run_id, "val/auroc")]
    assert len(steps) == len(set(steps)) >= 15
    (output,) = tmp_path.glob("outputs/*/*")  # and none for the command that resumed
    assert "resuming" in (output / "train.log").read_text()

    again = subprocess.run(
        [*command, "resume=latest"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert again.returncode == 2
    assert "no unfinished run" in again.stderr


def test_a_resumed_run_takes_no_new_settings(run_training) -> None:
    output = run_training(*OPTIONS[:1], "trainer.max_epochs=1").output
    done = subprocess.run(
        [sys.executable, "-m", "cxrlab.train", f"resume={output}", "optimizer.lr=1"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "drop optimizer.lr=1" in done.stderr
    assert len(pd.read_csv(output / "metrics.csv")) > 0


def test_a_run_that_had_stopped_early_does_not_train_on(
    run_training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("explanation=none", "trainer.max_epochs=30", "trainer.early_stopping=2")

    def fail(*arguments: object) -> None:
        raise RuntimeError("killed in the evaluation")

    monkeypatch.setattr("cxrlab.evaluation.stage.evaluate", fail)
    with pytest.raises(RuntimeError, match="killed"):
        run_training(*options)
    monkeypatch.undo()
    (last,) = tmp_path.rglob("last.ckpt")
    before = torch.load(last, map_location="cpu", weights_only=False)
    assert before["epoch"] + 1 < 30
    run_training(*options, "resume=latest")
    after = torch.load(last, map_location="cpu", weights_only=False)
    assert after["global_step"] == before["global_step"]


@pytest.mark.slow
def test_sigterm_stops_as_ctrl_c_does_and_a_running_run_is_left_alone(
    tmp_path: Path, replica: Path, cache_folder: Path
) -> None:
    store = open_store(None, tmp_path / "mlruns")
    command = [sys.executable, "-m", "cxrlab.train", f"tracking.uri={store.uri}"]
    options = [
        "data=chest_xray", f"data.root={replica}", "data.image_size=32", "data.batch_size=8",
        "model.weights=none", "explanation=none", "trainer.max_epochs=400",
        "trainer.early_stopping=null", "tracking.log_model=false",
    ]  # fmt: skip
    environment = {**os.environ, "CXRLAB_CACHE": str(cache_folder), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, *options], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    second = subprocess.run(
        [*command, "resume=latest"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert second.returncode == 2, second.stderr
    assert "another process is training this run" in second.stderr
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "SIGTERM: stopping after this step" in stderr
    assert "python -m cxrlab.train resume=" in stderr
    assert [r.info.status for r in store.client().search_runs(["1"])] == ["KILLED"]
