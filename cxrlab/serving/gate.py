"""Whether an image is of the kind that a model was trained on, before its number is believed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrlab.data.images import THUMB, Decoded

FloatArray = NDArray[np.float32]

# Of PS3.3 C.7.3.1.1.1: projection radiography, and what exports of it are called.
RADIOGRAPHS = ("CR", "DX", "RG", "OT", "SC", "")
_SIDE = 16  # measured: 32 and 48 find less, docs/serving.md
_AXES = 64
_LEAST_IMAGES, _LEAST_CHECKED = 100, 20
_MOST_IMAGES = 4000
_FLATTEST = 8.0  # gray levels of 255: less is noise on one grey, and not scaled up
_SMOOTHEST = 0.5  # of the least detailed training image
# What the person at the machine may vary, in degrees and shares of the side.
_DEGREES, _SHIFT, _ZOOM = 10.0, 0.05, 0.1


@dataclass(frozen=True)
class Gate:
    """A normal distribution of how radiographs look from afar.

    Each image is brought to 16 x 16 pixels of one mean and spread. Its distance is the squared
    Mahalanobis distance from the training images along their first principal axes, with one
    variance for all that the axes leave over (probabilistic PCA, Tipping and Bishop 1999).

    Attributes:
        mean: (256,) of the training images.
        axes: (K, 256), orthonormal.
        variances: (K,) along the axes.
        rest: variance along any other direction.
        limit: the greatest distance that is let through.
        detail: the least contrast of neighbouring pixels that is let through.
    """

    mean: FloatArray
    axes: FloatArray
    variances: FloatArray
    rest: float
    limit: float
    detail: float

    def distance(self, thumbs: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Distances of whole images, (N,) of (N, 64, 64)."""
        off = _seen_from_afar(thumbs) - self.mean
        along = off @ self.axes.T
        left = np.maximum((off**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        found: NDArray[np.float64] = (along**2 / self.variances).sum(axis=1) + left / self.rest
        return found.astype(np.float64)

    def refused(self, thumbs: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which whole images would be refused, (N,) of (N, 64, 64), whatever their files say."""
        flat, smooth, ratio = self._seen(thumbs)
        return np.asarray(flat | smooth | (ratio > 1))

    def refusal(self, image: Decoded) -> str:
        """Why a decoded image is none that the model can judge, or the empty text."""
        if image.facts.modality not in RADIOGRAPHS:
            return f"DICOM of modality {image.facts.modality}, which is no radiograph"
        flat, smooth, ratio = (float(found[0]) for found in self._seen(image.thumb[None]))
        if flat:
            return "blank: nearly all of one grey"
        if smooth:
            return "no detail, as no radiograph has"
        if ratio <= 1:
            return ""
        return (
            "unlike the radiographs it was trained on: another view or part of the body, turned, "
            f"inverted, or no radiograph ({ratio:.1f} times the distance that is let through)"
        )

    def _seen(
        self, thumbs: NDArray[np.uint8]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
        """Which images are of one grey and which without detail; their distance over the limit."""
        flat = thumbs.reshape(len(thumbs), -1).std(axis=1) < _FLATTEST / 2
        return flat, _detail(thumbs) < self.detail, self.distance(thumbs) / self.limit

    def plain(self) -> dict[str, Any]:
        """As numbers and text, for JSON; `from_plain` reads it."""
        arrays = {name: getattr(self, name) for name in ("mean", "axes", "variances")}
        text = {name: base64.b64encode(a.tobytes()).decode() for name, a in arrays.items()}
        return {**text, "rest": self.rest, "limit": self.limit, "detail": self.detail}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Gate:
        """What `plain` made of one."""
        arrays = {
            name: np.frombuffer(base64.b64decode(plain[name]), np.float32)
            for name in ("mean", "axes", "variances")
        }
        mean = arrays["mean"]
        return cls(
            mean=mean,
            axes=arrays["axes"].reshape(-1, len(mean)),
            variances=arrays["variances"],
            rest=float(plain["rest"]),
            limit=float(plain["limit"]),
            detail=float(plain["detail"]),
        )


def fit_gate(
    thumbs: NDArray[np.uint8],
    train: NDArray[np.int64],
    val: NDArray[np.int64],
    share: float,
    seed: int,
) -> Gate | None:
    """Learn how radiographs look, and how far from that validation images lie.

    Args:
        thumbs: (M, 64, 64) whole images, which may be memory-mapped.
        train: which of them are training images; at most 4,000 are used, each as it is, mirrored,
            and mirrored, turned, moved and zoomed a little by chance.
        val: which are validation images, of which the same number is used.
        share: of the validation images that may be refused, in [0, 1].
        seed: of the choice and the changes.

    Returns:
        None where there are too few images: under 100 to learn from, or under 20 to check on.
    """
    if len(train) < _LEAST_IMAGES or len(val) < _LEAST_CHECKED:
        return None
    rng = np.random.default_rng(seed)
    chosen, checked = (
        thumbs[np.sort(rng.permutation(rows)[:_MOST_IMAGES])] for rows in (train, val)
    )
    changed = np.stack([_changed(image, rng) for image in chosen])
    seen = _seen_from_afar(np.concatenate([chosen, changed]))
    mirrored = seen[: len(chosen)].reshape(-1, _SIDE, _SIDE)[:, :, ::-1].reshape(len(chosen), -1)
    seen = np.concatenate([seen, mirrored])
    mean = seen.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(seen.T, dtype=np.float64))
    kept = slice(-1, -1 - min(_AXES, len(chosen) // 4), -1)
    gate = Gate(
        mean=mean,
        axes=axes.T[kept].astype(np.float32).copy(),
        variances=variances[kept].astype(np.float32).copy(),
        rest=float(variances[: kept.stop].mean()),
        limit=np.inf,
        detail=_SMOOTHEST * float(_detail(chosen).min()),
    )
    limit = float(np.quantile(gate.distance(checked), 1 - share, method="higher"))
    return Gate(gate.mean, gate.axes, gate.variances, gate.rest, limit, gate.detail)


def _seen_from_afar(thumbs: NDArray[np.uint8]) -> FloatArray:
    """(N, 256), each image of mean 0 and spread 1, but those of nearly one grey."""
    block = THUMB // _SIDE
    # Sums of strided planes: numpy takes four times as long for means over short axes.
    rows = reduce(np.add, (thumbs[:, k::block].astype(np.uint16) for k in range(block)))
    blocks = reduce(np.add, (rows[:, :, k::block] for k in range(block)))
    small = blocks.reshape(len(thumbs), -1).astype(np.float32) / block**2
    small -= small.mean(axis=1, keepdims=True)
    found: FloatArray = small / np.maximum(small.std(axis=1, keepdims=True), _FLATTEST)
    return found


def _detail(thumbs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean mixed difference of neighbours over the spread of the whole image, (N,).

    It is 0 of ramps, which have none.
    """
    values = thumbs.astype(np.float32)
    steps = np.abs(np.diff(np.diff(values, axis=1), axis=2))
    spread = np.maximum(values.std(axis=(1, 2)), _FLATTEST)
    found: NDArray[np.float64] = (steps.mean(axis=(1, 2)) / spread).astype(np.float64)
    return found


def _changed(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    mirrored = image[:, ::-1] if rng.random() < 0.5 else image
    angle, zoom = rng.uniform(-_DEGREES, _DEGREES), 1 + rng.uniform(-_ZOOM, _ZOOM)
    turn = cv2.getRotationMatrix2D((THUMB / 2, THUMB / 2), angle, zoom)
    turn = np.asarray(turn, np.float64) + np.pad(
        rng.uniform(-_SHIFT, _SHIFT, (2, 1)) * THUMB, ((0, 0), (2, 0))
    )
    moved = cv2.warpAffine(np.ascontiguousarray(mirrored), turn, (THUMB, THUMB))
    return moved.astype(np.uint8, copy=False)
