"""The state a model has to be in while it is explained, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cxrlab.model.backbone import Normalise


def device_of(model: nn.Module) -> torch.device:
    """Device of the model's first parameter, the CPU if it has none."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


@contextmanager
def attribution_mode(model: nn.Module) -> Iterator[None]:
    """Exact input gradients inside, the model untouched afterwards.

    Inside, the model is in evaluation mode with float32 weights in channels_last layout that
    need no gradient, autocast is off, and autograd records even where the caller (Lightning's
    `validate` and `test`) switched it off. Afterwards every module's mode, every weight's
    storage, dtype and layout and every `requires_grad` are what they were.
    """
    modes = [(module, module.training) for module in model.modules()]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device_of(model).type, enabled=False),
    ):
        stored = [
            (tensor, tensor.data)
            for tensor in (*model.parameters(), *model.buffers())
            if tensor.is_floating_point()
        ]
        try:
            model.eval()
            for parameter in trained:
                parameter.requires_grad_(False)
            for tensor, data in stored:
                tensor.data = _float32_channels_last(data)
            yield
        finally:
            for tensor, data in stored:
                tensor.data = data
            for parameter in trained:
                parameter.requires_grad_(True)
            for module, training in modes:
                module.training = training


@contextmanager
def fixed_exposure(model: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """Standardise the images before the model instead of in it, and yield them.

    A model that brings each image to one mean and spread does not see how dark it is: along the
    path from black to the image its output jumps at the very beginning and is constant from there
    on, which no integral over the path resolves. Inside, that step is off and already done,
    so a path runs through standardised images with the image's own exposure held. Models
    without the step get their images as they are.

    Args:
        model: any model; the step is looked for in its `Normalise` modules.
        images: float32 (B, 1, H, W) in [0, 1].
    """
    steps = [m for m in model.modules() if isinstance(m, Normalise) and m.standardise]
    for step in steps:
        # Undo the affine part, which is left for the model to do.
        images = (step(images) * step.std + step.mean)[:, :1]
        step.standardise = False
    try:
        yield images
    finally:
        for step in steps:
            step.standardise = True


def _float32_channels_last(data: Tensor) -> Tensor:
    layout = torch.channels_last if data.dim() == 4 else torch.preserve_format
    return data.to(torch.float32, memory_format=layout)
