"""Cut groups of images into parts in which every class keeps its share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.errors import UserError


def partition(
    paths: Sequence[str],
    groups: NDArray[np.int64],
    labels: NDArray[np.bool_],
    shares: Sequence[float],
    seed: int,
) -> NDArray[np.int64]:
    """Iterative stratification of whole groups.

    Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-Label Data, ECML PKDD 2011:
    the class with the fewest images left is dealt with first, and each of its groups goes to
    the part that lacks most of it. Here groups take the place of images, larger ones go first, a
    part's lack is measured against its share, and the last groups of a class are kept for parts
    that have none of it. Where no group mixes classes and the shares are equal or two, each part's
    images of each class are within one group of its share, and each part has the class if it has
    as many groups as there are parts.

    The draw depends on the seed and the paths alone: not on the order of the rows, the numbers of
    the groups, the machine or the version of any generator.

    Args:
        paths: of N images.
        groups: (N,) images with the same number stay together.
        labels: (N, C) whether an image belongs to a class; each to at least one.
        shares: of the P parts, each above 0, with sum 1.
        seed: of the draw.

    Returns:
        (N,) number of the part, 0..P-1.

    Raises:
        UserError: there are fewer groups than parts.
    """
    codes, count = _number(groups)
    if count < len(shares):
        raise UserError(
            f"{count} patients can't be cut into {len(shares)} parts without splitting one; "
            "use more data, a larger data.val_fraction or fewer data.folds"
        )
    holds = np.zeros((count, labels.shape[1]), dtype=np.int64)
    np.add.at(holds, codes, labels)
    sizes = np.bincount(codes, minlength=count)
    table = _Parts(holds, sizes, np.asarray(shares))
    order = _draw(paths, codes, count, seed)
    while (open_ := table.part < 0).any():
        left = holds[open_].sum(axis=0)
        rarest = int(np.where(left > 0, left, left.max() + 1).argmin())
        table.deal(order[open_[order] & (holds[order, rarest] > 0)], rarest)
    return table.part[codes]


class _Parts:
    """What each part still lacks of its share, while groups are dealt."""

    def __init__(
        self, holds: NDArray[np.int64], sizes: NDArray[np.int64], shares: NDArray[np.float64]
    ) -> None:
        self.part = np.full(len(holds), -1, dtype=np.int64)
        self._holds, self._sizes, self._shares = holds, sizes, shares
        self._lacks = shares[:, None] * holds.sum(axis=0)[None, :]
        self._lacks_images = shares * sizes.sum()
        self._has = np.zeros((len(shares), holds.shape[1]), dtype=np.int64)

    def deal(self, members: NDArray[np.int64], label: int) -> None:
        """Give the groups of one class away, those with most of it first."""
        ranked = members[np.argsort(-self._holds[members, label], kind="stable")]
        for place, group in enumerate(ranked):
            empty = self._has[:, label] == 0
            must_fill = len(ranked) - place <= empty.sum()
            allowed = np.flatnonzero(empty) if must_fill else np.arange(len(empty))
            self._give(group, self._neediest(allowed, label, self._holds[group, label]))

    def _neediest(self, allowed: NDArray[np.int64], label: int, images: int) -> int:
        """The part that lacks most for its size and has room, so that all get groups of all sizes.

        Where none has room, the one that lacks most images.
        """
        lacks = self._lacks[allowed, label]
        room = lacks >= images
        need = lacks / self._shares[allowed] if room.any() else lacks
        order = np.lexsort((self._lacks_images[allowed], lacks, need, room))
        return int(allowed[order[-1]])

    def _give(self, group: int, part: int) -> None:
        self.part[group] = part
        self._lacks[part] -= self._holds[group]
        self._lacks_images[part] -= self._sizes[group]
        self._has[part] += self._holds[group]


def _number(groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    codes, names = pd.factorize(groups)
    return np.asarray(codes, np.int64), len(names)


def _draw(
    paths: Sequence[str], codes: NDArray[np.int64], count: int, seed: int
) -> NDArray[np.int64]:
    """The groups in an order that the seed shuffles; a group is known by its first path."""
    first = pd.Series(list(paths)).groupby(codes).min().reindex(range(count))
    keys = [hashlib.blake2b(f"{seed}\n{path}".encode(), digest_size=16).digest() for path in first]
    return np.array(sorted(range(count), key=keys.__getitem__), dtype=np.int64)
