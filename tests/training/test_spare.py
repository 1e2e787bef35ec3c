"""The folder that Hydra makes for `resume=RUN`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrlab.training.spare import leave


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The run's folder, with what its first start logged."""
    folder = tmp_path / "outputs" / "day" / "first"
    folder.mkdir(parents=True)
    (folder / "train.log").write_text("begun\n")
    return folder


@pytest.fixture
def folder(output: Path) -> Path:
    """As Hydra leaves it before the command begins, on another day."""
    made = output.parents[1] / "next day" / "second"
    (made / ".hydra").mkdir(parents=True)
    for name in ("config", "hydra", "overrides"):
        (made / ".hydra" / f"{name}.yaml").write_text("a: 1\n")
    return made


@pytest.fixture
def log(folder: Path) -> Iterator[logging.Logger]:
    """The root logger, with a file in Hydra's folder."""
    handler = logging.FileHandler(folder / "train.log", delay=True)
    logger = logging.getLogger()
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)
    handler.close()


@pytest.mark.parametrize("early", [[], ["early"]], ids=["nothing logged yet", "logged"])
def test_the_log_goes_on_in_the_runs_folder_and_the_empty_one_goes(
    early: list[str], folder: Path, output: Path, log: logging.Logger
) -> None:
    for message in early:
        log.error(message)
    leave(folder, output)
    log.error("goes on")
    assert not folder.exists()
    assert not folder.parent.exists()
    assert (output / "train.log").read_text().splitlines() == ["begun", *early, "goes on"]


@pytest.mark.parametrize("name", ["notes.txt", ".hydra/profile.yaml"])
def test_a_folder_that_holds_anything_else_stays_whole(
    name: str, folder: Path, output: Path
) -> None:
    (folder / name).write_text("mine")
    before = sorted(folder.rglob("*"))
    leave(folder, output)
    assert sorted(folder.rglob("*")) == before


def test_the_days_folder_stays_where_other_runs_lie_in_it(folder: Path, output: Path) -> None:
    other = folder.parent / "other"
    other.mkdir()
    leave(folder, output)
    assert not folder.exists()
    assert other.exists()


def test_a_run_whose_folder_is_hydras_own_keeps_it(folder: Path) -> None:
    leave(folder, folder)
    assert (folder / ".hydra" / "config.yaml").is_file()
