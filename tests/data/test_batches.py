from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from cxrlab.data.banks import MappedImages
from cxrlab.data.batches import BatchLoader, Share

PIXELS = np.arange(40, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)


def loader(n: int = 30, batch: int = 8, seed: int | None = None) -> BatchLoader:
    rows = np.arange(n, dtype=np.int64) + 3  # the split does not begin with the manifest
    bank = MappedImages(PIXELS, np.arange(2, 40), pin=False)  # nor the manifest with the cache
    return BatchLoader(bank, rows, (rows + 2) % 2, batch, seed=seed)


@given(st.integers(1, 30), st.integers(1, 12))
def test_evaluation_sees_every_image_once_in_order(n: int, batch: int) -> None:
    batches = list(loader(n, batch))
    assert torch.cat([b["index"] for b in batches]).tolist() == list(range(n))
    assert len(batches) == len(loader(n, batch))
    assert all(b["seed"] is None for b in batches)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 3))
def test_training_repeats_no_image_within_an_epoch(n: int, batch: int, seed: int) -> None:
    batches = list(loader(n, batch, seed))
    seen = torch.cat([b["index"] for b in batches]).tolist()
    assert len(seen) == len(set(seen)) == len(batches) * min(batch, n)


def test_images_targets_and_index_belong_together() -> None:
    for batch in loader(seed=1):
        row = batch["index"] + 5
        assert torch.equal(batch["image"][:, 0, 0, 0].long(), row)
        assert torch.equal(batch["target"], row % 2)
        assert batch["image"].dtype == torch.uint8


def test_epochs_differ_and_repeat() -> None:
    batches = loader(seed=1)

    def epoch(number: int) -> tuple[list[int], list[int | None]]:
        batches.set_epoch(number)
        seen = list(batches)
        return torch.cat([b["index"] for b in seen]).tolist(), [b["seed"] for b in seen]

    assert epoch(0) == epoch(0)
    assert epoch(0)[0] != epoch(1)[0]
    seeds = epoch(0)[1] + epoch(1)[1]
    assert len(set(seeds)) == len(seeds)


def test_an_epoch_can_be_entered_in_the_middle() -> None:
    whole = [b["index"].tolist() for b in loader(seed=1)]
    interrupted = loader(seed=1)
    passes = iter(interrupted)
    for _ in range(3):  # the third is in hand, its step not complete
        next(passes)
    interrupted.done = 2
    resumed = loader(seed=1)
    resumed.load_state_dict(interrupted.state_dict())
    assert [b["index"].tolist() for b in resumed] == whole[2:]
    assert [b["index"].tolist() for b in resumed] == whole, "the next pass is whole again"


def shares(n: int, batch: int, ranks: int, seed: int | None, epoch: int = 0) -> list[list]:
    """The batches of every process."""
    made = []
    for rank in range(ranks):
        rows = np.arange(n, dtype=np.int64) + 3
        bank = MappedImages(PIXELS, np.arange(2, 40), pin=False)
        one = BatchLoader(bank, rows, (rows + 2) % 2, batch, seed=seed, share=Share(rank, ranks))
        one.set_epoch(epoch)
        made.append(list(one))
    return made


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 4), st.integers(0, 3))
def test_shares_of_training_are_equal_and_make_the_whole_batch(
    n: int, per_rank: int, ranks: int, epoch: int
) -> None:
    assume(n >= ranks)
    batch = per_rank * ranks
    parts = shares(n, batch, ranks, seed=1, epoch=epoch)
    assert len({len(part) for part in parts}) == 1
    whole = loader(n, batch - max(0, batch - n) - min(n, batch) % ranks, seed=1)
    whole.set_epoch(epoch)
    for together, *each in zip(whole, *parts, strict=True):
        assert len({len(b["index"]) for b in each}) == 1
        union = torch.cat([b["index"] for b in each])
        assert sorted(union.tolist()) == sorted(together["index"].tolist())
    seeds = [b["seed"] for part in parts for b in part]
    assert len(set(seeds)) == len(seeds)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 5))
def test_shares_of_evaluation_hold_every_image_once_and_fillers_apart(
    n: int, batch: int, ranks: int
) -> None:
    parts = shares(n, batch, ranks, seed=None)
    for each in zip(*parts, strict=True):
        assert len({len(b["index"]) for b in each}) == 1, "all processes meet at each batch"
        assert len({b["image"].shape for b in each}) == 1
    index = torch.cat([b["index"] for part in parts for b in part])
    assert sorted(index[index >= 0].tolist()) == list(range(n))


def test_too_few_images_for_the_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="3 images can't be cut into 4 shares"):
        shares(3, 8, 4, seed=0)
