"""Fixed changes of how a radiograph was taken and stored: what another hospital does to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.functional import gaussian_blur

_QUALITY = 15
_COARSE = 0.35
_FRAME = 0.06


def _gamma(exponent: float) -> Callable[[Tensor], Tensor]:
    return lambda images: images**exponent


def _contrast(factor: float) -> Callable[[Tensor], Tensor]:
    def change(images: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        return (mean + factor * (images - mean)).clamp(0, 1)

    return change


def _closer(images: Tensor) -> Tensor:
    return zoomed(images, 0.8)


def _farther(images: Tensor) -> Tensor:
    return zoomed(images, 1.25)


def _blurred(images: Tensor) -> Tensor:
    side = images.shape[-1]
    sigma = side / 112
    size = 2 * round(3 * sigma) + 1
    return gaussian_blur(images, [size, size], [sigma, sigma])


def _coarse(images: Tensor) -> Tensor:
    side = images.shape[-2:]
    small = functional.interpolate(images, scale_factor=_COARSE, mode="bilinear", antialias=True)
    return functional.interpolate(small, size=side, mode="bilinear").clamp(0, 1)


def _framed(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    down, across = round(_FRAME * height), round(_FRAME * width)
    changed = torch.zeros_like(images)
    inner = (..., slice(down, height - down), slice(across, width - across))
    changed[inner] = images[inner]
    return changed


def _compressed(images: Tensor) -> Tensor:
    pixels = (images[:, 0] * 255).round().byte().cpu().numpy()
    found = np.stack([_through_jpeg(image) for image in pixels])
    return torch.from_numpy(found)[:, None].to(images) / 255


def _through_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def zoomed(images: Tensor, window: float) -> Tensor:
    """The central part of this relative side, resampled; black where there is no image.

    Args:
        images: (B, 1, H, W) float32 in [0, 1].
        window: side of what is seen, over the image's; more than 1 looks from farther away.
    """
    theta = torch.tensor([[window, 0.0, 0.0], [0.0, window, 0.0]], device=images.device)
    grid = functional.affine_grid(
        theta.expand(len(images), 2, 3).to(images.dtype), list(images.shape), align_corners=False
    )
    return functional.grid_sample(images, grid, align_corners=False)


SHIFTS: dict[str, Callable[[Tensor], Tensor]] = {
    "lighter": _gamma(0.6),
    "darker": _gamma(1.6),
    "flatter": _contrast(0.5),
    "harder": _contrast(1.6),
    "closer": _closer,
    "farther": _farther,
    "blurred": _blurred,
    "coarse": _coarse,
    "framed": _framed,
    "compressed": _compressed,
}
"""Each maps (B, 1, H, W) float32 in [0, 1] to the same, at any size."""


class ShiftedPass(NamedTuple):
    """What a model says of the images of a split, each through one change.

    Attributes:
        names: (N,) which of `SHIFTS` each image went through.
        logits: (N,) or (N, K) of the changed images.
    """

    names: Sequence[str]
    logits: NDArray[np.float64]


def name_in_turn(names: Sequence[str], index: int, turn: int) -> str:
    """The change that an image goes through in one of several passes over its split.

    Args:
        names: of `SHIFTS`, which images take turns among.
        index: the image's row in the split.
        turn: which pass; as many as there are names show each image every change once.
    """
    return names[(index + turn) % len(names)]


def shift_in_turn(images: Tensor, index: Tensor, names: Sequence[str], turn: int = 0) -> Tensor:
    """Each image through the change whose turn it is.

    Args:
        images: (B, 1, H, W) float32 in [0, 1], not changed.
        index: (B,) rows in the split; -1, a filler, counts as row 0.
        names: of `SHIFTS`.
        turn: see `name_in_turn`.
    """
    changed = images.clone()
    whose = [name_in_turn(names, row, turn) for row in index.clamp(min=0).tolist()]
    for name in sorted(set(whose)):
        rows = [place for place, found in enumerate(whose) if found == name]
        changed[rows] = SHIFTS[name](images[rows])
    return changed
