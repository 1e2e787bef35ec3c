"""Random fields on the body grid."""

import cv2
import numpy as np

from cxrlab.data.phantom.geometry import GRID, FloatArray


def clouds(rng: np.random.Generator, cells: tuple[int, ...] = (6, 12, 24)) -> FloatArray:
    """Fractal noise (GRID, GRID): octaves of halving weight, zero mean, unit deviation."""
    field = np.zeros((GRID, GRID), np.float32)
    weight = 1.0
    for count in cells:
        coarse = rng.standard_normal((count, count), dtype=np.float32)
        field += weight * cv2.resize(coarse, (GRID, GRID), interpolation=cv2.INTER_CUBIC)
        weight *= 0.6
    field -= field.mean()
    return field / (field.std() + 1e-6)


def reticular(rng: np.random.Generator, cell: float = 1.6, ridge: float = 0.45) -> FloatArray:
    """Net of thin bright lines (GRID, GRID) in [0, 1]: zero crossings of band-passed noise.

    Args:
        rng: source of the noise.
        cell: blur of the noise in grid pixels; the meshes are a few times as wide.
        ridge: width of the lines against the deviation of the noise.
    """
    noise = rng.standard_normal((GRID, GRID), dtype=np.float32)
    band = cv2.GaussianBlur(noise, (0, 0), cell) - cv2.GaussianBlur(noise, (0, 0), 2.2 * cell)
    band /= band.std() + 1e-6
    return np.exp(-np.square(band / ridge))


def smoothstep(value: FloatArray, low: float, high: float) -> FloatArray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
