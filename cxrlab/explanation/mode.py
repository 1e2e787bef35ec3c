"""What a frozen network needs around it to be explained."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cxrlab.model.backbone import Normalise


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
    return [m for m in network.modules() if isinstance(m, Normalise) and m.standardise]
