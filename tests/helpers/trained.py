"""A tiny trained run to predict with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.replica import write_chest_xray

from cxrlab.data.prepare import prepare
from cxrlab.data.sources import load_manifest
from cxrlab.layout import BEST
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


def train_tiny(folder: Path, compose: Callable[..., Any], *extra: str) -> TrainedRun:
    """Train on a replica below `folder`, with `OPTIONS` and others."""
    images = write_chest_xray(folder / "chest_xray")
    config = compose(
        "data=chest_xray", f"data.root={images}", f"data.cache={folder / 'cache'}", *OPTIONS, *extra
    )
    output = folder / "run"
    output.mkdir()
    train(
        Session(config, output, (*OPTIONS, *extra), "python -m cxrlab.train"),
        prepare(load_manifest(config.data), config.data),
    )
    return TrainedRun(output, images)
