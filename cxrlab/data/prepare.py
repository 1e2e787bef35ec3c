"""From a manifest to decoded images, with what could not be read left out and named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrlab.config.paths import cache_dir
from cxrlab.config.schema import DataBase
from cxrlab.data.cache import ImageCache, open_cache
from cxrlab.data.images import resize
from cxrlab.data.manifest import Manifest, data_fingerprint
from cxrlab.errors import UserError, warn

_NAMED = 3


@dataclass(frozen=True)
class PreparedData:
    """Images ready for batches.

    Attributes:
        manifest: the readable images, N rows.
        pixels: (M, H, W) uint8, memory-mapped.
        rows: (N,) which row of `pixels` belongs to each row of the manifest.
        fingerprint: digest of the images' contents and labels.
        bad: path -> reason of every file left out.
    """

    manifest: Manifest
    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    fingerprint: str
    bad: dict[str, str]


def prepare(manifest: Manifest, config: DataBase) -> PreparedData:
    """Decode the images of a manifest, or find them decoded.

    The split is made before, so that a bad file takes no other image to another split.

    Raises:
        UserError: `data.on_bad_image=error` and a file can't be read whole, or a split loses a
            class with the unreadable files.
    """
    paths = manifest.table["path"].tolist()
    cache = open_cache(manifest.root, paths, config.image_size, cache_dir(config.cache))
    if cache.bad:
        _report_bad(manifest, cache, config)
    rows = np.flatnonzero([path not in cache.bad for path in paths])
    kept = manifest.with_table(manifest.table.iloc[rows])
    kept.check()
    fingerprint = data_fingerprint(
        kept.table["path"].tolist(),
        [cache.digests[row] for row in rows],
        kept.table["target"].tolist(),
    )
    return PreparedData(kept, cache.pixels, rows, fingerprint, cache.bad)


def read_masks(manifest: Manifest, size: int, split: str) -> NDArray[np.bool_] | None:
    """Lesion masks (N, size, size) of a split, empty where none is named; None without the column.

    Raises:
        UserError: a mask that the manifest names can't be read.
    """
    if "mask" not in manifest.table:
        return None
    names = manifest.split(split)["mask"].tolist()
    masks = np.zeros((len(names), size, size), dtype=bool)
    for row, name in enumerate(names):
        if name:
            masks[row] = _read_mask(manifest, name, size)
    return masks


def _read_mask(manifest: Manifest, name: str, size: int) -> NDArray[np.bool_]:
    import cv2

    found = cv2.imread(str(manifest.root / name), cv2.IMREAD_GRAYSCALE)
    if found is None:
        raise UserError(f"{manifest.root / name}: the mask can't be read; restore or unname it")
    # Half covered counts as covered once a mask is made smaller.
    return resize(np.asarray((found > 0) * np.uint8(255), np.uint8), size) >= 128


def _report_bad(manifest: Manifest, cache: ImageCache, config: DataBase) -> None:
    bad = cache.bad
    named = "; ".join(f"{path} ({reason})" for path, reason in list(bad.items())[:_NAMED])
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    found = f"{len(bad)} of {len(manifest)} images under {manifest.root} can't be read whole"
    if config.on_bad_image == "error":
        raise UserError(f"{found}: {named}{more}; replace them or take data.on_bad_image=skip")
    warn(f"{found} and are left out: {named}{more}. Replace or delete them to end this warning.")
