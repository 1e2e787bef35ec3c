"""What of a file or its rim could tell the class without a look at the lungs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

RING = 8  # pixels of 64
COARSE = 8  # pixels a side
_BLACK = 8  # gray level of 255
_PERCENTILES = (1, 25, 50, 75, 99)
_COMPONENTS = 30


def metadata(facts: pd.DataFrame) -> pd.DataFrame:
    """Numbers of each file, constant ones left out: the columns are what a person reads.

    Args:
        facts: of `PreparedData`, some rows of it.
    """
    height, width = facts["height"].astype(float), facts["width"].astype(float)
    bits, channels = facts["bits"].astype(float), facts["channels"].astype(float)
    pixels = (height * width * channels).clip(lower=1)
    columns = {
        "height": height,
        "width": width,
        "aspect": width / height.clip(lower=1),
        "bits a channel": bits,
        "channels": channels,
        "bytes a pixel": facts["bytes"].astype(float) / pixels,
    }
    formats = facts["format"].astype(str)
    columns |= {f"format {name}": (formats == name).astype(float) for name in formats.unique()}
    table = pd.DataFrame(columns).fillna(-1.0)
    return table.loc[:, table.nunique() > 1]


def exposure(thumbs: NDArray[np.uint8]) -> pd.DataFrame:
    """Gray values (N, 64, 64) as mean, SD and percentiles, and the share of black border."""
    flat = thumbs.reshape(len(thumbs), -1)
    columns = {"mean gray": flat.mean(axis=1), "SD of gray": flat.std(axis=1)}
    percentiles = np.percentile(flat, _PERCENTILES, axis=1)
    for name, values in zip(_PERCENTILES, percentiles, strict=True):
        columns[f"gray percentile {name}"] = values
    columns["black border"] = _black_border(thumbs)
    return pd.DataFrame(columns)


def border(thumbs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The outermost 8 of 64 pixels, corners included, as at most 30 principal components."""
    from sklearn.decomposition import PCA

    flat = thumbs[:, ring_mask()].astype(np.float32)
    components = min(_COMPONENTS, *flat.shape)
    reduce = PCA(components, svd_solver="randomized", random_state=0)
    with np.errstate(invalid="ignore"):  # rims that are all alike have no variance to share
        return np.asarray(reduce.fit_transform(flat), np.float64)


def ring_mask(side: int = 64) -> NDArray[np.bool_]:
    """(side, side) True in the outer ring of an eighth."""
    width = side * RING // 64
    mask = np.ones((side, side), dtype=bool)
    mask[width:-width, width:-width] = False
    return mask


def coarse(thumbs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, 64): the image at 8 x 8 pixels."""
    block = thumbs.shape[1] // COARSE
    blocks = thumbs.reshape(-1, COARSE, block, COARSE, block)
    return blocks.mean(axis=(2, 4), dtype=np.float64).reshape(len(thumbs), -1)


def _black_border(thumbs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of the area outside the smallest box that holds everything that is not black."""
    lit = thumbs > _BLACK
    shares = []
    for axis in (1, 2):
        used = lit.mean(axis=axis) > 0.02  # a letter in a black border leaves it a border
        side = used.shape[1]
        length = side - used.argmax(axis=1) - used[:, ::-1].argmax(axis=1)
        shares.append(np.where(used.any(axis=1), length / side, 0.0))
    return np.asarray(1 - shares[0] * shares[1])
