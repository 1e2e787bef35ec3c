"""Whether the evidence that a map shows lies where the lesion is, or where none can be."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from cxrlab.explanation.quality.evidence import SMOOTHING, positive_part, smooth

BORDER = 0.05
"""Width of the outer border, as a share of the side: collimation, letters and markers lie there."""

_MARGIN = 0.02


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
    positive = positive_part(attribution)
    if not positive.any():
        return False
    smoothed = smooth(positive, sigma)
    return bool(mask[np.unravel_index(np.argmax(smoothed), smoothed.shape)])


def mass_in_mask(attribution: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Share of a map's positive attribution (H, W) that lies inside the lesion, in [0, 1].

    Zero as well for maps without positive evidence and for maps that are not finite.
    """
    positive = positive_part(attribution)
    total = positive.sum(dtype=np.float64)
    return float(positive[mask].sum(dtype=np.float64) / total) if total > 0 else 0.0


def otsu_iou(
    attribution: NDArray[np.float32], mask: NDArray[np.bool_], sigma: float = SMOOTHING
) -> float:
    """Overlap of the lesion with the positive evidence above Otsu's threshold, in [0, 1].

    Intersection over union; the threshold (Otsu, IEEE SMC 1979) is chosen on 256 levels of the
    smoothed positive part, without a look at the lesion. Zero for maps without positive evidence.

    Args:
        attribution: signed map (H, W).
        mask: lesion (H, W), True inside.
        sigma: as for `pointing_game`.
    """
    smoothed = smooth(positive_part(attribution), sigma)
    most = float(smoothed.max())
    if most <= 0:
        return 0.0
    levels = np.rint(smoothed / most * 255).astype(np.uint8)
    _, region = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    found = np.asarray(region) > 0
    return float((found & mask).sum() / (found | mask).sum())


def pixel_auprc(
    attribution: NDArray[np.float32], mask: NDArray[np.bool_], sigma: float = SMOOTHING
) -> float:
    """Average precision of the pixels inside the lesion, ranked by smoothed positive evidence.

    In [0, 1]; a map without a clue has the lesion's share of the image.

    Args:
        attribution: signed map (H, W).
        mask: lesion (H, W), True inside, not empty.
        sigma: as for `pointing_game`.
    """
    smoothed = smooth(positive_part(attribution), sigma)
    return float(average_precision_score(mask.ravel(), smoothed.ravel()))


def sign_region(marker: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The sign that a marker's strokes make up: their convex hull, and what borders on it.

    A network sees a sign by its edges, so that much of the evidence lies beside the strokes.

    Args:
        marker: strokes (H, W), True there, not empty.

    Returns:
        (H, W), with a margin of 2 % of the longer side.
    """
    strokes = cv2.findNonZero(marker.astype(np.uint8))
    region = np.zeros(marker.shape, np.uint8)
    cv2.fillConvexPoly(region, cv2.convexHull(strokes), 1)
    margin = max(1, round(_MARGIN * max(marker.shape)))
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return np.asarray(cv2.dilate(region, around)) > 0


def border_mask(height: int, width: int, share: float = BORDER) -> NDArray[np.bool_]:
    """The outer border, (height, width), True there: `share` of each side, a pixel at least."""
    rows, columns = max(1, round(share * height)), max(1, round(share * width))
    border = np.ones((height, width), dtype=bool)
    border[rows : height - rows, columns : width - columns] = False
    return border
