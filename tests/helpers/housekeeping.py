"""Tiny runs, sweeps, caches and stores on disk."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from cxrlab.housekeeping.caches import find_caches
from cxrlab.housekeeping.clean import Removal, plan
from cxrlab.housekeeping.items import Item
from cxrlab.housekeeping.runs import find_orphans, find_runs
from cxrlab.housekeeping.tracked import Tracking, read_store
from cxrlab.layout import BEST, CONFIG_FILE, ID_FILE, LAST
from cxrlab.tracking.store import Store, experiment_id, open_store

OLD = time.time() - 100 * 86400


def age(path: Path, when: float = OLD) -> None:
    """Let a folder and all in it be of some time ago."""
    for file in (*path.rglob("*"), path):
        os.utime(file, (when, when), follow_symlinks=False)


class Place:
    """A working directory with `outputs/`, `cache/` and `mlruns/`."""

    def __init__(self, folder: Path, database: Path, compose: Callable[..., Any]) -> None:
        self.folder, self._compose = folder, compose
        self.outputs, self.cache = folder / "outputs", folder / "cache"
        self.outputs.mkdir()
        self.cache.mkdir()
        (folder / "mlruns").mkdir()
        shutil.copy(database, folder / "mlruns" / "mlflow.db")
        self.store: Store = open_store(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}", folder)

    def run(self, name: str, *, status: str = "FINISHED", tracked: bool = True) -> str:
        """A run in `outputs/NAME` with checkpoints, and a copy of them in its artifacts."""
        folder = self.outputs / name
        run_id = ""
        if tracked:
            client = self.store.client()
            number = experiment_id(self.store, "test")
            run_id = client.create_run(number, run_name=name).info.run_id
        files = {
            CONFIG_FILE: yaml.safe_dump({"data": {"name": "phantom"}}),
            ID_FILE: run_id or str(folder),
            BEST: "b" * 50,
            LAST: "l" * 70,
            "metrics.csv": "m" * 10,
        }
        for file, text in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        if tracked:
            client.log_artifacts(run_id, str(folder / "checkpoints"), "checkpoints")
            if status != "RUNNING":
                client.set_terminated(run_id, status)
            age(self.artifacts(run_id))
        age(folder)
        return run_id

    def artifacts(self, run_id: str) -> Path:
        return self.folder / "mlruns" / "artifacts" / "test" / run_id

    def config(self, *overrides: str) -> Any:
        return self._compose(
            f"outputs={self.outputs}", f"cache={self.cache}", f"tracking.uri={self.store.uri}",
            *overrides, command="disk",
        )  # fmt: skip

    def look(self) -> tuple[list[Item], Tracking]:
        config = self.config()
        tracking = read_store(config.tracking)
        assert tracking is not None
        runs = find_runs(self.outputs, tracking)
        claimed = [run_id for item in runs for run_id in item.run_ids]
        return [*runs, *find_orphans(tracking, claimed), *find_caches(self.cache)], tracking

    def plan(self, *overrides: str) -> tuple[list[Removal], Tracking]:
        items, tracking = self.look()
        return plan(items, self.config(*overrides)), tracking

    def tree(self) -> set[Path]:
        """All that lies here, but for the database and locks."""
        return {
            path
            for path in self.folder.rglob("*")
            if "mlflow.db" not in path.name and path.suffix != ".lock"
        }
