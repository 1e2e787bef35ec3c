"""From what a user types for a run to its id and folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxrlab.config.paths import store_dir
from cxrlab.config.schema import TrackingConfig
from cxrlab.errors import UserError
from cxrlab.layout import ID_FILE
from cxrlab.tracking.spool import Spool
from cxrlab.tracking.store import Store, one_line_errors, open_store

OUTPUT_TAG = "cxrlab.output"
LATEST = "latest"
_MOST = 1000


@dataclass(frozen=True)
class FoundRun:
    """A run on disk.

    Attributes:
        output: its folder.
        run_id: its MLflow id; None for a run without MLflow.
        status: MLflow's word; None without MLflow.
    """

    output: Path
    run_id: str | None
    status: str | None = None


def find_run(name: str, config: TrackingConfig) -> FoundRun:
    """Find a run that can go on.

    Args:
        name: an MLflow run id, a unique prefix of one, `latest` (of those that did not finish),
            or the run's folder.
        config: where runs are kept.

    Raises:
        UserError: no run or several are meant, the run has finished, or its folder is gone.
    """
    if name != LATEST and Path(name).is_dir():
        file = Path(name) / ID_FILE
        run_id = file.read_text().strip() if file.is_file() else None
        if run_id is None:
            return FoundRun(Path(name).absolute(), None)
        name = run_id
    store = open_store(config.uri, store_dir())
    found = tracked_run(name, store, key="resume", finished=False)
    if found.status == "FINISHED":
        raise UserError(f"resume={name}: the run {found.run_id} has finished; start a new one")
    if not found.output.is_dir():
        raise UserError(f"resume={name}: the run's folder {found.output} is gone; start a new run")
    spool = Spool.read(found.output)
    if spool is not None and spool.finished:
        raise UserError(
            f"resume={name}: the run {found.run_id} has finished, which its server did not hear; "
            f"send it: python -m cxrlab.sync run={found.output}"
        )
    return found


def tracked_run(name: str, store: Store, *, key: str, finished: bool) -> FoundRun:
    """Look a run up in a store.

    Args:
        name: an MLflow run id, a unique prefix of one, or `latest`.
        store: where to look.
        key: the configuration key that named it, for messages.
        finished: which runs `latest` is the last of: those that finished, or the others.

    Raises:
        UserError: no run or several are meant.
    """
    client = store.client()
    with one_line_errors(store):
        experiments = [e.experiment_id for e in client.search_experiments()]
        runs = client.search_runs(experiments, max_results=_MOST, order_by=["start_time DESC"])
    known = [r for r in runs if OUTPUT_TAG in r.data.tags]
    if name == LATEST:
        matching = [r for r in known if (r.info.status == "FINISHED") == finished][:1]
    else:
        matching = [r for r in known if r.info.run_id.startswith(name)]
    if not matching:
        kind = "finished" if finished else "unfinished"
        what = f"no {kind} run" if name == LATEST else "neither a folder nor a run"
        raise UserError(
            f"{key}={name}: {what} in {store.shown}; python -m cxrlab.ui lists the runs"
        )
    if len(matching) > 1:
        ids = ", ".join(r.info.run_id for r in matching[:3])
        raise UserError(
            f"{key}={name}: {len(matching)} runs begin so ({ids}); give more characters"
        )
    run = matching[0]
    return FoundRun(Path(run.data.tags[OUTPUT_TAG]), run.info.run_id, run.info.status)
