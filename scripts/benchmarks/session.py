"""cxrlab's own objects for a contestant: configuration, data, classifier, hooks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from cxrlab.allocator import keep_freed_memory
from cxrlab.config.paths import conf_dir
from cxrlab.config.schema import Config
from cxrlab.config.validate import validate
from cxrlab.data.manifest import Manifest
from cxrlab.data.prepare import PreparedData, prepare
from cxrlab.data.sources import load_manifest
from cxrlab.explanation.attribution import to_model_input
from cxrlab.explanation.selection import panel_indices
from cxrlab.model.classifier import Classifier
from cxrlab.task import Task
from cxrlab.training.build import build_classifier
from cxrlab.training.hardware import choose_hardware
from cxrlab.training.optimizers import build_optimizer
from cxrlab.training.session import Session

IMAGES_EXPLAINED = 16


def open_session(*overrides: str) -> Session:
    """A run in a temporary folder, with a store of its own, configured as a command would be."""
    output = Path(tempfile.mkdtemp(prefix="cxrlab-benchmark-"))
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = compose("train", [f"tracking.uri=sqlite:///{output}/mlflow.db", *overrides])
    return Session(validate(raw, Config), output, tuple(overrides), "python -m cxrlab.train")


def new_classifier(config: Config) -> Classifier:
    """A classifier as `train` builds it."""
    data = prepare(load_manifest(config.data), config.data)
    return build_classifier(config, data)[0]


def bare_step(config: Config, images: Tensor) -> Callable[[], None]:
    """Forward, backward and update on one batch: what no framework can undercut.

    Args:
        config: gives network, precision and memory format.
        images: (B, 1, H, W) float32 in [0, 1].
    """
    keep_freed_memory()
    hardware = choose_hardware(config.trainer)
    classifier = new_classifier(config)
    if config.trainer.channels_last:
        classifier.to(memory_format=torch.channels_last)
    network = classifier.network().train()
    optimizer = build_optimizer(
        classifier.backbone, classifier.head, config.optimizer.model_dump(mode="json")
    )
    targets = torch.arange(len(images)) % 2
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=hardware.precision == "bf16-mixed")

    def step() -> None:
        optimizer.zero_grad()
        with autocast:
            loss = classifier.loss(network(images), targets)
        loss.backward()
        optimizer.step()

    return step


def attribution_images(config: Config) -> Tensor:
    """Validation images, as many of each class as there are; (16, 1, H, W) in [0, 1]."""
    data = prepare(load_manifest(config.data), config.data)
    inside = np.flatnonzero(data.manifest.table["split"].to_numpy() == "val")
    rows = data.manifest.table.iloc[inside]
    chosen = panel_indices(rows, data.manifest.with_table(rows).strata(), IMAGES_EXPLAINED)
    return to_model_input(data.pixels[data.rows[inside[chosen]]])


def noise_data(count: int, folder: Path) -> PreparedData:
    """Noise in a memory map of 224 x 224, made if need be; a tenth is validation, some test."""
    file = folder / f"noise_{count}.u8"
    shape = (count, 224, 224)
    if not file.exists():
        block = np.random.default_rng(0).integers(0, 256, (1000, 224, 224), np.uint8)
        with file.open("wb") as stream:
            for start in range(0, count, len(block)):
                stream.write(block[: count - start].tobytes())
    names = [f"{row:06}.png" for row in range(count)]
    split = np.where(np.arange(count) < count - 200, "train", "val")
    split[-100:] = "test"
    label = np.where(np.arange(count) % 2, "sick", "healthy")
    table = pd.DataFrame({"path": names, "patient_id": names, "label": label, "split": split})
    table["target"] = np.arange(count) % 2
    facts = pd.DataFrame({"digest": names}).assign(
        bytes=1, format="PNG", height=224, width=224, bits=8, channels=1
    )
    return PreparedData(
        manifest=Manifest("noise", folder, Task("binary", ("healthy", "sick")), table),
        pixels=np.memmap(file, np.uint8, "r", shape=shape),
        thumbs=np.broadcast_to(np.uint8(0), (count, 64, 64)),
        rows=np.arange(count),
        facts=facts,
        duplicates=pd.DataFrame({"a": [], "b": [], "kind": []}),
        fingerprint="noise",
        bad={},
    )
