"""Images without evidence, against which an image is held."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

_BLUR = 1 / 16  # of the side: anatomy is left, opacities and edges are not


def blurred(images: Tensor) -> Tensor:
    """Images (B, 1, H, W) after a Gaussian of a sixteenth of their side, rims mirrored."""
    sigma = _BLUR * images.shape[-1]
    reach = min(round(3 * sigma), min(images.shape[-2:]) - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(images, (reach, reach, reach, reach), mode="reflect")
    rows = functional.conv2d(padded, kernel[None, None, :, None])
    return functional.conv2d(rows, kernel[None, None, None, :])


def mean_grey(images: Tensor) -> Tensor:
    """Each of (B, 1, H, W) as one even grey, its own mean."""
    return images.mean(dim=(1, 2, 3), keepdim=True).expand_as(images)


BASELINES: dict[str, Callable[[Tensor], Tensor]] = {
    "black": torch.zeros_like,
    "blur": blurred,
    "mean": mean_grey,
}
"""Images (B, 1, H, W) to the images without evidence from which a path of integration starts."""
