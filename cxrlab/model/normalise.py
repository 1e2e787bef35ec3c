"""The step before the network: gray images to what its first convolution was trained for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# What `standardise` brings every image to: near the mean and spread of chest radiographs in [0, 1].
STANDARD_MEAN, STANDARD_STD = 0.5, 0.25


class Normalise(nn.Module):
    """Gray images in [0, 1] to what the first convolution was trained for.

    The gray channel is repeated for each input channel, which for a pretrained stem is exact,
    where summing its filters would only be so with equal statistics in every channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, standardise: bool) -> None:
        """Set up the constants.

        Args:
            mean: mean of each channel, in [0, 1].
            std: SD of each channel.
            standardise: bring each image to mean 0.5 and SD 0.25 first, against exposures that
                differ between scanners.
        """
        super().__init__()
        self.standardise = standardise
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 1, H, W) float32 in [0, 1] to (B, C, H, W) float32."""
        if self.standardise:
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            # The floor keeps a constant image finite.
            spread = images.std(dim=(1, 2, 3), keepdim=True).clamp(min=1e-3)
            images = (images - mean) / spread * STANDARD_STD + STANDARD_MEAN
        return (images - self.mean) / self.std
