from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.data.ahead import ahead


@given(st.lists(st.integers() | st.none(), max_size=20), st.integers(1, 5))
def test_the_items_are_the_same_in_the_same_order(items: list[int | None], depth: int) -> None:
    assert list(ahead(items, depth)) == items


def test_items_are_made_before_they_are_asked_for() -> None:
    third = threading.Event()

    def numbers() -> Iterator[int]:
        yield from (0, 1)
        third.set()
        yield 2

    made = ahead(numbers(), 2)
    next(made)
    assert third.wait(timeout=10)


def test_an_error_comes_where_its_item_would_have() -> None:
    def numbers() -> Iterator[int]:
        yield 0
        raise ValueError("broken")

    made = ahead(numbers(), 3)
    assert next(made) == 0
    with pytest.raises(ValueError, match="broken"):
        next(made)


def test_an_abandoned_iteration_leaves_no_thread() -> None:
    before = threading.active_count()
    made = ahead(iter(range(10)), 2)
    next(made)
    made.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
