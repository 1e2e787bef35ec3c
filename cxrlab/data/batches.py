"""Whole batches straight from the memory map: no workers, no copies an image."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Batch(TypedDict):
    """Images and what is known of them.

    Attributes:
        image: (B, 1, H, W); uint8 as loaded, float32 in [0, 1] once on the device.
        target: (B,) int64 class index; (B, K) float32 findings, NaN where unknown.
        index: (B,) int64 row in the split.
        seed: what the random changes of this batch are drawn from; None for no changes.
    """

    image: Tensor
    target: Tensor
    index: Tensor
    seed: int | None


class BatchLoader:
    """Batches of one split, gathered by index.

    Order and seeds are functions of (seed, epoch, batch) alone, so an epoch can be entered in
    the middle and a resumed run sees what an unbroken one would have seen.

    Attributes:
        done: batches of this pass whose step is complete; set by who makes the steps.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        rows: NDArray[np.int64],
        targets: NDArray[np.int64] | NDArray[np.float32],
        batch_size: int,
        *,
        seed: int | None = None,
    ) -> None:
        """Set up the loader.

        Args:
            pixels: (M, H, W) uint8, possibly memory-mapped.
            rows: (N,) which rows of `pixels` belong to the split.
            targets: (N,) class indices, or (N, K) findings.
            batch_size: images a batch.
            seed: shuffle, and drop what is left of the last batch, in the order this draws;
                None keeps the order and every image.
        """
        self._pixels, self._rows, self._targets = pixels, rows, targets
        self._seed = seed
        self.batch_size = min(batch_size, len(rows))
        self.epoch = 0
        self._resume = self.done = 0

    def __len__(self) -> int:
        whole, rest = divmod(len(self._rows), self.batch_size)
        return whole + (1 if rest and self._seed is None else 0)

    def __iter__(self) -> Iterator[Batch]:
        start, self._resume = self._resume, 0
        order = self._order()
        for batch in range(start, len(self)):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield self._gather(chosen, batch)

    @property
    def batch_sampler(self) -> SimpleNamespace:
        """Where Lightning looks for `set_epoch`, before every pass and after a resumption."""
        return SimpleNamespace(sampler=self)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """How many batches of this pass are trained on; Lightning keeps it in its checkpoints."""
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next pass where an interrupted one stopped."""
        self._resume = state["done"]

    def _order(self) -> NDArray[np.int64]:
        if self._seed is None:
            return np.arange(len(self._rows))
        return np.random.default_rng([self._seed, self.epoch]).permutation(len(self._rows))

    def _gather(self, index: NDArray[np.int64], batch: int) -> Batch:
        # Ascending reads are kinder to a disk when the map is larger than memory.
        index = np.sort(index)
        images = torch.from_numpy(self._pixels[self._rows[index]]).unsqueeze(1)
        return {
            "image": images,
            "target": torch.from_numpy(self._targets[index]),
            "index": torch.from_numpy(index),
            "seed": self._batch_seed(batch),
        }

    def _batch_seed(self, batch: int) -> int | None:
        if self._seed is None:
            return None
        state = np.random.SeedSequence([self._seed, self.epoch, batch]).generate_state(1, np.uint64)
        return int(state[0] >> 1)
