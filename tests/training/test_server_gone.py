"""Whole training runs whose tracking server stops, restarts, or is gone for good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.server import MlflowServer, mlflow_server
from helpers.stored import Stored, stored

from cxrlab.layout import METRICS_FILE, UNSENT_FILE
from cxrlab.tracking.metrics import read_points
from cxrlab.tracking.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EPOCHS = 30
OVERRIDES = (
    "data=chest_xray", "data.image_size=32", "data.batch_size=8", f"trainer.max_epochs={EPOCHS}",
    "trainer.progress_bar=false", "trainer.log_every_n_steps=1", "trainer.early_stopping=null",
    "model.weights=none", "model.backbone=test_efficientnet", "explanation.steps=4",
    "explanation.max_steps=8", "explanation.every_n_epochs=10", "explanation.panel_images=2",
    "explanation.gallery_images=1", "evaluation.bootstrap=0", "tracking=server",
    "tracking.patient_ids=plain",  # else their salt would be made in the checkout
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    folder: Path
    run_id: str
    stderr: str
    seconds: float

    def on_disk(self) -> set[str]:
        files = (f.relative_to(self.folder) for f in self.folder.rglob("*") if f.is_file())
        return {str(f) for f in files if f.parts[0] not in ("images", UNSENT_FILE)}


class Training:
    """`python -m cxrlab.train`, and something that happens in the middle of it."""

    def __init__(self, folder: Path, replica: Path, cache: Path, url: str) -> None:
        self._folder, self._replica, self._cache, self._url = folder, replica, cache, url

    def __call__(self, name: str, *overrides: str, happens: Callable[[], None]) -> Done:
        output = self._folder / name
        command = [
            sys.executable, "-m", "cxrlab.train", *OVERRIDES, f"data.root={self._replica}",
            f"tracking.uri={self._url}", f"hydra.run.dir={output}", *overrides,
        ]  # fmt: skip
        env = {**os.environ, "CXRLAB_CACHE": str(self._cache), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command, cwd=self._folder, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        watcher = threading.Thread(target=self._watch, args=(output, process, happens))
        begun = time.monotonic()
        watcher.start()
        try:
            stdout, stderr = process.communicate(timeout=800)
        finally:
            process.send_signal(signal.SIGKILL)
            watcher.join()
        assert process.returncode == 0, stderr
        last = stdout.strip().splitlines()[-1]
        assert last.startswith("run: ")
        return Done(output, last.removeprefix("run: "), stderr, time.monotonic() - begun)

    def _watch(
        self, output: Path, process: subprocess.Popen[str], happens: Callable[[], None]
    ) -> None:
        """Wait for some steps of the training."""
        while process.poll() is None:
            if any(p.step > 5 for p in read_points(output / METRICS_FILE)):
                happens()
                return
            time.sleep(0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def training(
    server: MlflowServer,
    replica: Path,
    cache_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Training:
    return Training(tmp_path_factory.mktemp("runs"), replica, cache_folder, server.url)


@pytest.fixture(scope="module")
def undisturbed(training: Training, server: MlflowServer) -> tuple[Done, Stored]:
    done = training("undisturbed", happens=lambda: None)
    return done, of(server, done)


def of(server: MlflowServer, done: Done) -> Stored:
    found = stored(Store(server.url, artifact_root=None, local=False).client(), done.run_id)
    print(
        f"\n{done.folder.name}: {done.seconds:.0f} s, {found.status}, "
        f"{len(found.metrics)} metric points ({sum(found.metrics.values())} rows), "
        f"{len(read_points(done.folder / METRICS_FILE))} in metrics.csv, "
        f"{len(found.params)} params, {len(found.tags)} tags, {len(found.datasets)} datasets, "
        f"{len(found.artifacts)} artifacts, {len(found.model_files)} entries of the model"
    )
    return found


def check_same(found: Stored, expected: Stored) -> None:
    assert set(found.metrics.values()) == {1}
    for field in Stored.__dataclass_fields__:
        assert getattr(found, field) == getattr(expected, field), field


def test_thirty_seconds_without_an_answer_cost_nothing(
    training: Training, server: MlflowServer, undisturbed: tuple[Done, Stored]
) -> None:
    def happens() -> None:
        server.freeze()
        time.sleep(30)
        server.thaw()

    done = training("frozen", "tracking.grace=60", happens=happens)
    check_same(of(server, done), undisturbed[1])
    assert done.on_disk() == undisturbed[0].on_disk()


def test_a_restart_costs_nothing(
    training: Training, server: MlflowServer, undisturbed: tuple[Done, Stored]
) -> None:
    def happens() -> None:
        server.kill()
        server.start()

    done = training("restarted", "tracking.grace=120", happens=happens)
    assert "does not take what is sent (" in done.stderr
    check_same(of(server, done), undisturbed[1])


def test_a_server_killed_for_good_leaves_all_on_disk_and_one_command_sends_it(
    training: Training, server: MlflowServer, undisturbed: tuple[Done, Stored]
) -> None:
    done = training("killed", "tracking.grace=2", happens=server.kill)
    command = f"python -m cxrlab.sync run={done.folder}"
    assert command in done.stderr
    assert done.on_disk() == undisturbed[0].on_disk()
    missed = read_points(done.folder / METRICS_FILE)
    assert len(missed) == sum(undisturbed[1].metrics.values())

    gone = _sync(done, expected=2)
    assert gone.stderr.count("\n") == 1
    assert "does not answer" in gone.stderr
    server.start()
    before = of(server, done)
    assert before.status == "RUNNING"
    assert _sync(done, expected=0).stdout.startswith(f"run {done.run_id}: sent ")
    check_same(of(server, done), undisturbed[1])
    assert "nothing to send" in _sync(done, expected=0).stdout


def _sync(done: Done, expected: int) -> subprocess.CompletedProcess[str]:
    found = subprocess.run(
        [sys.executable, "-m", "cxrlab.sync", f"run={done.folder}"],
        cwd=done.folder.parent, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert found.returncode == expected, found.stderr
    return found
