"""The augmentation of a training batch, with a draw of its own for each image."""

from __future__ import annotations

from torch import Tensor

from cxrlab.augmentation.draw import Draw
from cxrlab.augmentation.exposure import expose
from cxrlab.augmentation.geometry import warp
from cxrlab.config.schema import AugmentationConfig


class Augmenter:
    """Random changes by configuration; has no state, so any batch can be made again."""

    def __init__(self, config: AugmentationConfig) -> None:
        """Augment as the section `augmentation` says."""
        self._config = config

    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Change each image in its own way.

        Args:
            images: (B, 1, H, W) float32 in [0, 1], on any device.
            seed: what the changes are drawn from.

        Returns:
            (B, 1, H, W) float32 in [0, 1], on the same device.
        """
        draw = Draw(seed, len(images), images.device)
        return expose(warp(images, self._config, draw), self._config, draw)
