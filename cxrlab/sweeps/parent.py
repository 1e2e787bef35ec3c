"""The MLflow run above the trials, and the runs of trials that could not speak for themselves."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

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
from cxrlab.sweeps.tags import sweep_tags, trial_tags
from cxrlab.tracking.provenance import run_tags
from cxrlab.tracking.run import Run, start_run
from cxrlab.tracking.store import Store, open_store

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
    command = shlex.join(["python", "-m", "cxrlab.train", *sys.argv[1:]])
    varied = " x ".join(sweep.short(key) for key in sweep.varies) or "one trial"
    params = dict(split_override(override) for override in repeatable(sweep.fixed))
    with start_run(
        open_store(tracking.uri, store_dir()) if tracking.enabled else None,
        experiment=tracking.experiment,
        name=tracking.name or f"sweep {varied} {sweep.name}"[:100],
        output=folder,
        tags={**run_tags(command, "cpu"), **sweep_tags(sweep.name, sweep.kind)},
        params={**params, **swept},
        run_id=sweep.parent,
    ) as run:
        yield run, replace(sweep, parent=run.run_id if tracking.enabled else None)


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
    return settled


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
        client = _store(uri).client()
        known = client.get_run(record.run_id).info.status
        if known == "FINISHED":  # the process was killed after its run was complete
            return record.ended("FINISHED", None, None)
        if known == "RUNNING":
            client.set_tag(record.run_id, "cxrlab.error", reason)
            client.set_terminated(record.run_id, status)
    return record.ended(status, reason, None)


def track_failures(
    sweep: Sweep, records: Sequence[TrialRecord], tracking: TrackingConfig, uri: str
) -> None:
    """Make a FAILED run for each trial that failed before it had one of its own."""
    if sweep.parent is None:
        return
    from cxrlab.tracking.mlflow_run import create_run

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
            )
            run.close("FAILED")
            record.note_run(run.run_id)


def _store(uri: str) -> Store:
    """The sweep's store, which has been checked."""
    return Store(uri, artifact_root=None, local=False)
