"""The last layer of a network that still knows where things are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cxrlab.errors import UserError


def spatial_layer(network: nn.Module, images: Tensor) -> nn.Module:
    """The layer whose output is pooled: after the last activation, before positions are lost.

    Found by running the network, for backbones name and nest their layers each in their own way:
    the last module that returns maps (B, C, h, w) of more than one position, in the image's
    aspect. What follows it may only have one position left; a network that goes on with tokens
    (B, N, C), as vision transformers do, or with channels last, has no such layer.

    Args:
        network: frozen; not changed.
        images: float32 (1, 1, H, W), any.

    Raises:
        UserError: there is no such layer.
    """
    last: nn.Module | None = None

    def look(module: nn.Module, _: object, output: object) -> None:
        nonlocal last
        if not isinstance(output, Tensor):
            return
        if _is_map(output, images):
            last = module
        elif _is_tokens(output):
            last = None

    hooks = [module.register_forward_hook(look) for module in network.modules()]
    try:
        with torch.no_grad():
            network(images[:1])
    finally:
        for hook in hooks:
            hook.remove()
    if last is None:
        raise UserError(
            "gradcam and gradcam++ need a layer of feature maps before the pooling, and this "
            "backbone has none (transformers have tokens); take integrated_gradients or occlusion"
        )
    return last


@contextmanager
def watched(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the layer's output, as a leaf of the graph, of its last call inside the `with`.

    Nothing below the layer is differentiated, and what works in place on the output works on a
    copy.
    """
    seen: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        seen[:] = [output.detach().clone().requires_grad_()]
        return seen[0].clone()

    hook = layer.register_forward_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


def _is_tokens(output: Tensor) -> bool:
    """(B, N, C), or maps with channels last, which are read as no maps."""
    return output.dim() == 3 or (output.dim() == 4 and output.shape[2:].numel() > 1)


def _is_map(output: Tensor, images: Tensor) -> bool:
    if output.dim() != 4:
        return False
    (height, width), (tall, wide) = output.shape[2:], images.shape[2:]
    return height * width > 1 and abs(height * wide / (width * tall) - 1) < 1 / min(height, width)
