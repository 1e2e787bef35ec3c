"""Runs on a real MLflow server that fails in all the ways that servers do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.server import MlflowServer, bad_line, mlflow_server
from helpers.stored import Stored, stored

from cxrlab.config.schema import TrackingConfig
from cxrlab.errors import UserError
from cxrlab.layout import UNSENT_FILE
from cxrlab.tracking.metrics import read_points
from cxrlab.tracking.run import Run, start_run
from cxrlab.tracking.spool import Spool
from cxrlab.tracking.store import Store
from cxrlab.tracking.sync import send_unsent, unsent_folders

STEPS = 40
Log = Callable[..., Run]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")


@pytest.fixture
def config(server: MlflowServer) -> TrackingConfig:
    return TrackingConfig(
        enabled=True, uri=None, experiment="test", name=None, patient_ids="hashed",
        log_model=True, grace=60,
    )  # fmt: skip


def log_all(run: Run, between: Callable[[int], None] = lambda step: None) -> None:
    """Give a run something of every kind, metrics at 40 steps, most of them sent one by one."""
    folder = run.output
    (folder / "figures" / "deep").mkdir(parents=True)
    (folder / "figures" / "deep" / "roc.png").write_bytes(b"png" * 1000)
    (folder / "report.html").write_text("<p>")
    table = pd.DataFrame({"path": ["a", "b"], "target": [0, 1]})
    run.log_dataset(table, name="phantom", split="val", digest="d" * 64, source="/data")
    for step in range(STEPS):
        run.log_metrics({"train/loss": 1 / (step + 1), "recall (%)": float(step)}, step)
        run.flush()
        between(step)
    run.log_image(np.zeros((8, 8), np.uint8), key="panel", step=4)
    run.set_tags({"late": "yes"})
    run.upload("figures")
    run.upload("report.html")


def tracked(
    uri: str,
    output: Path,
    between: Callable[[int], None] = lambda step: None,
    grace: float = 60,
    **more: Any,
) -> Run:
    with start_run(
        Store(uri, artifact_root=None, local=False),
        experiment="test", name="a run", output=output, grace=grace,
        tags={"cxrlab.version": "1"}, params={f"key.{i}": i for i in range(150)}, **more,
    ) as run:  # fmt: skip
        log_all(run, between)
    return run


def wait_for_points(server: MlflowServer) -> None:
    """Return once the newest run has a metric."""
    client = Store(server.url, artifact_root=None, local=False).client()
    experiment = client.get_experiment_by_name("test")
    assert experiment
    end = time.monotonic() + 30
    while time.monotonic() < end:
        (newest,) = client.search_runs([experiment.experiment_id], max_results=1)
        if newest.data.metrics:
            return
        time.sleep(0.05)
    raise AssertionError("no metric arrived")


def of(server: MlflowServer, run: Run) -> Stored:
    return stored(Store(server.url, artifact_root=None, local=False).client(), run.run_id)


@pytest.fixture(scope="module")
def undisturbed(server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    found = of(server, tracked(server.url, tmp_path_factory.mktemp("undisturbed") / "run"))
    steps = range(STEPS)
    assert found.metrics == {(n, s): 1 for n in ("train/loss", "recall ___") for s in steps}
    assert found.status == "FINISHED"
    assert len(found.params) == 150
    assert len(found.artifacts) == 4
    assert found.datasets == [("phantom_val", "validation")]
    return found


def test_a_server_that_answers_nothing_for_a_while_costs_nothing(
    server: MlflowServer, undisturbed: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slowest = 0.0

    def between(step: int) -> None:
        nonlocal slowest
        begun = time.monotonic()
        run_step(step)
        slowest = max(slowest, time.monotonic() - begun)

    def run_step(step: int) -> None:
        if step == 10:
            server.freeze()
        time.sleep(0.1)

    def thawed(step: int) -> None:
        between(step)
        if step == STEPS - 1:  # some 3 s later, longer than a request waits
            server.thaw()

    try:
        run = tracked(server.url, tmp_path / "run", thawed)
    finally:
        server.thaw()
    assert slowest < 1.5
    assert "does not take what is sent" in caplog.text
    assert of(server, run) == undisturbed
    assert not (run.output / UNSENT_FILE).exists()


@pytest.mark.parametrize("seed", range(2))
def test_answers_of_500_and_lost_answers_double_nothing(
    seed: int, server: MlflowServer, undisturbed: Stored, tmp_path: Path
) -> None:
    with bad_line(server.url, share=0.3, seed=seed) as (url, line):
        run = tracked(url, tmp_path / "run", lambda _: time.sleep(0.05))
    assert line.lost >= 3
    assert of(server, run) == undisturbed
    client = Store(server.url, artifact_root=None, local=False).client()
    same = client.search_runs([client.get_run(run.run_id).info.experiment_id])
    tags = client.get_run(run.run_id).data.tags
    assert sum(r.info.start_time == client.get_run(run.run_id).info.start_time for r in same) == 1
    assert tags["late"] == "yes"


def test_a_server_that_never_returns_leaves_a_whole_folder_to_be_sent_later(
    server: MlflowServer,
    undisturbed: Stored,
    config: TrackingConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def between(step: int) -> None:
        if step == 10:
            wait_for_points(server)
            server.kill()

    begun = time.monotonic()
    run = tracked(server.url, tmp_path / "runs" / "run", between, grace=1)
    assert time.monotonic() - begun < 40
    warning = next(r.message for r in caplog.records if "cxrlab.sync" in r.message)
    assert f"python -m cxrlab.sync run={run.output}" in warning
    assert "Connection refused" in warning
    assert len(read_points(run.output / "metrics.csv")) == 2 * STEPS
    spool = Spool.read(run.output)
    assert spool
    assert spool.run_id == run.run_id
    with pytest.raises(UserError, match="does not answer"):
        send_unsent(run.output, config)
    server.start()
    missed = of(server, run)
    assert missed.status == "RUNNING"
    assert 0 < len(missed.metrics) < 2 * STEPS
    assert unsent_folders("all", tmp_path) == [run.output]
    assert unsent_folders(run.run_id[:8], tmp_path) == [run.output]
    said = send_unsent(run.output, config)
    assert f"{2 * STEPS - len(missed.metrics)} points of metrics" in said
    assert "4 files" in said
    assert of(server, run) == undisturbed
    assert unsent_folders("all", tmp_path) == []
    # The same again, as after a process that was killed before it could forget.
    spool.write(run.output)
    assert "sent 0 points of metrics" in send_unsent(run.output, config)
    assert of(server, run) == undisturbed


def test_a_run_that_goes_on_sends_what_it_could_not_before(
    server: MlflowServer, undisturbed: Stored, tmp_path: Path
) -> None:
    def interrupted(step: int) -> None:
        if step == 10:
            server.freeze()
        if step == 20:
            raise KeyboardInterrupt

    output = tmp_path / "run"
    try:
        with pytest.raises(KeyboardInterrupt):
            tracked(server.url, output, interrupted, grace=0.1)
    finally:
        server.thaw()
    spool = Spool.read(output)
    assert spool
    (output / "figures" / "deep" / "roc.png").unlink()
    (output / "figures" / "deep").rmdir()
    (output / "figures").rmdir()
    run = tracked(server.url, output, run_id=spool.run_id)
    assert run.run_id == spool.run_id
    found = of(server, run)
    assert found.metrics == undisturbed.metrics
    assert (found.status, found.artifacts) == ("FINISHED", undisturbed.artifacts)
    assert not (output / UNSENT_FILE).exists()


def test_what_the_server_will_never_take_is_named(
    server: MlflowServer, config: TrackingConfig, tmp_path: Path
) -> None:
    Spool("0" * 32, server.url, ()).write(tmp_path)
    with pytest.raises(UserError, match=r"0{32}.*stays in .*unsent\.json"):
        send_unsent(tmp_path, config)
    assert json.loads((tmp_path / UNSENT_FILE).read_text())["run_id"] == "0" * 32
