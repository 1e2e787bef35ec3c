from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.data.partition import partition
from cxrlab.errors import UserError

# Groups by class and size: what a dataset of patients looks like to the splitter.
pure = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=8, max_size=80)
shares = st.one_of(
    st.integers(2, 6).map(lambda parts: [1 / parts] * parts),
    st.floats(0.05, 0.95).map(lambda share: [1 - share, share]),
)


def rows(groups: list[tuple[int, int]]) -> tuple[list[str], np.ndarray, np.ndarray]:
    number = np.repeat(np.arange(len(groups)), [size for _, size in groups])
    kind = np.repeat([label for label, _ in groups], [size for _, size in groups])
    paths = [f"g{group:03d}/{place}.png" for place, group in enumerate(number)]
    return paths, number, kind[:, None] == np.arange(4)


@given(pure, shares, st.integers(0, 5))
def test_no_group_is_parted_and_every_image_is_in_one_part(groups, shares, seed) -> None:
    paths, number, labels = rows(groups)
    parts = partition(paths, number, labels, shares, seed)
    assert parts.min() >= 0
    assert parts.max() < len(shares)
    for group in range(len(groups)):
        assert len(set(parts[number == group])) == 1


@given(pure, shares, st.integers(0, 5))
def test_every_class_is_within_one_group_of_its_share(groups, shares, seed) -> None:
    paths, number, labels = rows(groups)
    parts = partition(paths, number, labels, shares, seed)
    for label in range(4):
        sizes = [size for kind, size in groups if kind == label]
        for part, share in enumerate(shares):
            images = labels[parts == part, label].sum()
            assert abs(images - share * sum(sizes)) <= max(sizes, default=0) + 1e-9


@given(pure, shares, st.integers(0, 5))
def test_no_part_lacks_a_class_that_has_a_group_for_each(groups, shares, seed) -> None:
    paths, number, labels = rows(groups)
    parts = partition(paths, number, labels, shares, seed)
    for label in range(4):
        if sum(kind == label for kind, _ in groups) >= len(shares):
            assert all(labels[parts == part, label].any() for part in range(len(shares)))


@given(st.data())
def test_groups_that_mix_findings_are_kept_whole_and_parts_are_about_as_large(data) -> None:
    findings = data.draw(st.lists(st.integers(1, 15), min_size=60, max_size=120))
    number = np.arange(len(findings)) // 3
    labels = (np.array(findings)[:, None] >> np.arange(4)) & 1 == 1
    paths = [f"{place}.png" for place in range(len(findings))]
    parts = partition(paths, number, labels, [0.8, 0.2], 0)
    for group in set(number):
        assert len(set(parts[number == group])) == 1
    assert abs((parts == 1).mean() - 0.2) < 0.15


@given(pure, shares, st.integers(0, 5), st.randoms(use_true_random=False))
def test_neither_row_order_nor_group_numbers_matter(groups, shares, seed, random) -> None:
    paths, number, labels = rows(groups)
    first = dict(zip(paths, partition(paths, number, labels, shares, seed), strict=True))
    order = list(range(len(paths)))
    random.shuffle(order)
    renamed = np.array([1000 - n for n in number])[order]
    shuffled = [paths[place] for place in order]
    again = partition(shuffled, renamed, labels[order], shares, seed)
    assert dict(zip(shuffled, again, strict=True)) == first


def test_the_cut_is_the_same_on_every_machine_and_in_every_release() -> None:
    paths, number, labels = rows([(place % 2, 1 + place % 3) for place in range(20)])
    parts = partition(paths, number, labels, [0.75, 0.25], seed=3)
    assert sorted({int(n) for n in number[parts == 1]}) == [6, 11, 14, 18, 19]


def test_another_seed_is_another_cut() -> None:
    paths, number, labels = rows([(place % 2, 1) for place in range(40)])
    cuts = {tuple(partition(paths, number, labels, [0.8, 0.2], seed)) for seed in range(4)}
    assert len(cuts) == 4


def test_too_few_groups_are_refused() -> None:
    paths, number, labels = rows([(0, 2), (1, 1)])
    with pytest.raises(UserError, match="2 patients can't be cut into 5 parts"):
        partition(paths, number, labels, [0.2] * 5, 0)


def test_a_small_part_gets_large_groups_as_well() -> None:
    sizes = [1] * 200 + [5] * 40 + [12] * 10
    paths, number, labels = rows([(0, size) for size in sizes])
    parts = partition(paths, number, labels, [0.9, 0.1], 0)
    held_out = [sizes[group] for group in sorted(set(number[parts == 1]))]
    assert held_out.count(12) == 1
    assert held_out.count(5) == 4
    assert held_out.count(1) == 20
