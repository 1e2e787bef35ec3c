"""Make the next items while the last one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """The same items in the same order, up to `depth` of them made ahead by one thread.

    An exception of the iteration is raised where its item would have come.
    """
    iterator = iter(items)

    def made() -> list[T]:
        return list(islice(iterator, 1))

    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[list[T]]] = deque(thread.submit(made) for _ in range(depth))
        while found := waiting.popleft().result():
            waiting.append(thread.submit(made))
            yield found[0]
