"""From a manifest to decoded images and a split, with what could not be read left out and named."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.config.datasets import DataBase
from cxrlab.config.paths import cache_dir
from cxrlab.data.cache import ImageCache, open_cache, storage_error
from cxrlab.data.duplicates import DETECTOR, find_duplicates
from cxrlab.data.groups import group_images
from cxrlab.data.manifest import Manifest, data_fingerprint
from cxrlab.data.split import cut, pool, thin
from cxrlab.errors import UserError, warn
from cxrlab.files import write_atomically

_NAMED = 3


@dataclass(frozen=True)
class PreparedData:
    """Images ready for batches and for the audit.

    Attributes:
        manifest: the readable images, N rows, each in train, val or test.
        pixels: (M, H, W) uint8, memory-mapped.
        thumbs: (M, 64, 64) uint8, memory-mapped: the whole image, stretched to a square, before
            any preprocessing.
        rows: (N,) which row of `pixels` and `thumbs` belongs to each row of the manifest.
        facts: N rows in the manifest's order, of each file: `digest` (SHA-256 of its bytes),
            `bytes`, `format` (such as JPEG), `height` and `width` in pixels, `bits` a channel and
            `channels`.
        duplicates: pairs of rows of the manifest, columns of `find_duplicates`.
        fingerprint: digest of the images' contents and labels.
        bad: path -> reason of every file left out.
    """

    manifest: Manifest
    pixels: NDArray[np.uint8]
    thumbs: NDArray[np.uint8]
    rows: NDArray[np.int64]
    facts: pd.DataFrame
    duplicates: pd.DataFrame
    fingerprint: str
    bad: dict[str, str]

    def with_digests(self) -> pd.DataFrame:
        """The manifest's table with `digest`, by which a file is told under any name."""
        return self.manifest.table.assign(digest=self.facts["digest"].to_numpy())


def prepare(manifest: Manifest, config: DataBase) -> PreparedData:
    """Decode the images of a dataset, or find them decoded, and decide what they are used for.

    Pictures that are the same, byte for byte or but for their encoding and size, stay on one side
    of every cut, and their patients with them. A file that can't be read takes part in the cut
    before it is left out, so that it moves no other image.

    Raises:
        UserError: the split asked for can't be made, `data.on_bad_image=error` and a file can't
            be read whole, or a split loses a class with the unreadable files.
    """
    pooled = thin(pool(manifest, config), config)
    if not len(pooled):
        raise UserError(f"{manifest.root}: no image is left of {manifest.name}")
    paths = pooled.table["path"].tolist()
    folder = cache_dir(config.cache)
    cache = open_cache(pooled.root, paths, config.image_size, config.preprocess, folder)
    if cache.bad:
        _report_bad(pooled, cache, config)
    readable = np.flatnonzero(cache.rows >= 0)
    duplicates = _duplicates(cache, readable, folder)
    done = cut(pooled, group_images(pooled.table["patient_id"], duplicates), config)
    position = pd.Series(np.arange(len(paths)), index=paths)
    kept = position[done.table["path"]].to_numpy()
    kept_readable = cache.rows[kept] >= 0
    done, kept = done.with_table(done.table[kept_readable]), kept[kept_readable]
    done.check()
    facts = cache.facts.iloc[kept].reset_index(drop=True)
    return PreparedData(
        manifest=done,
        pixels=cache.pixels,
        thumbs=cache.thumbs,
        rows=cache.rows[kept],
        facts=facts,
        duplicates=_renumbered(duplicates, kept, len(paths)),
        fingerprint=data_fingerprint(
            done.table["path"].tolist(), facts["digest"].tolist(), done.table["label"].tolist()
        ),
        bad=cache.bad,
    )


def _duplicates(cache: ImageCache, readable: NDArray[np.int64], folder: Path) -> pd.DataFrame:
    """Pairs of rows of the cache that show one picture, found once for a list of files."""
    digests = cache.facts["digest"].iloc[readable].tolist()
    key = hashlib.sha256("\n".join([DETECTOR, *digests]).encode()).hexdigest()[:16]
    file = folder / "duplicates" / f"{key}.csv"
    if file.is_file():
        found = pd.read_csv(file)
    else:
        found = find_duplicates(digests, cache.thumbs, cache.rows[readable])
        text = found.to_csv(index=False)
        try:
            write_atomically(file, text)
        except OSError as error:
            raise storage_error(error, file.parent, len(text)) from error
    places = found[["a", "b"]].to_numpy(np.int64)
    return found.assign(a=readable[places[:, 0]], b=readable[places[:, 1]])


def _renumbered(duplicates: pd.DataFrame, kept: NDArray[np.int64], count: int) -> pd.DataFrame:
    """The pairs with both rows kept, by their positions among those."""
    place = np.full(count, -1, dtype=np.int64)
    place[kept] = np.arange(len(kept))
    pairs = duplicates.assign(
        a=place[duplicates["a"].to_numpy()], b=place[duplicates["b"].to_numpy()]
    )
    return pairs[(pairs["a"] >= 0) & (pairs["b"] >= 0)].reset_index(drop=True)


def _report_bad(manifest: Manifest, cache: ImageCache, config: DataBase) -> None:
    bad = cache.bad
    named = "; ".join(f"{path} ({reason})" for path, reason in list(bad.items())[:_NAMED])
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    found = f"{len(bad)} of {len(manifest)} images under {manifest.root} can't be read whole"
    if config.on_bad_image == "error":
        raise UserError(f"{found}: {named}{more}; replace them or take data.on_bad_image=skip")
    warn(f"{found} and are left out: {named}{more}. Replace or delete them to end this warning.")
