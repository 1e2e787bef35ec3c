"""Curves of the body frame and the frame of view that draws them.

Body frame: x grows to the image's right (the patient's left), 0 at the spine; y grows downwards;
one unit is the side of an unzoomed image, whose centre is the point (0, 0.5).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
ByteArray = npt.NDArray[np.uint8]
Window = tuple[float, float, float, float]

WHOLE: Window = (0.0, 0.0, 1.0, 1.0)
GRID = 160
GRID_ORIGIN = (-0.6, -0.1)
GRID_SPAN = 1.2
_SHIFT = 4


def smooth_closed(points: FloatArray, steps: int = 6) -> FloatArray:
    """Closed Catmull-Rom curve through `points` (N, 2), as (N * steps, 2)."""
    before, after, later = (np.roll(points, shift, axis=0) for shift in (1, -1, -2))
    t = (np.arange(steps, dtype=np.float32) / steps)[None, :, None]
    p0, p1, p2, p3 = (p[:, None, :] for p in (before, points, after, later))
    curve = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return curve.reshape(-1, 2).astype(np.float32)


def ribbon(line: FloatArray, half_width: float | FloatArray) -> FloatArray:
    """Polygons (..., 2 N, 2) of bands of `half_width` () or (N,) beside polylines (..., N, 2)."""
    tangent = np.empty_like(line)
    tangent[..., 1:-1, :] = line[..., 2:, :] - line[..., :-2, :]
    tangent[..., 0, :] = line[..., 1, :] - line[..., 0, :]
    tangent[..., -1, :] = line[..., -1, :] - line[..., -2, :]
    tangent /= np.hypot(tangent[..., :1], tangent[..., 1:]) + np.float32(1e-9)
    half = np.asarray(half_width, np.float32)[..., None]
    offset = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1) * half
    return np.concatenate([line + offset, (line - offset)[..., ::-1, :]], axis=-2)


def grid_coordinates() -> tuple[FloatArray, FloatArray]:
    """Body coordinates x (1, GRID) and y (GRID, 1) of the pixel centres of a body map."""
    step = (np.arange(GRID, dtype=np.float32) + 0.5) * (GRID_SPAN / GRID)
    return step[None, :] + GRID_ORIGIN[0], step[:, None] + GRID_ORIGIN[1]


@dataclass(frozen=True)
class View:
    """Affine map from points to the pixels of a square raster.

    Attributes:
        matrix: (2, 3), takes a point to continuous pixel coordinates (corner of the first = 0).
        size: side of the raster in pixels.
    """

    matrix: npt.NDArray[np.float64]
    size: int

    @property
    def pixels_per_unit(self) -> float:
        """Pixels that one unit of the source frame covers."""
        (a, b), (c, d) = self.matrix[:, :2].tolist()
        return math.sqrt(abs(a * d - b * c))

    def _fixed(self, points: FloatArray) -> npt.NDArray[np.int32]:
        pixels = points @ self.matrix[:, :2].T + (self.matrix[:, 2] - 0.5)
        return np.rint(pixels * (1 << _SHIFT)).astype(np.int32)

    def blank(self) -> ByteArray:
        """Empty layer to draw on."""
        return np.zeros((self.size, self.size), np.uint8)

    def fill(self, layer: ByteArray, polygon: FloatArray, value: int = 255) -> None:
        """Fill a polygon with a smooth edge."""
        cv2.fillPoly(layer, [self._fixed(polygon)], value, cv2.LINE_AA, _SHIFT)

    def lines(
        self,
        layer: ByteArray,
        curves: Sequence[FloatArray] | FloatArray,
        width: float,
        value: float = 255,
        closed: bool = False,
    ) -> None:
        """Draw polylines of `width` in source units; one thinner than a pixel is drawn fainter."""
        pixels = width * self.pixels_per_unit
        thickness = max(1, round(pixels))
        level = int(np.clip(value * min(1.0, pixels / thickness), 0, 255))
        if isinstance(curves, np.ndarray):
            pieces = list(self._fixed(curves))
        else:
            pieces = [self._fixed(curve) for curve in curves]
        cv2.polylines(layer, pieces, closed, level, thickness, cv2.LINE_AA, _SHIFT)

    def warp(self, body_map: FloatArray) -> FloatArray:
        """Resample a body map (GRID, GRID) into this view, with linear interpolation."""
        scale = GRID_SPAN / GRID
        from_grid = self.matrix.copy()
        from_grid[:, :2] *= scale
        first_centre = np.array(GRID_ORIGIN) + scale / 2
        from_grid[:, 2] = self.matrix[:, :2] @ first_centre + self.matrix[:, 2] - 0.5
        size = (self.size, self.size)
        warped = cv2.warpAffine(body_map, from_grid, size, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, np.float32)


def grid_view() -> View:
    """View that draws body coordinates onto a body map."""
    scale = GRID / GRID_SPAN
    x, y = GRID_ORIGIN
    return View(np.array([[scale, 0, -x * scale], [0, scale, -y * scale]]), GRID)


def window_view(placement: npt.NDArray[np.float64], window: Window, size: int) -> View:
    """View of a window of the image.

    Args:
        placement: (2, 3), takes the source frame to unit image coordinates.
        window: x0, y0, x1, y1 in unit image coordinates.
        size: side of the raster in pixels.
    """
    x0, y0, x1, y1 = window
    scale = np.array([size / (x1 - x0), size / (y1 - y0)])
    matrix = placement * scale[:, None]
    matrix[:, 2] -= scale * (x0, y0)
    return View(matrix, size)
