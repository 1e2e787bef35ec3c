"""Several looks at one image, whose logits are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional


@runtime_checkable
class Averaging(Protocol):
    """A network that averages over several looks, its own or of others."""

    def single_look(self) -> nn.Module:
        """The same with one look at the whole image."""
        ...


def single_look(network: nn.Module) -> nn.Module:
    """The network that looks once, at the whole image, which is what is explained."""
    return network.single_look() if isinstance(network, Averaging) else network


class Views(nn.Module):
    """The mean logit over windows of an image, and over its mirror image."""

    def __init__(self, network: nn.Module, windows: Sequence[float], *, mirror: bool) -> None:
        """Look several times.

        Args:
            network: maps (B, 1, H, W) to logits, (B,) or (B, K).
            windows: sides of what is looked at, over the image's: its centre, or with more than 1
                the image in a black frame, as from farther away; resampled to its size.
            mirror: look at each from both sides.
        """
        super().__init__()
        self.network = network
        self.windows, self.mirror = tuple(windows), mirror

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 1, H, W) to mean logits, (B,) or (B, K)."""
        views = [_seen_through(images, window) for window in self.windows]
        if self.mirror:
            views += [view.flip(3) for view in views]
        return torch.stack([self.network(view) for view in views]).mean(dim=0)

    def single_look(self) -> nn.Module:
        """The network that is shown the views."""
        return self.network


def _seen_through(images: Tensor, window: float) -> Tensor:
    height, width = images.shape[-2:]
    down, across = (round((1 - window) / 2 * side) for side in (height, width))
    if not down and not across:
        return images
    # Negative padding crops. Black is what training shows where there is no image.
    part = functional.pad(images, (-across, -across, -down, -down))
    return functional.interpolate(part, size=(height, width), mode="bilinear", antialias=False)
