from __future__ import annotations

import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.data.feature_store import FeatureStore

WIDTH = 3


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def features(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, np.float32)[:, None] + np.zeros(WIDTH, np.float32)


def add(folder: Path, numbers: list[int]) -> None:
    FeatureStore(folder, WIDTH).add([digest(n) for n in numbers], features(numbers))


@given(st.lists(st.lists(st.integers(0, 20), unique=True, max_size=6), max_size=5))
def test_what_was_added_is_read_in_any_order(additions: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for numbers in additions:
            add(Path(folder), numbers)
        kept = sorted({n for numbers in additions for n in numbers}, reverse=True)
        store = FeatureStore(Path(folder), WIDTH)
        assert np.array_equal(store.read([digest(n) for n in kept])[:, 0], kept)
        assert store.missing([digest(n) for n in [*kept, 99, 99]]) == [len(kept)]


@pytest.mark.parametrize(("file", "cut"), [("features.f32", 5), ("digests.txt", 7)])
def test_a_half_written_row_is_as_if_never_written(tmp_path: Path, file: str, cut: int) -> None:
    add(tmp_path, [1, 2])
    damaged = tmp_path / file
    damaged.write_bytes(damaged.read_bytes()[:-cut])
    store = FeatureStore(tmp_path, WIDTH)
    assert store.missing([digest(1), digest(2)]) == [1]
    add(tmp_path, [3, 2])
    assert store.read([digest(n) for n in (1, 2, 3)])[:, 0].tolist() == [1, 2, 3]


def test_many_add_at_once_without_loss_and_nothing_twice(tmp_path: Path) -> None:
    jobs = [[n] for start in (0, 10, 20, 5) for n in range(start, start + 15)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, [tmp_path] * len(jobs), jobs))
    read = FeatureStore(tmp_path, WIDTH).read([digest(n) for n in range(35)])
    assert np.array_equal(read, features(list(range(35))))
    assert (tmp_path / "features.f32").stat().st_size == 35 * WIDTH * 4


def test_an_unknown_image_is_an_error(tmp_path: Path) -> None:
    for known in ([], [1]):
        add(tmp_path, known)
        with pytest.raises(KeyError):
            FeatureStore(tmp_path, WIDTH).read([digest(2)])
