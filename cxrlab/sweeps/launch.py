"""Trials on their way through Hydra's launcher, and what stops them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.plugins.launcher import Launcher

from cxrlab.config.validate import nearest
from cxrlab.errors import UserError, warn
from cxrlab.sweeps import lost
from cxrlab.sweeps.proposals import Proposals
from cxrlab.sweeps.records import Sweep, TrialRecord, read_trials
from cxrlab.sweeps.trial import one_line


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM stop a sweep as Ctrl-C does: by itself it would leave the trials behind.

    Raises:
        KeyboardInterrupt: the signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def launch_all(
    proposals: Proposals, launcher: Launcher, sweep: Sweep, folder: Path, uri: str, width: int
) -> None:
    """Launch what is proposed, at first as many as run at once, then look for the objective.

    Raises:
        UserError: no trial logs the objective, or the launcher can't start any.
    """
    first = True
    while batch := proposals.next(width if first else None):
        jobs = dict(enumerate(batch.jobs, batch.first))
        _launch(launcher, jobs, folder)
        records = lost.settle(sweep, folder, uri, "FAILED", "its process was killed")
        proposals.learn([record for record in records if record.number in jobs])
        if first:
            check_logged(sweep.objective, records)
        first = not any(record.status == "FINISHED" for record in records)


def _launch(launcher: Launcher, jobs: Mapping[int, tuple[str, ...]], folder: Path) -> None:
    """Run trials; where a killed process takes the launcher along, run those that had not begun."""
    left = dict(jobs)
    while left:
        first, group = _consecutive(left)
        try:
            launcher.launch([list(job) for job in group], initial_job_idx=first)
            begun = set(range(first, first + len(group)))
        except Exception as error:
            begun = left.keys() & {record.number for record in read_trials(folder)}
            warn(
                f"the launcher stopped ({one_line(error)}): the trials that ran are lost; "
                f"{len(left) - len(begun)} others follow"
            )
            if not begun:  # none came to its start, so the next would not either
                raise UserError(
                    f"hydra.launcher: {one_line(error)}; no trial could be started, so check the "
                    "launcher's own settings, or leave hydra/launcher out"
                ) from error
        left = {number: job for number, job in left.items() if number not in begun}


def _consecutive(jobs: Mapping[int, tuple[str, ...]]) -> tuple[int, list[tuple[str, ...]]]:
    """The first of the jobs with those that follow it without a gap, as launchers number them."""
    first = min(jobs)
    group: list[tuple[str, ...]] = []
    while first + len(group) in jobs:
        group.append(jobs[first + len(group)])
    return first, group


def check_logged(objective: Sequence[str], records: Sequence[TrialRecord]) -> None:
    """Whether finished trials have the metrics that decide.

    Raises:
        UserError: none has.
    """
    finished = [record for record in records if record.status == "FINISHED"]
    for metric in objective:
        logged = {name for record in finished for name in record.values()}
        if finished and metric not in logged:
            names = sorted(name for name in logged if name.startswith("val/"))
            raise UserError(
                f"sweep.objective={metric}: no trial logs it; {nearest(metric, names)}; "
                f"logged on validation: {', '.join(names)}"
            )
