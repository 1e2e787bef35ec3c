from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.data.banks import MappedImages
from cxrlab.data.batches import BatchLoader

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
