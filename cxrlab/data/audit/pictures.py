"""Images as they stand inside the page: small, and in the HTML itself."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrlab.data.audit.features import COARSE, RING
from cxrlab.data.audit.shortcuts import draw_sample
from cxrlab.data.prepare import PreparedData
from cxrlab.page import data_uri

_SIDE = 160
_QUALITY = 82
_CLASSES = 8


@dataclass(frozen=True)
class ClassPicture:
    """What the training images of a class have in common, as data URIs.

    Attributes:
        name: of the class.
        images: how many were averaged.
        mean: the mean image.
        border: its outer ring.
        coarse: the mean image at 8 x 8 pixels.
    """

    name: str
    images: int
    mean: str
    border: str
    coarse: str


def photo(image: NDArray[np.uint8]) -> str:
    """A radiograph (H, W) as a JPEG data URI of at most 160 pixels a side."""
    if max(image.shape) > _SIDE:
        image = np.asarray(
            cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8
        )
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return data_uri(content.tobytes(), "jpeg")


def class_pictures(data: PreparedData) -> list[ClassPicture]:
    """The mean training image of each class, at most 8 classes."""
    table = data.manifest.table
    rows = draw_sample(data).rows
    found: list[ClassPicture] = []
    for name, member in data.manifest.task.memberships(table.iloc[rows]):
        own = rows[member == 1]
        if len(own) and len(found) < _CLASSES:
            mean = data.thumbs[data.rows[own]].mean(axis=0, dtype=np.float64)
            found.append(_class_picture(name, len(own), mean))
    return found


def _class_picture(name: str, images: int, mean: NDArray[np.float64]) -> ClassPicture:
    gray = mean.round().astype(np.uint8)
    side, block = len(mean), len(mean) // COARSE
    inner = slice(side * RING // 64, -(side * RING // 64))
    opaque = np.full_like(gray, 255)
    opaque[inner, inner] = 0
    ring = np.dstack([gray, gray, gray, opaque])
    coarse = mean.reshape(COARSE, block, COARSE, block).mean(axis=(1, 3)).round().astype(np.uint8)
    return ClassPicture(name, images, _png(gray), _png(ring), _png(coarse))


def _png(image: NDArray[np.uint8]) -> str:
    return data_uri(cv2.imencode(".png", image)[1].tobytes(), "png")
