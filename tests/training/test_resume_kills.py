"""One run, killed again and again: what is left is what an unbroken run leaves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch

from cxrlab.layout import BEST, LAST
from cxrlab.tracking.store import Store, open_store

pytestmark = pytest.mark.slow

KILLS = 20
# Imports once, and forks a process for every command line it reads: its number, and its end.
SERVER = """
import os, signal, sys
import mlflow, torch, timm, pytorch_lightning, pandas, sklearn.linear_model
import cxrlab.explanation.stage, cxrlab.evaluation.stage, cxrlab.tracking.record
from cxrlab.train import main
from cxrlab.training.callbacks import SeededSteps

step = SeededSteps.on_train_batch_end
def counted(self, *arguments):
    step(self, *arguments)
    with open("steps", "a") as file:
        file.write(".")
SeededSteps.on_train_batch_end = counted
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        sys.argv = ["train", *line.split()]
        os.dup2(2, 1)
        main()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
OPTIONS = (
    "data=chest_xray", "data.image_size=32", "data.batch_size=8", "model.weights=none",
    "model.backbone=test_efficientnet", "explanation=none", "tracking.log_model=false",
    "trainer.log_every_n_steps=1", "trainer.ema_decay=0.9", "trainer.early_stopping=100",
    "evaluation.bootstrap=0", "trainer.max_epochs=40", "scheduler=plateau",
)  # fmt: skip


class Server:
    """Runs commands in a folder, one at a time."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.log = folder / "stderr"
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("w"),
            env={**os.environ, "CXRLAB_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def start(self, *options: str) -> int:
        """Its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(options) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> int:
        """How it ended; a signal is negative."""
        return self._answer()

    def steps(self) -> int:
        """Steps of all commands so far."""
        file = self.folder / "steps"
        return file.stat().st_size if file.exists() else 0

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _answer(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log.read_text()
        return int(line)


def output_of(folder: Path) -> Path:
    (file,) = folder.glob("outputs/*/*/metrics.csv")
    return file.parent


def weights(output: Path, name: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(
        output / name, map_location="cpu", weights_only=False
    )["state_dict"]
    return found


def stored(store: Store) -> list[tuple[str, int]]:
    """Name and step of every point of the only run."""
    client = store.client()
    (run,) = client.search_runs(["1"])
    return [
        (m.key, m.step)
        for key in run.data.metrics
        for m in client.get_metric_history(run.info.run_id, key)
    ]


@pytest.fixture
def server(tmp_path: Path, cache_folder: Path):
    (tmp_path / "broken").mkdir()
    made = Server(tmp_path / "broken", cache_folder)
    yield made
    made.close()


@pytest.fixture
def unbroken(tmp_path: Path, replica: Path, cache_folder: Path) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path / "unbroken"
    folder.mkdir()
    server = Server(folder, cache_folder)
    server.start(*OPTIONS, f"data.root={replica}", "tracking=none")
    assert server.end() == 0, server.log.read_text()
    server.close()
    return output_of(folder)


def test_twenty_kills_leave_what_an_unbroken_run_leaves(
    server: Server, unbroken: Path, replica: Path
) -> None:
    rng = random.Random(7)
    store = open_store(None, server.folder / "mlruns")
    where = f"tracking.uri={store.uri}"
    kills, attempts = 0, 0
    while kills < KILLS:
        attempts += 1
        assert attempts < 3 * KILLS
        begun = bool(store.client().search_runs(["1"]))
        what = ["resume=latest"] if begun else [*OPTIONS, f"data.root={replica}"]
        before = server.steps()
        process = server.start(*what, where)
        # Now and then before the first step, else within three epochs.
        wanted = before + (0 if rng.random() < 0.2 else rng.randint(1, 18))
        deadline = time.monotonic() + 60
        while server.steps() < wanted and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 1.5 if wanted == before else 0.1))
        os.kill(process, signal.SIGKILL)
        status = server.end()
        assert status == -signal.SIGKILL, (status, server.log.read_text())
        kills += 1
    server.start("resume=latest", where)
    assert server.end() == 0, server.log.read_text()

    (run,) = store.client().search_runs(["1"])
    assert run.info.status == "FINISHED"
    output = output_of(server.folder)
    for name in (LAST, BEST):
        one, other = weights(unbroken, name), weights(output, name)
        assert all(torch.equal(value, other[key]) for key, value in one.items()), name
    whole, pieced = (pd.read_csv(o / "metrics.csv") for o in (unbroken, output))
    points = list(zip(pieced["name"], pieced["step"], strict=True))
    assert not [p for p, count in Counter(points).items() if count > 1]
    assert set(points) == set(zip(whole["name"], whole["step"], strict=True))
    timed = "train/images_per_second"
    both = whole.merge(pieced, on=["name", "step"])
    both = both[both["name"] != timed]
    assert both["value_x"].equals(both["value_y"])
    kept = stored(store)
    assert not [p for p, count in Counter(kept).items() if count > 1]
    assert {(name.replace("/", " "), step) for name, step in kept} == {
        (name.replace("/", " "), step) for name, step in points
    }
