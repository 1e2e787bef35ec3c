"""Which trials come next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cxrlab.sweeps.records import TrialRecord, same_run


@dataclass(frozen=True)
class Batch:
    """Trials to launch together, with consecutive numbers from `first`; false when empty."""

    first: int
    jobs: tuple[tuple[str, ...], ...]

    def __bool__(self) -> bool:
        return bool(self.jobs)


class Proposals(Protocol):
    """Proposes trials until there are no more."""

    def next(self, at_most: int | None) -> Batch:
        """The next trials, at most so many; None: as many as there are to launch at once."""

    def learn(self, records: Sequence[TrialRecord]) -> None:
        """Take note of how the trials of the last batch ended."""


class Grid:
    """A list of trials, without those that an earlier session of the sweep finished."""

    def __init__(self, jobs: Sequence[tuple[str, ...]], records: Sequence[TrialRecord]) -> None:
        """Propose the jobs that no record of a finished trial has."""
        finished = {same_run(r.overrides) for r in records if r.status == "FINISHED"}
        self._left = [job for job in jobs if same_run(job) not in finished]
        self._number = 1 + max((record.number for record in records), default=-1)

    def next(self, at_most: int | None) -> Batch:
        """The next trials in the order of the list."""
        jobs, self._left = tuple(self._left[:at_most]), self._left[len(self._left[:at_most]) :]
        batch = Batch(self._number, jobs)
        self._number += len(jobs)
        return batch

    def learn(self, records: Sequence[TrialRecord]) -> None:
        """Nothing to do: the list is fixed."""
