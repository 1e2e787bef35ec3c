"""Whole runs of tiny models, in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.places import Place, make_place
from helpers.replica import write_chest_xray

from cxrlab.config.schema import Config
from cxrlab.data.prepare import prepare
from cxrlab.data.sources import load_manifest
from cxrlab.train import train
from cxrlab.training.session import Session


@dataclass(frozen=True)
class Trained:
    output: Path
    run_id: str
    config: Config


@pytest.fixture(scope="session")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chest_xray(tmp_path_factory.mktemp("data") / "chest_xray")


@pytest.fixture
def run_training(tmp_path: Path, tiny_compose, replica: Path) -> Callable[..., Trained]:
    """Train on the replica with tiny settings; returns the run's folder and id."""

    def run(*overrides: str, name: str = "run", run_id: str | None = None) -> Trained:
        chosen = () if any(o.startswith("data=") for o in overrides) else ("data=chest_xray",)
        root = () if "data=phantom" in overrides else (f"data.root={replica}",)
        config = tiny_compose(*chosen, *root, *overrides)
        output = tmp_path / name
        output.mkdir(exist_ok=True)
        session = Session(config, output, tuple(overrides), "python -m cxrlab.train", run_id=run_id)
        found = train(session, prepare(load_manifest(config.data), config.data))
        return Trained(output, found, config)

    return run


@pytest.fixture
def place(tmp_path: Path, replica: Path, cache_folder: Path) -> Place:
    """A folder with a store, to train in by the command line."""
    return make_place(tmp_path, replica, cache_folder)
