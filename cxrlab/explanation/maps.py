"""From attributions to colours: one scale for all maps that are shown together."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import Colormap
from numpy.typing import NDArray

from cxrlab.explanation.quality.evidence import SMOOTHING, smooth

PERCENTILE = 99.5
"""Percentile of |attribution| at which colours saturate, so that no single pixel sets the scale."""

_OPACITY = 0.85  # of the strongest evidence; the anatomy below it stays visible


def signed_colours() -> Colormap:
    """Perceptually uniform diverging map: blue, grey at zero, red (Moreland, ISVC 2009)."""
    return matplotlib.colormaps["coolwarm"]


def absolute_colours() -> Colormap:
    """Perceptually uniform sequential map."""
    return matplotlib.colormaps["inferno"]


@dataclass(frozen=True)
class ColourScale:
    """Values at which colours saturate, in logits a pixel.

    Attributes:
        signed: end of the signed maps' scale, which runs from `-signed` to `signed`.
        absolute: end of the smoothed absolute maps' scale, which starts at zero.
        sigma: standard deviation of the Gaussian that smooths the absolute maps, in pixels.
    """

    signed: float
    absolute: float
    sigma: float

    @classmethod
    def of(
        cls, attributions: NDArray[np.float32], absolutes: NDArray[np.float32], sigma: float
    ) -> ColourScale:
        """The scale of all maps together; maps that are not finite have no say.

        Args:
            attributions: signed maps (N, H, W).
            absolutes: their `absolute_map` (N, H, W).
            sigma: the smoothing of these, in pixels.
        """
        finite = np.isfinite(attributions).all(axis=(1, 2))
        return cls(
            signed=_percentile(np.abs(attributions[finite])),
            absolute=_percentile(absolutes[finite]),
            sigma=sigma,
        )


def paint(
    images: NDArray[np.uint8], attributions: NDArray[np.float32], sigma: float = SMOOTHING
) -> tuple[list[NDArray[np.uint8]], ColourScale]:
    """Colour maps that are shown together, each smoothed and coloured once.

    Args:
        images: uint8 (N, H, W).
        attributions: their signed maps, float32 (N, H, W).
        sigma: smoothing of the overlays in pixels.

    Returns:
        N strips, uint8 (H, 3 W, 3): image, signed map and overlay side by side; and their scale.
    """
    absolutes = np.stack([absolute_map(attribution, sigma) for attribution in attributions])
    scale = ColourScale.of(attributions, absolutes, sigma)
    strips = [
        np.concatenate(
            [
                _grey_rgb(image),
                signed_rgb(attribution, scale),
                overlay_rgb(image, absolute, scale),
            ],
            axis=1,
        )
        for image, attribution, absolute in zip(images, attributions, absolutes, strict=True)
    ]
    return strips, scale


def absolute_map(attribution: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """|attribution| (H, W) after Gaussian smoothing by `sigma` pixels; zero where not finite."""
    finite = np.nan_to_num(attribution, nan=0.0, posinf=0.0, neginf=0.0)
    return smooth(np.abs(finite), sigma)


def signed_rgb(attribution: NDArray[np.float32], scale: ColourScale) -> NDArray[np.uint8]:
    """The signed map, pixel by pixel, as uint8 (H, W, 3)."""
    finite = np.nan_to_num(attribution, nan=0.0, posinf=0.0, neginf=0.0)
    return _to_rgb(signed_colours()(0.5 + 0.5 * np.clip(finite / scale.signed, -1, 1)))


def layer_rgba(absolute: NDArray[np.float32], scale: ColourScale) -> NDArray[np.uint8]:
    """An `absolute_map` to lay over its image, the more opaque the larger, as uint8 (H, W, 4)."""
    strength = np.clip(absolute / scale.absolute, 0, 1)
    colours = absolute_colours()(strength)
    colours[..., 3] = _OPACITY * strength
    return np.rint(255 * colours).astype(np.uint8)


def overlay_rgb(
    image: NDArray[np.uint8], absolute: NDArray[np.float32], scale: ColourScale
) -> NDArray[np.uint8]:
    """An `absolute_map` over its image, the more opaque the larger, as uint8 (H, W, 3)."""
    strength = np.clip(absolute / scale.absolute, 0, 1)
    colours = absolute_colours()(strength)[..., :3]
    alpha = _OPACITY * strength[..., None]
    return _to_rgb((1 - alpha) * _grey_rgb(image) / 255 + alpha * colours)


def _grey_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(np.asarray(image, dtype=np.uint8)[..., None], 3, axis=-1)


def _to_rgb(colours: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(255 * colours[..., :3]).astype(np.uint8)


def _percentile(magnitudes: NDArray[np.float32]) -> float:
    """The robust maximum; 1 where there is nothing above zero, which would scale nothing."""
    value = float(np.percentile(magnitudes, PERCENTILE)) if magnitudes.size else 0.0
    return value if value > 0 else 1.0
