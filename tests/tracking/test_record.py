from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from cxrlab.data.audit.run import audit
from cxrlab.data.prepare import PreparedData, prepare
from cxrlab.data.sources import load_manifest
from cxrlab.tracking import record
from cxrlab.tracking.run import NullRun
from cxrlab.training.session import Session

FIRST = (
    "config/config.yaml", "config/overrides.yaml", "config/environment.txt", "config/version.txt",
    "data/manifest.csv", "data/bad_images.yaml", "data/audit.json", "figures/augmentation.png",
)  # fmt: skip
LATER = ("data/audit.html",)


class Waiting(NullRun):
    """A run whose deferred work is done when the test says so."""

    def __init__(self, output: Path) -> None:
        super().__init__(output)
        self.deferred: list[Callable[[], None]] = []

    def defer(self, work: Callable[[], None]) -> None:
        self.deferred.append(work)


class Counted:
    """Pixels that tell how many images were read of them."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self.read = 0

    def __getitem__(self, rows: Any) -> np.ndarray:
        found = self._pixels[rows]
        self.read += len(found)
        return found


@pytest.fixture
def session(tmp_path: Path, compose) -> Session:
    config = compose("data=phantom", "data.images=60", "data.image_size=32")
    return Session(config, tmp_path / "run", overrides=(), command="python -m cxrlab.train")


@pytest.fixture
def data(session: Session) -> PreparedData:
    return prepare(load_manifest(session.config.data), session.config.data)


class WithoutTorch(TorchDispatchMode):
    """Refuses every operation of torch."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} would start a second team of threads")


def test_what_was_decided_is_on_disk_before_training_and_pages_come_later_without_torch(
    session: Session, data: PreparedData
) -> None:
    run, found = Waiting(session.output), audit(data)
    record.write_config(session)
    record.write_inputs(run, session, SimpleNamespace(data=data), found)
    written = {str(f.relative_to(run.output)) for f in run.output.rglob("*") if f.is_file()}
    assert written == set(FIRST)
    with WithoutTorch():
        for work in run.deferred:
            work()
    assert all((run.output / name).stat().st_size > 0 for name in LATER)


def test_the_sheet_of_samples_reads_no_more_than_it_shows(
    session: Session, data: PreparedData
) -> None:
    pixels = Counted(data.pixels)
    counted = replace(data, pixels=pixels)
    record.write_inputs(
        Waiting(session.output), session, SimpleNamespace(data=counted), audit(data)
    )
    assert 0 < pixels.read <= 8


def test_ctrl_c_before_the_run_exists_stays_ctrl_c(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(record, "start_run", interrupted)
    with pytest.raises(KeyboardInterrupt), record.open_run(session, None, {}):
        pass
