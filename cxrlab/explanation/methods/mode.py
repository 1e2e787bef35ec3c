"""What a frozen network needs around it to be explained."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cxrlab.model.normalise import Normalise


@dataclass(frozen=True)
class Question:
    """Images, and the logit of each that is to be explained.

    Attributes:
        network: frozen, maps (B, 1, H, W) to logits (B,) or (B, K); without a step that
            standardises images, which are standardised already.
        images: float32 (B, 1, H, W), on the network's device.
        classes: int64 (B,), which of K logits; no matter where there is a single one.
    """

    network: nn.Module
    images: Tensor
    classes: Tensor

    def logits(self, inputs: Tensor, classes: Tensor) -> Tensor:
        """The logits (B,) of some classes (B,), of images or changed images (B, 1, H, W)."""
        return explained_logits(self.network, inputs, classes)

    def parts(self, size: int) -> list[tuple[Tensor, Tensor]]:
        """Images (b, 1, H, W) and their classes (b,), at most `size` at a time."""
        return list(zip(self.images.split(size), self.classes.split(size), strict=True))

    def output(self, batch_size: int) -> Tensor:
        """The explained logits (B,), without gradients."""
        with torch.no_grad():
            return torch.cat([self.logits(*part) for part in self.parts(batch_size)])


def explained_logits(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """The logits (B,) of classes (B,): a column each of (B, K), all there is of (B,)."""
    logits: Tensor = network(images)
    return logits.gather(1, classes[:, None])[:, 0] if logits.dim() == 2 else logits


@contextmanager
def asked(
    network: nn.Module, images: Tensor, targets: Tensor | None, batch_size: int
) -> Iterator[Question]:
    """Images on the network's device, with float32 gradients, whatever the caller has set.

    Args:
        network: frozen, in evaluation mode; not changed.
        images: float32 (B, 1, H, W) in [0, 1].
        targets: int64 (B,); None: the class of the highest logit.
        batch_size: images that go through the network at once.

    Raises:
        ValueError: `images` is not (B, 1, H, W), or the network is in training mode.
    """
    if images.dim() != 4 or images.shape[1] != 1:
        raise ValueError(f"images of shape {tuple(images.shape)}, expected (B, 1, H, W)")
    if any(module.training for module in network.modules()):
        raise ValueError("the network is in training mode, where its outputs are random")
    device = device_of(network)
    with exact_gradients(device):
        # Copies, because tensors made in inference mode can't be used with autograd.
        inputs = images.to(device, torch.float32, copy=True)
        network, inputs = hold_exposure(network, inputs)
        if targets is None:
            classes = _predicted_classes(network, inputs, batch_size)
        else:
            classes = targets.to(device, torch.int64, copy=True)
        yield Question(network, inputs, classes)


def device_of(network: nn.Module) -> torch.device:
    """Device of the network's first parameter, the CPU if it has none."""
    first = next(network.parameters(), None)
    return torch.device("cpu") if first is None else first.device


@contextmanager
def exact_gradients(device: torch.device) -> Iterator[None]:
    """Record gradients, in float32, whatever the caller has set.

    Lightning switches autograd off in `validate` and `test` and rounds under autocast.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        yield


def hold_exposure(network: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
    """Standardise the images before the network instead of in it.

    A network that brings each image to one mean and spread does not see how dark it is: along the
    path from black to the image its output jumps at the very beginning and is constant from there
    on, which no integral over the path resolves. With that step taken out and already done, a path
    runs through standardised images with the image's own exposure held.

    Args:
        network: any; the step is looked for in its `Normalise` modules.
        images: float32 (B, 1, H, W) in [0, 1].

    Returns:
        A copy without the step and the images after it; both as they are where there is none.
    """
    if not _standardising(network):
        return network, images
    held = copy.deepcopy(network)
    for step in _standardising(held):
        # Undo the affine part, which is left for the network to do.
        images = (step(images) * step.std + step.mean)[:, :1]
        step.standardise = False
    return held, images


def _standardising(network: nn.Module) -> list[Normalise]:
    """The steps to take out: all there are, or none where some member would miss the exposure."""
    steps = [module for module in network.modules() if isinstance(module, Normalise)]
    return steps if all(step.standardise for step in steps) else []


def _predicted_classes(network: nn.Module, inputs: Tensor, batch_size: int) -> Tensor:
    """The class of the highest logit, int64 (B,); 0 where there is a single logit."""
    with torch.no_grad():
        if network(inputs[:1]).dim() == 1:
            return torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
        return torch.cat([network(chunk).argmax(dim=1) for chunk in inputs.split(batch_size)])
