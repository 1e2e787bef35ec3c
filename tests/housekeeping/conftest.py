from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.housekeeping import Place

from cxrlab.tracking.store import open_store


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database at the newest schema; making one takes seconds, copying it none."""
    folder = tmp_path_factory.mktemp("database")
    open_store(None, folder)
    return folder / "mlflow.db"


@pytest.fixture
def place(tmp_path: Path, database: Path, compose) -> Place:
    folder = tmp_path / "place"
    folder.mkdir()
    return Place(folder, database, compose)


@pytest.fixture
def make_place(
    tmp_path_factory: pytest.TempPathFactory, database: Path, compose
) -> Callable[[], Place]:
    return lambda: Place(tmp_path_factory.mktemp("place"), database, compose)
