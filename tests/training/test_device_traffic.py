"""What a training step asks of a GPU, counted without one, on torch's fake tensors."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from cxrlab.data.banks import MappedImages, ResidentImages
from cxrlab.data.batches import BatchLoader
from cxrlab.data.prepare import prepare
from cxrlab.data.sources import load_manifest
from cxrlab.training.build import build_classifier, build_datamodule
from cxrlab.training.callbacks import MovingAverage
from cxrlab.training.optimizers import build_optimizer

GPU = torch.device("cuda")


class Traffic(TorchDispatchMode):
    """Counts copies between host and GPU, and values that the host waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        out = func(*args, **(kwargs or {}))
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "unique"):
            self.seen["waits"] += 1
        if name in ("_to_copy", "copy_"):
            places = {t.device.type for t in (*args, out) if isinstance(t, Tensor)}
            self.seen["transfers"] += len(places) > 1
        return out


@pytest.fixture
def config(tiny_compose, replica: Path):
    return tiny_compose("data=chest_xray", f"data.root={replica}", "augmentation=strong")


@pytest.fixture(autouse=True)
def _generators_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake devices have no random numbers of their own."""
    host = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device: host("cpu"))


def test_a_step_on_resident_images_neither_waits_nor_transfers(config) -> None:
    data = prepare(load_manifest(config.data), config.data)
    classifier, _ = build_classifier(config, data)
    batches = build_datamodule(config, data, classifier, torch.device("cpu"))
    batches.training_size = 24
    pixels, rows = np.asarray(data.pixels), data.rows
    targets = np.arange(len(rows)) % 2
    with FakeTensorMode(allow_non_fake_inputs=True):
        bank = ResidentImages(pixels, rows, GPU)
        loader = BatchLoader(bank, np.arange(len(rows)), targets, 8, seed=0)
        _move(classifier, GPU)
        optimizer = build_optimizer(
            classifier.backbone, classifier.head, config.optimizer.model_dump(mode="json")
        )
        average = MovingAverage(0.99)
        averaged, current = ([torch.empty(3, device=GPU)] for _ in range(2))
        passes = iter(loader)
        with Traffic() as start:
            batch = next(passes)  # the order of the epoch goes to the device
        assert start.seen["transfers"] <= 2

        with Traffic() as step:
            batch = batches.on_after_batch_transfer(next(passes), 0)
            assert batch["image"].device.type == "cuda"
            classifier.loss(classifier.logits(batch), batch["target"])
            # The backward pass is torch's own and can't be run on a fake GPU.
            for parameter in classifier.parameters():
                parameter.grad = torch.empty_like(parameter)
            optimizer.step()
            average._average(averaged, current, torch.tensor(5))
        assert step.seen == Counter()


def test_the_average_lies_with_the_weights_and_its_count_with_the_host(config) -> None:
    data = prepare(load_manifest(config.data), config.data)
    classifier, _ = build_classifier(config, data)
    average = MovingAverage(0.99)
    average.setup(None, classifier.to("meta"), "fit")
    made = average._average_model
    assert {p.device.type for p in made.module.parameters()} == {"meta"}
    assert made.n_averaged.device.type == "cpu"


@pytest.mark.parametrize(("step", "weight"), [(1, 0.75), (27, 0.1), (1000, 0.01)])
def test_the_average_forgets_the_first_steps_and_then_by_its_decay(
    step: int, weight: float
) -> None:
    average = MovingAverage(0.99)
    average._latest_update_step = step
    averaged, current = [torch.zeros(2)], [torch.ones(2)]
    average._average(averaged, current, torch.tensor(0))
    torch.testing.assert_close(averaged[0], torch.full((2,), weight))


def _move(module: torch.nn.Module, device: torch.device) -> None:
    """`Module.to` can't replace real tensors by fake ones."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(
                    torch.empty_like(parameter, device=device)
                )
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty_like(buffer, device=device)


def test_the_count_sees_waits_and_transfers() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True), Traffic() as traffic:
        there = torch.ones(3).to(GPU)
        there.cpu()
        with pytest.raises(Exception, match="_local_scalar_dense"):
            float(there.sum())
    assert traffic.seen["transfers"] == 2


def test_images_too_many_for_the_gpu_are_gathered_ahead(config) -> None:
    data = prepare(load_manifest(config.data), config.data)
    bank = MappedImages(data.pixels, data.rows, pin=False)
    bank.prefetch = True
    plain = BatchLoader(
        MappedImages(data.pixels, data.rows, pin=False), np.arange(20), np.zeros(20, int), 8, seed=3
    )
    ahead = BatchLoader(bank, np.arange(20), np.zeros(20, int), 8, seed=3)
    for one, other in zip(plain, ahead, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert one["seed"] == other["seed"]
