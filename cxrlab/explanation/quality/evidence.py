"""What of a signed map counts as evidence, and at which scale."""

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


def positive_part(attribution: NDArray[np.float32]) -> NDArray[np.float32]:
    """What speaks for the explained class; zero everywhere for a map that is not finite."""
    if not np.isfinite(attribution).all():
        return np.zeros_like(attribution)
    return np.maximum(attribution, 0)


def why_unusable(attribution: NDArray[np.float32]) -> str | None:
    """Why nothing can be measured of a map (H, W), or None."""
    if not np.isfinite(attribution).all():
        return "not finite"
    if not attribution.any():
        return "zero everywhere"
    if np.ptp(attribution) == 0:
        return "the same everywhere"
    return None
