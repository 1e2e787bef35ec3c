"""Metrics on their way out: first to `metrics.csv`, then in batches to whoever sends them."""

from __future__ import annotations

import csv
import io
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab.errors import UserError

BATCH = 1000  # mlflow.utils.validation.MAX_METRICS_PER_BATCH
_SECONDS = 10.0


class Point(NamedTuple):
    """One value of one metric; time in milliseconds since 1970."""

    name: str
    step: int
    value: float
    time: int


def read_points(path: Path) -> list[Point]:
    """The points of a `metrics.csv`, but for a last line that a killed process cut short."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    rows = csv.reader(text[: text.rfind("\n") + 1].splitlines()[1:])
    return [Point(name, int(step), float(value), int(time)) for name, step, value, time in rows]


class MetricBuffer:
    """Keeps metrics until there are 1,000, or the oldest is 10 s old, or `flush` is called.

    Writing each as it comes would cost a database transaction a step. One thread adds and
    writes; `send` may run in another at the same time.

    A run that goes on from a checkpoint repeats the steps since: what the file has of them
    already is not taken again.
    """

    def __init__(
        self,
        path: Path,
        send: Callable[[Sequence[Point]], None],
        hand_over: Callable[[Callable[[], None]], None] = lambda job: job(),
    ) -> None:
        """Collect metrics.

        Args:
            path: the CSV file, appended to.
            send: takes at most 1,000 points a call.
            hand_over: takes `send` of this buffer, to be called now or later.
        """
        self._path = path
        self._sender = send
        self._hand_over = hand_over
        self._unwritten: list[Point] = []
        self._unsent: deque[Point] = deque()  # the one thing that two threads share
        self._oldest = 0.0
        self._drop_half_line()
        self._known = {(point.name, point.step) for point in read_points(path)}

    def catch_up(self, stored: Collection[tuple[str, int]], points: Sequence[Point]) -> None:
        """Level the file and the other side after the process that wrote both was killed.

        Args:
            stored: name and step of everything that was sent.
            points: what was sent and is not in the file.
        """
        have = set(stored)
        self._unsent.extend(p for p in read_points(self._path) if (p.name, p.step) not in have)
        fresh = [p for p in points if (p.name, p.step) not in self._known]
        self._known.update((p.name, p.step) for p in fresh)
        self._unwritten += fresh
        self.flush()

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Take one step's values; NaN and infinities are values like others."""
        now = time.time_ns() // 1_000_000
        points = [
            Point(name, step, float(value), now)
            for name, value in values.items()
            if (name, step) not in self._known
        ]
        if not self._unwritten:
            self._oldest = time.monotonic()
        self._unwritten += points
        self._unsent.extend(points)
        if len(self._unwritten) >= BATCH or time.monotonic() - self._oldest > _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write everything and hand it over to be sent.

        Raises:
            UserError: The CSV file can't be written; what can be sent has been handed over.
        """
        try:
            self.write()
        finally:
            if self._unsent:
                self._hand_over(self.send)

    def write(self) -> None:
        """Append to the CSV file what it does not have yet.

        Raises:
            UserError: It can't be written; the points are kept for the next try.
        """
        if self._unwritten:
            self._write(self._unwritten)
            self._unwritten.clear()

    def send(self) -> None:
        """Send what has been added so far; a point that could not be sent is kept."""
        left = len(self._unsent)  # what is added meanwhile waits for the next batch
        while left > 0:
            batch = [self._unsent[index] for index in range(min(BATCH, left))]
            self._sender(batch)
            for _ in batch:
                self._unsent.popleft()
            left -= len(batch)

    def _drop_half_line(self) -> None:
        if self._path.exists():
            whole = self._path.read_bytes().rfind(b"\n") + 1
            if whole < self._path.stat().st_size:
                os.truncate(self._path, whole)

    def _write(self, points: Sequence[Point]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        size = self._path.stat().st_size if self._path.exists() else 0
        if size == 0:
            writer.writerow(Point._fields)
        writer.writerows(points)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(text.getvalue())
        except OSError as error:
            if self._path.exists():
                os.truncate(self._path, size)  # no half line for the next try to follow
            raise UserError(
                f"metrics {self._path}: {error.strerror or error}: free some space or choose "
                "another output folder"
            ) from error
