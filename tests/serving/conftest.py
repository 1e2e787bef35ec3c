"""One tiny trained run that every test here predicts with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from helpers.replica import write_chest_xray

from cxrlab.data.prepare import prepare
from cxrlab.data.sources import load_manifest
from cxrlab.layout import BEST
from cxrlab.serving.predictor import Predictor
from cxrlab.train import train
from cxrlab.training.session import Session

OPTIONS = ("model.standardise=true", "data.preprocess.percentiles=[1,99]", "explanation=none")


@dataclass(frozen=True)
class TrainedRun:
    output: Path
    images: Path

    @property
    def checkpoint(self) -> Path:
        return self.output / BEST


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, tiny_compose) -> TrainedRun:
    folder = tmp_path_factory.mktemp("serving")
    images = write_chest_xray(folder / "chest_xray")
    config = tiny_compose(
        "data=chest_xray", f"data.root={images}", f"data.cache={folder / 'cache'}", *OPTIONS
    )
    output = folder / "run"
    output.mkdir()
    train(
        Session(config, output, OPTIONS, "python -m cxrlab.train"),
        prepare(load_manifest(config.data), config.data),
    )
    return TrainedRun(output, images)


@pytest.fixture
def predictor(trained_run: TrainedRun) -> Predictor:
    return Predictor.load(trained_run.checkpoint, torch.device("cpu"))
