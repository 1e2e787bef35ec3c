"""One random number for each image of a batch, from a seed and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor


class Draw:
    """Random numbers of one batch: the same seed, batch size and device give the same numbers."""

    def __init__(self, seed: int, size: int, device: torch.device) -> None:
        """Draw for a batch of `size` images."""
        self._generator = torch.Generator(device).manual_seed(seed)
        self._size, self._device = size, device

    def uniform(self) -> Tensor:
        """(B,) in [0, 1)."""
        return torch.rand(self._size, generator=self._generator, device=self._device)

    def between(self, low: float, high: float) -> Tensor:
        """(B,) in [low, high)."""
        return low + (high - low) * self.uniform()

    def symmetric(self, greatest: float) -> Tensor:
        """(B,) in [-greatest, greatest)."""
        return self.between(-greatest, greatest)

    def normal_like(self, images: Tensor) -> Tensor:
        """Standard normal numbers of the shape of `images`."""
        return torch.randn(
            images.shape, generator=self._generator, device=self._device, dtype=images.dtype
        )
