from __future__ import annotations

import time
from pathlib import Path

import pytest

from cxrlab.config.schema import TrackingConfig
from cxrlab.errors import UserError
from cxrlab.layout import BEST
from cxrlab.serving.runs import find_checkpoint
from cxrlab.tracking.find import OUTPUT_TAG
from cxrlab.tracking.store import open_store


@pytest.fixture
def tracking(tiny_compose, tmp_path: Path) -> TrackingConfig:
    config = tiny_compose("tracking=local").tracking
    return config.model_copy(update={"uri": f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}"})


@pytest.fixture
def runs(tracking: TrackingConfig, tmp_path: Path) -> list[str]:
    """Two finished runs and, last, a failed one; each with a checkpoint."""
    client = open_store(tracking.uri, tmp_path).client()
    ids = []
    for status in ("FINISHED", "FINISHED", "FAILED"):
        run_id = client.create_run("0").info.run_id
        folder = tmp_path / run_id
        client.set_tag(run_id, OUTPUT_TAG, str(folder))
        client.set_terminated(run_id, status)
        (folder / BEST).parent.mkdir(parents=True)
        (folder / BEST).touch()
        ids.append(run_id)
        time.sleep(0.01)  # MLflow tells starts apart by milliseconds
    return ids


def test_a_run_is_found_by_id_prefix_latest_and_folder(runs, tracking, tmp_path: Path) -> None:
    for name, meant in (
        (runs[0], runs[0]),
        (runs[0][:12], runs[0]),
        ("latest", runs[1]),
        (str(tmp_path / runs[2]), runs[2]),
    ):
        assert find_checkpoint(name, tracking) == tmp_path / meant / BEST


def test_a_name_that_means_no_run_is_one_line(runs, tracking) -> None:
    with pytest.raises(UserError, match=r"^run=nosuch: neither a folder nor a run in .*$"):
        find_checkpoint("nosuch", tracking)


def test_a_prefix_of_several_runs_is_one_line(tracking, tmp_path: Path) -> None:
    client = open_store(tracking.uri, tmp_path).client()
    firsts: set[str] = set()
    while True:  # ids are hexadecimal, so the 17th run at the latest begins as another
        run_id = client.create_run("0").info.run_id
        client.set_tag(run_id, OUTPUT_TAG, str(tmp_path))
        if run_id[0] in firsts:
            break
        firsts.add(run_id[0])
    with pytest.raises(UserError, match="2 runs begin so"):
        find_checkpoint(run_id[0], tracking)


def test_a_run_without_a_checkpoint_is_one_line(runs, tracking, tmp_path: Path) -> None:
    (tmp_path / runs[1] / BEST).unlink()
    with pytest.raises(UserError, match=r"run=latest: .* holds no checkpoints/best\.ckpt"):
        find_checkpoint("latest", tracking)
