from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import pandas as pd
import pytest
from helpers.leaks import Image, gamma, jpeg, picture, resized, thumbs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cxrlab.data.duplicates import find_duplicates
from cxrlab.data.phantom.cohort import draw_case

_COUNT = 40
_ORIGINALS = [picture(seed) for seed in range(_COUNT)]

_COPIES: dict[str, Callable[[Image], Image]] = {
    "JPEG 50": lambda i: jpeg(i, 50),
    "JPEG 75": lambda i: jpeg(i, 75),
    "JPEG 95": lambda i: jpeg(i, 95),
    "half the side": lambda i: resized(i, 0.5),
    "three quarters": lambda i: resized(i, 0.75),
    "one and a half": lambda i: resized(i, 1.5),
    "stretched": lambda i: cv2.resize(i, (200, 150), interpolation=cv2.INTER_LINEAR),
    "small and JPEG 50": lambda i: jpeg(resized(i, 0.75), 50),
    "gamma 0.7": lambda i: gamma(i, 0.7),
    "gamma 1.4": lambda i: gamma(i, 1.4),
    "contrast": lambda i: cv2.convertScaleAbs(i, alpha=0.8, beta=25),
    "equalised": cv2.equalizeHist,
}


def _find(digests: list[str], images: np.ndarray) -> pd.DataFrame:
    return find_duplicates(digests, images, np.arange(len(images)))


def _names(count: int) -> list[str]:
    return [str(i) for i in range(count)]


def _pairs(found: pd.DataFrame) -> set[tuple[int, int, str]]:
    return set(zip(found["a"], found["b"], found["kind"], strict=True))


def _groups(found: pd.DataFrame, count: int) -> int:
    links = coo_array((np.ones(len(found)), (found["a"], found["b"])), shape=(count, count))
    return int(connected_components(links, directed=False)[0])


@pytest.mark.parametrize("change", _COPIES.values(), ids=_COPIES)
def test_the_same_picture_in_another_file_is_found_and_nothing_else(
    change: Callable[[Image], Image],
) -> None:
    images = thumbs([*_ORIGINALS, *map(change, _ORIGINALS)])
    found = _find(_names(len(images)), images)
    assert _pairs(found) == {(i, i + _COUNT, "near") for i in range(_COUNT)}
    assert found["similarity"].between(0.85, 1.0).all()


@pytest.mark.parametrize("change", [lambda i: i, lambda i: jpeg(gamma(i, 1.3), 60)])
def test_a_mirrored_picture_is_found_as_such(change: Callable[[Image], Image]) -> None:
    images = thumbs([*_ORIGINALS, *(change(np.fliplr(i).copy()) for i in _ORIGINALS)])
    found = _find(_names(len(images)), images)
    assert _pairs(found) == {(i, i + _COUNT, "mirrored") for i in range(_COUNT)}


def test_images_of_one_patient_are_no_duplicates() -> None:
    cases = [
        draw_case(7, patient, image, prevalence=0.5, difficulty=0.5)
        for patient in range(12)
        for image in range(4)
    ]
    images = np.stack([case.render(64).image for case in cases])
    assert _find(_names(len(images)), images).empty


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=0, max_size=25))
def test_equal_files_give_one_pair_less_than_there_are_files(keys: list[int]) -> None:
    images = np.zeros((0, 64, 64), np.uint8) if not keys else thumbs([_ORIGINALS[k] for k in keys])
    found = _find([str(k) for k in keys], images)
    assert len(found) == len(keys) - len(set(keys))
    assert set(found["kind"]) <= {"exact"}
    assert (found["a"] < found["b"]).all()
    assert all(keys[a] == keys[b] for a, b in zip(found["a"], found["b"], strict=True))
    assert _groups(found, len(keys)) == len(set(keys))


def test_a_copy_of_a_copy_stays_in_the_group() -> None:
    first = picture(3)
    images = thumbs([first, first, jpeg(first, 50), np.fliplr(resized(first, 0.5)).copy()])
    found = _find(["a", "a", "b", "c"], images)
    assert _groups(found, 4) == 1
    assert set(found["kind"]) == {"exact", "near", "mirrored"}


def test_blank_images_are_compared_by_file_alone() -> None:
    images = np.repeat(np.arange(0, 60, dtype=np.uint8), 64 * 64).reshape(60, 64, 64)
    images[1] = images[0]
    assert _find(_names(60), images).empty
    found = _find(["0", *_names(59)], images)
    assert _pairs(found) == {(0, 1, "exact")}


def test_thousands_of_one_picture_are_one_group_and_few_pairs() -> None:
    rng = np.random.default_rng(0)
    base = thumbs([picture(5)]).astype(np.int16)
    images = np.clip(base + rng.integers(-3, 4, (1500, 64, 64)), 0, 255).astype(np.uint8)
    begun = time.perf_counter()
    found = _find(_names(1500), images)
    assert time.perf_counter() - begun < 30
    assert _groups(found, 1500) == 1
    assert len(found) < 16 * 1500
    same = np.repeat(thumbs([picture(5)]), 1500, axis=0)
    assert len(_find(_names(1500), same)) == 1499


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_row_order_does_not_matter(random) -> None:
    images = thumbs([*_ORIGINALS[:10], *(jpeg(i, 60) for i in _ORIGINALS[:10])])
    order = list(range(20))
    random.shuffle(order)
    found = _find(_names(20), images[order])
    back = {frozenset((order[a], order[b])) for a, b in zip(found["a"], found["b"], strict=True)}
    assert back == {frozenset((i, i + 10)) for i in range(10)}


def test_rows_say_which_thumbnail_belongs_to_which_file() -> None:
    images = thumbs(_ORIGINALS[:6])
    store = np.concatenate([images[:1], images[::-1]])
    rows = np.array([6, 5, 0])  # the first and the third file show one picture
    found = find_duplicates(["a", "b", "c"], store, rows)
    assert found[["a", "b"]].to_numpy().tolist() == [[0, 2]]
