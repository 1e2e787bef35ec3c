"""One contestant, in a process of its own: `contestants.py NAME ARGUMENTS`; see `turns.py`."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTESTANTS: dict[str, Callable[..., None]] = {}


def contestant(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function one that can be started by its name."""
    CONTESTANTS[function.__name__] = function
    return function


def mark(units: float) -> None:
    """Say that a piece of work is done."""
    print(f"mark {time.monotonic()} {units}", flush=True)


@contestant
def plain_training(folder: str, workers: str) -> None:
    """Train as people do, a mark a step."""
    import pytorch_lightning as pl

    from benchmarks.plain import PlainClassifier, loaders

    class Marks(pl.Callback):
        def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
            mark(32)

    train, _ = loaders(Path(folder), None, int(workers))
    pl.Trainer(
        accelerator="cpu", max_epochs=10_000, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, callbacks=[Marks()],
    ).fit(PlainClassifier(), train)  # fmt: skip


@contestant
def cxrlab_training(*overrides: str) -> None:
    """Train through the command's own path, logging and all, a mark a step."""
    import pytorch_lightning as pl

    from benchmarks.session import open_session
    from cxrlab.data.prepare import prepare
    from cxrlab.data.sources import load_manifest
    from cxrlab.train import train

    class Marks(pl.Callback):
        def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
            mark(32)

    session = open_session(*overrides, "trainer.max_epochs=10000", "trainer.early_stopping=null")
    data = prepare(load_manifest(session.config.data), session.config.data)
    train(session, data, [Marks()])


@contestant
def bare_training(*overrides: str) -> None:
    """The step alone, on a batch that lies in memory, in cxrlab's precision and format."""
    import torch

    from benchmarks.session import bare_step, open_session

    session = open_session(*overrides)
    step = bare_step(session.config, torch.rand(32, 1, 224, 224))
    while True:
        step()
        mark(32)


@contestant
def cxrlab_features(*overrides: str) -> None:
    """Compute the features of all images anew, again and again; a mark a batch."""
    import torch

    from benchmarks.session import open_session
    from cxrlab.allocator import keep_freed_memory
    from cxrlab.data.prepare import prepare
    from cxrlab.data.sources import load_manifest
    from cxrlab.training import features
    from cxrlab.training.build import build_classifier

    keep_freed_memory()
    config = open_session(*overrides).config
    data = prepare(load_manifest(config.data), config.data)
    classifier, _ = build_classifier(config, data)
    batch_size = config.evaluation.batch_size

    def advance(count: int) -> None:
        if count == batch_size:
            mark(count)

    features.progress = _without_bar(advance)  # type: ignore[assignment]
    while True:
        with tempfile.TemporaryDirectory() as folder:
            there = config.model_copy(
                update={"data": config.data.model_copy(update={"cache": folder})}
            )
            features.feature_banks(there, data, classifier, torch.device("cpu"))


def _without_bar(advance: Callable[[int], None]) -> Callable[..., Any]:
    from contextlib import nullcontext

    return lambda total, what: nullcontext(advance)


@contestant
def bare_inference(*overrides: str) -> None:
    """The forward pass alone, of a batch that lies in memory, as features are computed."""
    import torch

    from benchmarks.session import new_classifier, open_session
    from cxrlab.allocator import keep_freed_memory
    from cxrlab.model.inference import inference_backbone

    keep_freed_memory()
    config = open_session(*overrides).config
    network = inference_backbone(new_classifier(config))
    images = torch.rand(config.evaluation.batch_size, 1, 224, 224)
    with torch.inference_mode():
        while True:
            network(images)
            mark(len(images))


@contestant
def head_trials(*overrides: str) -> None:
    """Whole trials of a frozen backbone's head, one learning rate after the other; a mark each."""
    from benchmarks.session import open_session
    from cxrlab.data.prepare import prepare
    from cxrlab.data.sources import load_manifest
    from cxrlab.train import train

    for number in itertools.count():
        session = open_session(
            *overrides, "model.freeze_backbone=true", f"optimizer.lr={1e-3 * (1 + number % 7)}"
        )
        train(session, prepare(load_manifest(session.config.data), session.config.data))
        mark(1)


@contestant
def cxrlab_attribution(checkpoint: str, *overrides: str) -> None:
    """Integrated Gradients as configured, over a batch of images; a mark a batch."""
    from benchmarks.session import attribution_images, open_session
    from cxrlab.allocator import keep_freed_memory
    from cxrlab.explanation.methods.registry import build
    from cxrlab.model.classifier import Classifier
    from cxrlab.model.inference import inference_network

    keep_freed_memory()
    config = open_session(*overrides).config
    images = attribution_images(config)
    method = build("integrated_gradients", config.explanation)
    network = inference_network(Classifier.load_from_checkpoint(checkpoint, map_location="cpu"))
    while True:
        found = method(network, images)
        print("errors", *(f"{error:.6f}" for error in found.completeness_error), flush=True)
        mark(len(images))


@contestant
def captum_attribution(checkpoint: str, best: str, *overrides: str) -> None:
    """Captum's own call, one image at a time with 50 steps; a mark an image."""
    import captum.attr
    import torch

    from benchmarks.plain import restore_relu6
    from benchmarks.session import attribution_images, open_session
    from cxrlab.explanation.methods.integrated_gradients import IntegratedGradients
    from cxrlab.explanation.methods.registry import build
    from cxrlab.model.classifier import Classifier

    is_best = best == "best"
    network = Classifier.load_from_checkpoint(checkpoint, map_location="cpu").network().eval()
    restore_relu6(network)
    if is_best:
        network.to(memory_format=torch.channels_last)
    explainer = captum.attr.IntegratedGradients(network)
    options = {"internal_batch_size": 10} if is_best else {}
    config = open_session(*overrides).config
    images = attribution_images(config)
    ours = build("integrated_gradients", config.explanation)
    assert isinstance(ours, IntegratedGradients)
    for image in itertools.cycle(images.split(1)):
        maps = explainer.attribute(image, n_steps=50, **options)
        with torch.no_grad():
            difference = float(network(image) - network(torch.zeros_like(image)))
        error = abs(float(maps.sum()) - difference) / max(abs(difference), ours.least_difference)
        print("errors", f"{error:.6f}", flush=True)
        mark(1)


@contestant
def cxrlab_prediction(checkpoint: str, folder: str) -> None:
    """Files to a table on disk; a mark a pass over the folder."""
    import torch

    from cxrlab.allocator import keep_freed_memory
    from cxrlab.serving.predictor import Predictor

    keep_freed_memory()
    predictor = Predictor.load(Path(checkpoint), torch.device("cpu"))
    files = sorted(Path(folder).rglob("*.jpeg"))
    while True:
        with tempfile.TemporaryDirectory() as target:
            predictor.predict(files).to_csv(Path(target) / "predictions.csv", index=False)
        mark(len(files))


@contestant
def plain_prediction(folder: str, workers: str) -> None:
    """The same files through a float32 loop as people write it."""
    import pandas as pd
    import torch

    from benchmarks.plain import PlainClassifier, predictions

    model = PlainClassifier()
    files = sorted(Path(folder).rglob("*.jpeg"))
    while True:
        with tempfile.TemporaryDirectory() as target:
            found = torch.cat(list(predictions(model, files, int(workers)))).numpy()
            table = pd.DataFrame({"path": [str(f) for f in files], "probability": found})
            table.to_csv(Path(target) / "predictions.csv", index=False)
        mark(len(files))


@contestant
def cached_training(count: str, folder: str, *overrides: str) -> None:
    """Train on that many cached images of noise; a mark a step."""
    import pytorch_lightning as pl

    from benchmarks.session import noise_data, open_session
    from cxrlab.train import train

    class Marks(pl.Callback):
        def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
            mark(32)

    session = open_session(
        *overrides, "explanation=none", "tracking=none", "audit=warn", "trainer.max_epochs=1000"
    )
    train(session, noise_data(int(count), Path(folder)), [Marks()])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    CONTESTANTS[sys.argv[1]](*sys.argv[2:])
