"""Runs of an MLflow store, new or reopened: what must be there before the first value."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cxrlab.errors import UserError, warn
from cxrlab.tracking.mlflow_run import TrackedRun, now
from cxrlab.tracking.parcels import Params, Tags
from cxrlab.tracking.store import Store, StoreError, experiment_id, one_line_errors, refused
from cxrlab.tracking.views import COLOUR_TAG, NOTE_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run

T = TypeVar("T")
_PAUSE_SECONDS = 0.5


def create_run(
    store: Store,
    experiment: str,
    name: str,
    output: Path,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    description: str | None,
    grace: float,
) -> TrackedRun:
    """A new, running run; the arguments are those of `cxrlab.tracking.run.start_run`."""
    first = _with_columns(tags, description)
    number = _patiently(store, grace, lambda: experiment_id(store, experiment))
    first[COLOUR_TAG] = _patiently(store, grace, lambda: _next_colour(store, number))
    begun, tries = now(), iter((False,))

    def create() -> str:
        client = store.client()
        with one_line_errors(store):
            # Only the answer of an earlier try may have been lost.
            if next(tries, True) and (made := _just_made(store, number, begun, first)):
                return made
            run = client.create_run(number, start_time=begun, tags=first, run_name=name)
            return str(run.info.run_id)

    run = TrackedRun(store, number, _patiently(store, grace, create), output, grace)
    run.log_params(params)
    if not store.remote:
        run.wait()  # so that wrong params are an error before anything slow
    return run


def _next_colour(store: Store, experiment: str) -> str:
    """The colour after that of the run before, so that neighbours differ in the UI's charts.

    MLflow's own colours come from the run's id, and of four runs two are often alike.
    """
    from cxrlab.evaluation.style import PALETTE

    with one_line_errors(store):
        order = ["attributes.start_time DESC"]
        latest = store.client().search_runs([experiment], order_by=order, max_results=1)
    used = latest[0].data.tags.get(COLOUR_TAG) if latest else None
    return PALETTE[(PALETTE.index(used) + 1) % len(PALETTE)] if used in PALETTE else PALETTE[0]


def _just_made(store: Store, experiment: str, begun: int, tags: Mapping[str, str]) -> str | None:
    """The run with this start, in milliseconds since 1970, and these tags; None for none."""
    found = store.client().search_runs([experiment], f"attributes.start_time = {begun}")
    same = (run for run in found if run.data.tags.items() >= tags.items())
    return next((str(run.info.run_id) for run in same), None)


def _patiently(store: Store, grace: float, ask: Callable[[], T]) -> T:
    """The answer of a store; a server that fails is asked again for `grace` seconds."""
    end = time.monotonic() + (grace if store.remote else 0)
    while True:
        try:
            return ask()
        except StoreError as error:
            if refused(error) or time.monotonic() >= end:
                raise
            time.sleep(_PAUSE_SECONDS)


def reopen_run(
    store: Store,
    run_id: str,
    output: Path,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    description: str | None,
    grace: float,
) -> TrackedRun:
    """An earlier run, RUNNING again; the arguments are those of `start_run`."""
    kept = _patiently(store, grace, lambda: _kept(store, run_id))
    added = _new_params(kept, params)

    def resume() -> None:
        with one_line_errors(store):
            store.client().update_run(run_id, status="RUNNING")

    _patiently(store, grace, resume)
    run = TrackedRun(store, kept.info.experiment_id, run_id, output, grace)
    _patiently(store, grace, run.catch_up)
    run.log_params(added)
    run.give_left()
    run.set_tags(_with_columns(tags, description))
    if not store.remote:
        run.wait()
    return run


def _kept(store: Store, run_id: str) -> Run:
    """The run to be reopened, as the store has it."""
    from mlflow.exceptions import MlflowException

    try:
        return store.client().get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            with one_line_errors(store):
                raise
        raise UserError(
            f"run {run_id} is not in the tracking store {store.shown}: give its own store with "
            "tracking.uri, or another run"
        ) from error


def _new_params(run: Run, params: Mapping[str, Any]) -> dict[str, str]:
    """The params that a run to be reopened doesn't have yet."""
    kept = run.data.params
    given = Params.of(params).values
    changed = [key for key, text in given.items() if kept.get(key, text) != text]
    if changed:
        warn(
            f"params of run {run.info.run_id} changed since it began "
            f"({', '.join(sorted(changed))}): MLflow keeps the first values; config/config.yaml in "
            "its artifacts has the new ones"
        )
    return {key: text for key, text in given.items() if key not in kept}


def _with_columns(tags: Mapping[str, str], description: str | None) -> dict[str, str]:
    """The tags, with those that fill the columns User, Source and Version of the MLflow UI."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the password table
        user = "unknown"
    filled = {"mlflow.user": user, "mlflow.source.type": "LOCAL"}
    own = {
        # The UI shows what follows the last slash, which of a whole command line is any override.
        "mlflow.source.name": " ".join(tags.get("cxrlab.command", "").split()[:3]),
        "mlflow.source.git.commit": tags.get("cxrlab.git_commit"),
        NOTE_TAG: description,
    }
    filled |= {key: text for key, text in own.items() if text}
    return Tags.of({**filled, **tags}).values
