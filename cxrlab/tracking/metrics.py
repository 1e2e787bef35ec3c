"""Metrics on their way out: first to `metrics.csv`, then in batches to whoever sends them."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
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


class MetricBuffer:
    """Keeps metrics until there are 1,000, or the oldest is 10 s old, or `flush` is called.

    Writing each as it comes would cost a database transaction a step.
    """

    def __init__(self, path: Path, send: Callable[[Sequence[Point]], None]) -> None:
        """Write to the CSV file `path` (appended to), then `send` at most 1,000 points a call."""
        self._path = path
        self._send = send
        self._unwritten: list[Point] = []
        self._unsent: list[Point] = []
        self._oldest = 0.0

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Take one step's values; NaN and infinities are values like others."""
        now = time.time_ns() // 1_000_000
        points = [Point(name, step, float(value), now) for name, value in values.items()]
        if not self._unsent:
            self._oldest = time.monotonic()
        self._unwritten += points
        self._unsent += points
        if len(self._unsent) >= BATCH or time.monotonic() - self._oldest > _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write and send everything. A point is dropped only after it was written and sent.

        Raises:
            UserError: The CSV file can't be written; what can be sent has been sent.
        """
        try:
            if self._unwritten:
                self._write(self._unwritten)
                self._unwritten.clear()
        finally:
            while self._unsent:
                self._send(self._unsent[:BATCH])
                del self._unsent[:BATCH]

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
