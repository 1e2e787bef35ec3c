"""A tracking server that vanishes in the middle of a sweep, and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxrlab.config.schema import Config
from tests.helpers.server import MlflowServer, mlflow_server
from tests.sweeps.conftest import Swept, scored

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path / "server") as running:
        yield running


def test_a_sweep_ends_without_its_server_and_tells_it_the_rest_when_it_goes_on(
    run_sweep: Callable[..., Swept], server: MlflowServer
) -> None:
    from mlflow.tracking import MlflowClient

    line = ("-m", "model.dropout=0.1,0.3,0.5", f"tracking.uri={server.url}", "tracking.grace=1")

    def dying(config: Config) -> dict[str, float]:
        if config.model.dropout == 0.3:
            server.kill()
        return scored(config)

    cut = run_sweep(*line, scores=dying)
    assert cut.status == 1
    assert cut.stderr.splitlines()[-1].startswith("error: 1 of 3 trials failed")
    assert "Traceback" not in cut.stderr
    assert [trial.status for trial in cut.trials] == ["FINISHED", "FINISHED", "FAILED"]
    assert "until the sweep goes on: python -m cxrlab.train" in cut.stderr

    server.start()
    assert run_sweep(*line).status == 0  # what failed was tried again
    client = MlflowClient(server.url)
    experiment = client.get_experiment_by_name("cxrlab")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    assert {run.info.run_name: run.info.status for run in found} == {
        "dropout=0.1 #0": "FINISHED",
        "dropout=0.3 #1": "FINISHED",
        "dropout=0.5 #2": "FAILED",
        "dropout=0.5 #3": "FINISHED",
        "sweep dropout s": "FINISHED",
    }
    sent = next(run for run in found if run.info.run_name == "dropout=0.3 #1")
    assert sent.data.metrics["val/auroc"] == 0.9
