"""Trials whose process or tracking server went away: their records and their MLflow runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from cxrlab.config.schema import TrackingConfig
from cxrlab.errors import UserError, warn
from cxrlab.layout import UNSENT_FILE
from cxrlab.sweeps.records import (
    LOCK_FILE,
    Sweep,
    TrialRecord,
    command_line,
    read_trials,
    repeatable,
    split_override,
)
from cxrlab.sweeps.tags import FOLDER_TAG, NAME_TAG, PARENT_TAG, TRIAL_TAG, trial_tags
from cxrlab.tracking.store import Store, StoreError, one_line_errors

_log = logging.getLogger("cxrlab")


def settle(
    sweep: Sweep, folder: Path, uri: str, status: Literal["FAILED", "KILLED"], reason: str
) -> list[TrialRecord]:
    """End every trial whose process is gone and whose record still says RUNNING.

    A trial whose process goes on, since only the sweep's own was killed, is waited for. What a
    store that can't be reached was to be told is told when the sweep goes on.

    Args:
        sweep: whose trials they are.
        folder: of the sweep.
        uri: of the store; not used without MLflow.
        status: of the trials that are ended, in their records and in MLflow.
        reason: why, in words.

    Returns:
        All trials.
    """
    for record in read_trials(folder):
        if record.status == "RUNNING":
            _wait(record)
    settled = []
    for record in read_trials(folder):
        if record.status == "RUNNING":
            record = _ended(record, sweep, uri, status, reason)
            record.write()
        settled.append(record)
    if sweep.parent is not None:
        with _later(sweep):
            _end_lost_trials(sweep, settled, uri, status, reason)
    return settled


def send_left(records: Sequence[TrialRecord], tracking: TrackingConfig) -> None:
    """Send what trials kept in their folders because their server was gone."""
    from cxrlab.tracking.sync import send_unsent

    for record in records:
        if record.status != "RUNNING" and (record.folder / UNSENT_FILE).is_file():
            try:
                _log.info("trial %d: %s", record.number, send_unsent(record.folder, tracking))
            except UserError as error:
                warn(f"trial {record.number} stays incomplete in MLflow: {error}")


@contextmanager
def _later(sweep: Sweep) -> Iterator[None]:
    """Go on without a store that can't be reached; the sweep's next start tells it the rest."""
    try:
        yield
    except StoreError as error:
        warn(
            f"{error}; trials that ended may be missing or RUNNING there until the sweep goes on: "
            f"{command_line(sweep.name)}"
        )


def _end_lost_trials(
    sweep: Sweep,
    records: Sequence[TrialRecord],
    uri: str,
    status: Literal["FAILED", "KILLED"],
    reason: str,
) -> None:
    """End runs that were begun, while their trial was killed before it had noted which is its."""
    by_number = {str(record.number): record for record in records}
    finished = {record.run_id for record in records if record.status == "FINISHED"}
    for run in _running(_store(uri), sweep.name):
        # What a finished trial could not send says of itself that it is finished.
        if run.data.tags.get(PARENT_TAG) != sweep.parent or run.info.run_id in finished:
            continue
        _end(_store(uri), run.info.run_id, status, reason)
        record = by_number.get(run.data.tags[TRIAL_TAG])
        if record is not None and record.run_id is None:
            record.note_run(run.info.run_id)


def end_lost_parents(store: Store, name: str, folder: Path, own: str) -> None:
    """End what a process began that was killed before it had noted the run above its trials."""
    for run in _running(store, name):
        if run.data.tags.get(FOLDER_TAG) == str(folder) and run.info.run_id != own:
            _end(store, run.info.run_id, "KILLED", "its process ended")


def _running(store: Store, name: str) -> list[Any]:
    """The unfinished runs of all sweeps of this name."""
    client = store.client()
    with one_line_errors(store):
        experiments = [e.experiment_id for e in client.search_experiments()]
        text = f"attributes.status = 'RUNNING' and tags.`{NAME_TAG}` = '{name}'"
        return list(client.search_runs(experiments, filter_string=text))


def _end(store: Store, run_id: str, status: str, reason: str) -> None:
    with one_line_errors(store):
        store.client().set_tag(run_id, "cxrlab.error", reason)
        store.client().set_terminated(run_id, status)


def _wait(record: TrialRecord) -> None:
    from filelock import FileLock, Timeout

    lock = FileLock(record.folder / LOCK_FILE)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        _log.info("waiting for trial %d, which still runs in another process", record.number)
        lock.acquire()
    lock.release()


def _ended(
    record: TrialRecord, sweep: Sweep, uri: str, status: Literal["FAILED", "KILLED"], reason: str
) -> TrialRecord:
    if sweep.parent is not None and record.run_id is not None:
        store = _store(uri)
        with _later(sweep):
            with one_line_errors(store):
                known = store.client().get_run(record.run_id).info.status
            if known == "FINISHED":  # the process was killed after its run was complete
                return record.ended("FINISHED", None, None)
            if known == "RUNNING":
                _end(store, record.run_id, status, reason)
    return record.ended(status, reason, None)


def track_failures(
    sweep: Sweep, records: Sequence[TrialRecord], tracking: TrackingConfig, uri: str
) -> None:
    """Make a FAILED run for each trial that failed before it had one of its own."""
    if sweep.parent is None:
        return
    from cxrlab.tracking.opening import create_run

    for record in records:
        if record.status != "FAILED" or record.run_id is not None:
            continue
        with _later(sweep):
            run = create_run(
                _store(uri),
                tracking.experiment,
                sweep.trial_name(record.overrides, record.number),
                record.folder,
                trial_tags(sweep, record.number) | {"cxrlab.error": record.error or "unknown"},
                dict(map(split_override, repeatable(record.overrides))),
                None,
                tracking.grace,
            )
            run.close("FAILED")
            record.note_run(run.run_id)


def _store(uri: str) -> Store:
    """The sweep's store, which has been checked."""
    return Store(uri, artifact_root=None, local=False)
