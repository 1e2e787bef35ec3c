"""Whether the evidence that a map shows lies where the lesion is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTHING = 2.0
"""Standard deviation, in pixels, of the Gaussian that turns speckle into regions."""


def smooth(attribution: NDArray[np.float32], sigma: float = SMOOTHING) -> NDArray[np.float32]:
    """Gaussian average of one map (H, W), `sigma` in pixels; 0 leaves it as it is."""
    if sigma == 0:
        return attribution
    return np.asarray(cv2.GaussianBlur(attribution, (0, 0), sigmaX=sigma), dtype=np.float32)


def pointing_game(
    attribution: NDArray[np.float32], mask: NDArray[np.bool_], sigma: float = SMOOTHING
) -> bool:
    """Whether the strongest positive evidence lies inside the lesion (Zhang et al., ECCV 2016).

    Args:
        attribution: signed map (H, W).
        mask: lesion (H, W), True inside.
        sigma: Gaussian smoothing of the positive part in pixels, so that a region and not a
            single pixel wins.

    Returns:
        False as well for maps without positive evidence and for maps that are not finite.
    """
    positive = _positive_part(attribution)
    if not positive.any():
        return False
    smoothed = smooth(positive, sigma)
    return bool(mask[np.unravel_index(np.argmax(smoothed), smoothed.shape)])


def mass_in_mask(attribution: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Share of a map's positive attribution (H, W) that lies inside the lesion, in [0, 1].

    Zero as well for maps without positive evidence and for maps that are not finite.
    """
    positive = _positive_part(attribution)
    total = positive.sum(dtype=np.float64)
    return float(positive[mask].sum(dtype=np.float64) / total) if total > 0 else 0.0


def _positive_part(attribution: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(attribution).all():
        return np.zeros_like(attribution)
    return np.maximum(attribution, 0)
