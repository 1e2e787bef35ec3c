"""One tiny trained run that every test here predicts with."""

from __future__ import annotations

import pytest
import torch
from helpers.trained import TrainedRun, train_tiny

from cxrlab.serving.predictor import Predictor


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, tiny_compose) -> TrainedRun:
    return train_tiny(tmp_path_factory.mktemp("serving"), tiny_compose)


@pytest.fixture
def predictor(trained_run: TrainedRun) -> Predictor:
    return Predictor.load(trained_run.checkpoint, torch.device("cpu"))
