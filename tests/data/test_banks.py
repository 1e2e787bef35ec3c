from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cxrlab.data.banks import Features, MappedImages, ResidentImages, image_bank

PIXELS = np.random.default_rng(0).integers(0, 256, (3000, 4, 4), np.uint8)
ROWS = np.random.default_rng(1).permutation(3000)[:2500]
CPU = torch.device("cpu")


def test_mapped_and_resident_images_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "pixels.u8"
    PIXELS.tofile(file)
    mapped = np.memmap(file, np.uint8, "r", shape=PIXELS.shape)
    index = torch.tensor([2499, 0, 1023, 1024])
    found = MappedImages(mapped, ROWS, pin=False).gather(index, epoch=0)
    assert torch.equal(found, ResidentImages(mapped, ROWS, CPU).gather(index, epoch=3))
    assert np.array_equal(found[:, 0].numpy(), PIXELS[ROWS[index.numpy()]])
    assert found.shape == (4, 1, 4, 4)
    assert found.dtype == torch.uint8


def test_epochs_take_turns_among_the_views() -> None:
    views = [np.full((5, 3), value, np.float32) for value in (0, 1, 2)]
    bank = Features(views, CPU)
    seen = [int(bank.gather(torch.tensor([4]), epoch)[0, 0]) for epoch in range(6)]
    assert seen == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(("free", "kind"), [(100_000, ResidentImages), (50_000, MappedImages)])
def test_images_lie_on_a_gpu_where_half_of_its_memory_holds_them(
    free: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10 * free))
    monkeypatch.setattr(torch, "empty", _on_the_host(torch.empty))
    bank = image_bank(PIXELS, ROWS, torch.device("cuda"))
    assert isinstance(bank, kind)
    assert bank.prefetch == (kind is MappedImages)


def test_a_cpu_reads_the_map() -> None:
    assert isinstance(image_bank(PIXELS, ROWS, CPU), MappedImages)


def _on_the_host(empty):
    return lambda *args, device=None, **options: empty(*args, **options)
