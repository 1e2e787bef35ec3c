"""What every test stands on: no network, no folder of the user's, a configuration to change."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from cxrlab.config.commands import (
    AuditConfig,
    CompareConfig,
    DemoConfig,
    DiskConfig,
    EvaluateConfig,
    ExplainConfig,
    ExportConfig,
    PredictConfig,
)
from cxrlab.config.paths import conf_dir
from cxrlab.config.schema import Config
from cxrlab.config.validate import validate

Compose = Callable[..., Config]
# MLflow puts the code that a loaded model carries before it, for the rest of the process.
PATH = tuple(sys.path)
SCHEMAS = {
    "train": Config,
    "audit": AuditConfig,
    "predict": PredictConfig,
    "evaluate": EvaluateConfig,
    "explain": ExplainConfig,
    "compare": CompareConfig,
    "export": ExportConfig,
    "demo": DemoConfig,
    "disk": DiskConfig,
}

# A busy machine must not fail a test that is right.
settings.register_profile("cxrlab", deadline=None)
settings.load_profile("cxrlab")


@pytest.fixture(autouse=True, scope="session")
def _heard_from_the_start() -> None:
    _hear_ctrl_c()


@pytest.fixture(autouse=True)
def _heard_again() -> Iterator[None]:
    yield
    _hear_ctrl_c()


def _hear_ctrl_c() -> None:
    """Let Ctrl-C be heard here and by the commands under test, which inherit it.

    A shell lets what it runs in the background ignore it, and so does Lightning after an
    interruption.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _isolated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_folder: Path
) -> Iterator[None]:
    for name in ("CXRLAB_DATA", "CXRLAB_WEIGHTS", "MLFLOW_TRACKING_URI", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CXRLAB_CACHE", str(cache_folder))
    monkeypatch.setattr(sys, "path", list(PATH))
    monkeypatch.chdir(tmp_path)
    collects = gc.get_threshold()  # which commands change
    yield
    gc.set_threshold(*collects)


def compose_config(*overrides: str, command: str = "train") -> Any:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = hydra_compose(command, list(overrides), return_hydra_config=False)
    return validate(raw, SCHEMAS[command])


@pytest.fixture(scope="session")
def compose() -> Compose:
    return compose_config


@pytest.fixture(scope="session")
def tiny_compose() -> Compose:
    """Configurations small enough to train within seconds; later overrides win."""
    small = (
        "data.image_size=32",
        "data.batch_size=8",
        "trainer.max_epochs=2",
        "trainer.progress_bar=false",
        "trainer.log_every_n_steps=1",
        "model.weights=none",
        "explanation.steps=4",
        "explanation.max_steps=8",
        "explanation.every_n_epochs=1",
        "explanation.panel_images=2",
        "explanation.gallery_images=1",
        "tracking=none",
    )
    return lambda *overrides: compose_config(*small, *overrides)
