"""Sweeps in this process, over trials that take no time: a stand-in logs what a test wants."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from cxrlab.config.app import command
from cxrlab.config.schema import Config
from cxrlab.sweeps.records import Sweep, TrialRecord, read_sweep, read_trials
from cxrlab.sweeps.tags import trial_tags
from cxrlab.tracking import record
from cxrlab.tracking.store import Store, open_store
from cxrlab.training.session import open_session

Scores = Callable[[Config], dict[str, float]]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database at the newest schema; making one takes seconds, copying it none."""
    folder = tmp_path_factory.mktemp("migrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_store(None, folder)
    return folder / "mlflow.db"


@pytest.fixture
def store(migrated: Path, tmp_path: Path) -> Store:
    folder = tmp_path / "mlruns"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    return open_store(None, folder)


@dataclass(frozen=True)
class Swept:
    status: int
    folder: Path
    stdout: str
    stderr: str

    @property
    def sweep(self) -> Sweep:
        sweep = read_sweep(self.folder)
        assert sweep is not None
        return sweep

    @property
    def trials(self) -> list[TrialRecord]:
        return read_trials(self.folder)


def scored(config: Config) -> dict[str, float]:
    """Best at dropout 0.3, and no better with more epochs."""
    return {"val/auroc": 0.9 - abs(config.model.dropout - 0.3), "val/loss": 0.5}


@pytest.fixture
def run_sweep(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> Callable[..., Swept]:
    """A sweep of stand-in trials: exit status, folder and what was printed."""

    def run(*arguments: str, scores: Scores = scored, name: str = "s", tracked: bool = True) -> Any:
        def stand_in(config: Config) -> None:
            session = open_session(config)
            own = record.open_configured_store(config.tracking)
            tags = trial_tags(session.sweep, session.job) if session.sweep else {}
            with record.open_run(session, own, tags) as tracked_run:
                tracked_run.log_metrics(scores(config))

        where = f"tracking.uri={store.uri}" if tracked else "tracking=none"
        own = [a for a in arguments if a != "-m"]
        flag = ["-m"] if "-m" in arguments else []
        line = ["cxrlab.train", *flag, where, f"sweep.name={name}", *own]
        monkeypatch.setattr(sys, "argv", line)
        monkeypatch.setattr(sys, "path", list(sys.path))
        GlobalHydra.instance().clear()
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            command("train", schema="Config")(stand_in)()
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        printed = capfd.readouterr()
        folder = tmp_path / "outputs" / "sweeps" / name
        return Swept(int(stop.value.code or 0), folder, printed.out, printed.err)

    return run
