"""Brightness, contrast, gamma, blur and noise, each image by its own amount."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from cxrlab.augmentation.draw import Draw
from cxrlab.config.schema import AugmentationConfig


def expose(images: Tensor, config: AugmentationConfig, draw: Draw) -> Tensor:
    """Change how the images look, not where things lie.

    Args:
        images: (B, 1, H, W) float32 in [0, 1].
        config: ranges of the changes.
        draw: source of random numbers.

    Returns:
        (B, 1, H, W) float32 in [0, 1].
    """
    if config.gamma:
        images = images.clamp(min=1e-6) ** _each(draw.symmetric(config.gamma).exp())
    if config.contrast:
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = mean + (images - mean) * _each(1 + draw.symmetric(config.contrast))
    if config.brightness:
        images = images + _each(draw.symmetric(config.brightness))
    if config.blur:
        images = _blur(images, draw.between(0.0, config.blur), config.blur)
    if config.noise:
        images = images + draw.normal_like(images) * _each(draw.between(0.0, config.noise))
    return images.clamp(0, 1)


def _each(amounts: Tensor) -> Tensor:
    return amounts.view(-1, 1, 1, 1)


def _blur(images: Tensor, sigma: Tensor, greatest: float) -> Tensor:
    """Gaussian blur, separable, with one sigma (pixels) an image."""
    radius = max(1, math.ceil(3 * greatest))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp(min=0.05).unsqueeze(1)) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    batch, _, height, width = images.shape
    stacked = images.reshape(1, batch, height, width)
    for shape, pad in (
        ((batch, 1, 1, -1), (radius, radius, 0, 0)),
        ((batch, 1, -1, 1), (0, 0, radius, radius)),
    ):
        stacked = functional.pad(stacked, pad, mode="replicate")
        stacked = functional.conv2d(stacked, kernel.view(shape), groups=batch)
    return stacked.reshape(batch, 1, height, width)
