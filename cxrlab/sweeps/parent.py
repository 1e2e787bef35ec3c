"""The MLflow run above the trials, and the runs of trials that could not speak for themselves."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from cxrlab.config.paths import store_dir
from cxrlab.config.schema import Config, TrackingConfig
from cxrlab.sweeps.records import (
    LOCK_FILE,
    Sweep,
    TrialRecord,
    read_trials,
    repeatable,
    split_override,
)
from cxrlab.sweeps.tags import (
    FOLDER_TAG,
    NAME_TAG,
    PARENT_TAG,
    TRIAL_TAG,
    sweep_tags,
    trial_tags,
)
from cxrlab.tracking.provenance import run_tags
from cxrlab.tracking.run import Run, start_run
from cxrlab.tracking.store import Store, one_line_errors, open_store

_log = logging.getLogger("cxrlab")


@contextmanager
def open_sweep(
    sweep: Sweep, config: Config, folder: Path, swept: Mapping[str, str]
) -> Iterator[tuple[Run, Sweep]]:
    """The sweep's own run, new or reopened, and the sweep with its id.

    Args:
        sweep: what its trials share.
        config: of its first trial.
        folder: of the sweep.
        swept: for each key that varies, the values or the space.

    Raises:
        UserError: the store can't be used.
    """
    tracking = config.tracking
    varied = " x ".join(sweep.short(key) for key in sweep.varies) or "one trial"
    params = dict(split_override(override) for override in repeatable(sweep.fixed))
    store = open_store(tracking.uri, store_dir()) if tracking.enabled else None
    with start_run(
        store,
        experiment=tracking.experiment,
        name=tracking.name or f"sweep {varied} {sweep.name}"[:100],
        output=folder,
        tags={
            **run_tags(command_line(sweep.name), "cpu"),
            **sweep_tags(sweep.name, sweep.kind, folder),
        },
        params={**params, **swept},
        grace=tracking.grace,
        run_id=sweep.parent,
    ) as run:
        if store is not None:
            _end_lost_parents(store, sweep.name, folder, run.run_id)
        yield run, replace(sweep, parent=run.run_id if store is not None else None)


def command_line(name: str) -> str:
    """The command that the user typed, with the sweep's name, by which it goes on."""
    named = [] if any(a.startswith("sweep.name=") for a in sys.argv) else [f"sweep.name={name}"]
    return shlex.join(["python", "-m", "cxrlab.train", *sys.argv[1:], *named])


def settle(
    sweep: Sweep, folder: Path, uri: str, status: Literal["FAILED", "KILLED"], reason: str
) -> list[TrialRecord]:
    """End every trial whose process is gone and whose record still says RUNNING.

    A trial whose process goes on, since only the sweep's own was killed, is waited for.

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
        _end_lost_trials(sweep, settled, uri, status, reason)
    return settled


def _end_lost_trials(
    sweep: Sweep,
    records: Sequence[TrialRecord],
    uri: str,
    status: Literal["FAILED", "KILLED"],
    reason: str,
) -> None:
    """End runs that were begun, while their trial was killed before it had noted which is its."""
    by_number = {str(record.number): record for record in records}
    for run in _running(_store(uri), sweep.name):
        if run.data.tags.get(PARENT_TAG) != sweep.parent:
            continue
        _end(_store(uri), run.info.run_id, status, reason)
        record = by_number.get(run.data.tags[TRIAL_TAG])
        if record is not None and record.run_id is None:
            record.note_run(run.info.run_id)


def _end_lost_parents(store: Store, name: str, folder: Path, own: str) -> None:
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
        if record.status == "FAILED" and record.run_id is None:
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
