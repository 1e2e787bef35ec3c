"""One tiny trained run that every test here exports."""

from __future__ import annotations

import pytest
from helpers.trained import TrainedRun, train_tiny


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, tiny_compose) -> TrainedRun:
    small = ("model.backbone=test_resnet", "trainer.max_epochs=8", "optimizer.lr=1e-2")
    return train_tiny(tmp_path_factory.mktemp("exporting"), tiny_compose, *small)


@pytest.fixture(scope="session")
def tiny_export(compose):
    """Configurations of `python -m cxrlab.export` without MLflow."""
    return lambda *overrides: compose("tracking=none", *overrides, command="export")
