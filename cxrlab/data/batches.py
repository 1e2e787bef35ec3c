"""Whole batches, gathered by index: no workers, no copies an image."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrlab.data.ahead import ahead
from cxrlab.data.banks import Bank

_AHEAD = 2  # batches


class Batch(TypedDict):
    """Images, or their features, and what is known of them.

    Attributes:
        image: (B, 1, H, W); uint8 as loaded, float32 in [0, 1] once on the device.
        features: (B, F) float32, in place of the images where the backbone is frozen.
        target: (B,) int64 class index; (B, K) float32 findings, NaN where unknown.
        index: (B,) int64 row in the split; -1: a filler, to be left out.
        seed: what the random changes of this batch are drawn from; None for no changes.
    """

    image: NotRequired[Tensor]
    features: NotRequired[Tensor]
    target: Tensor
    index: Tensor
    seed: int | None


class Share(NamedTuple):
    """Which part of each batch: that of process `rank` of `ranks`."""

    rank: int = 0
    ranks: int = 1


class BatchLoader:
    """Batches of one split, gathered by index, or one process's share of each.

    All processes go through the same batches at the same time and cut each into equal parts. What
    is trained on is cut without rest; elsewhere a share that is short of an image gets a filler.

    Order and seeds are functions of (seed, epoch, batch) alone, so an epoch can be entered in
    the middle and a resumed run sees what an unbroken one would have seen.

    Attributes:
        done: batches of this pass whose step is complete; set by who makes the steps.
    """

    def __init__(
        self,
        bank: Bank,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64] | NDArray[np.float32],
        batch_size: int,
        *,
        seed: int | None = None,
        share: Share = Share(),  # noqa: B008  immutable
    ) -> None:
        """Set up the loader.

        Args:
            bank: inputs of the whole manifest.
            rows: (N,) which rows of the manifest belong to the split.
            targets: (N,) class indices, or (N, K) findings, of those rows.
            batch_size: images a batch, over all shares.
            seed: shuffle, and drop what is left of the last batch, in the order this draws;
                None keeps the order and every image.
            share: what of each batch to make.

        Raises:
            ValueError: fewer images to train on than shares.
        """
        self._bank = bank
        self._rows = torch.from_numpy(rows).to(bank.device)
        self._targets = torch.from_numpy(targets).to(bank.device)
        self._seed = seed
        self._share = share
        self.batch_size = min(batch_size, len(rows))
        if seed is not None:
            self.batch_size -= self.batch_size % share.ranks
            if not self.batch_size:
                raise ValueError(f"{len(rows)} images can't be cut into {share.ranks} shares")
        self.epoch = 0
        self._resume = self.done = 0

    def __len__(self) -> int:
        whole, rest = divmod(len(self._rows), self.batch_size)
        return whole + (1 if rest and self._seed is None else 0)

    def __iter__(self) -> Iterator[Batch]:
        return ahead(self._batches(), _AHEAD) if self._bank.prefetch else self._batches()

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

    def _batches(self) -> Iterator[Batch]:
        start, self._resume = self._resume, 0
        # The order goes to the device once an epoch, so that no step waits for a transfer.
        order = torch.from_numpy(self._order()).to(self._bank.device)
        for batch in range(start, len(self)):
            whole = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            index, known = self._part(whole)
            inputs = self._bank.gather(self._rows[index], self.epoch)
            made: Batch = {
                "target": self._targets[index],
                "index": known,
                "seed": self._batch_seed(batch),
            }
            made[self._bank.key] = inputs
            yield made

    def _part(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Which images to gather, and the same with -1 where one is a filler."""
        rank, ranks = self._share
        part = batch[rank::ranks]
        if len(part) * ranks >= len(batch):
            return part, part
        return torch.cat([part, batch[:1]]), torch.cat([part, batch.new_tensor([-1])])

    def _order(self) -> NDArray[np.int64]:
        if self._seed is None:
            return np.arange(len(self._rows))
        order = np.random.default_rng([self._seed, self.epoch]).permutation(len(self._rows))
        batches = order[: len(self) * self.batch_size].reshape(len(self), self.batch_size)
        # Ascending reads are kinder to a disk when the map is larger than memory.
        return np.sort(batches, axis=1).ravel()

    def _batch_seed(self, batch: int) -> int | None:
        if self._seed is None:
            return None
        drawn = [self._seed, self.epoch, batch]
        if self._share.ranks > 1:
            drawn.append(self._share.rank)
        state = np.random.SeedSequence(drawn).generate_state(1, np.uint64)
        return int(state[0] >> 1)
