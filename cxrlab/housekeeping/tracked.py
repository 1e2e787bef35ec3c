"""What MLflow knows of runs, and their removal through it, so that store and disk agree.

`mlflow gc --run-ids` is not called, since with those runs it also erases whatever experiment or
model was deleted before and is not named; the steps here are its steps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cxrlab.config.paths import store_dir
from cxrlab.config.schema import TrackingConfig
from cxrlab.housekeeping.items import Part, part_of
from cxrlab.tracking.store import Store, one_line_errors, open_store

_PAGE = 1000


@dataclass(frozen=True)
class TrackedRun:
    """A run as the store has it.

    Attributes:
        run_id: its id.
        name: its name.
        status: MLflow's word.
        deleted: whether the user deleted it; MLflow keeps it all the same.
        registered: whether a model in the registry is of this run.
        folders: its artifacts and its logged models, as far as they are in the store's folder.
        models: ids of its logged models.
    """

    run_id: str
    name: str
    status: str
    deleted: bool
    registered: bool
    folders: tuple[Path, ...]
    models: tuple[str, ...]


@dataclass(frozen=True)
class Tracking:
    """A store and its runs, by id; `artifacts` is the folder below which it keeps files."""

    store: Store
    runs: Mapping[str, TrackedRun]
    artifacts: Path | None

    def parts(self, run_id: str) -> tuple[Part, ...]:
        """What lies on the disk of a run's artifacts."""
        run = self.runs.get(run_id)
        if run is None or self.artifacts is None:
            return ()
        return tuple(part_of(f, self.artifacts) for f in run.folders if os.path.lexists(f))


def read_store(config: TrackingConfig) -> Tracking | None:
    """The runs of the configured store, deleted ones too; None where there is no store yet.

    Raises:
        UserError: the store can't be used.
    """
    if not config.enabled or _absent(config):
        return None
    from mlflow.entities import ViewType

    store = open_store(config.uri, store_dir())
    root = Path(store.artifact_root) if store.local and store.artifact_root else None
    client = store.client()
    with one_line_errors(store):
        experiments = [e.experiment_id for e in client.search_experiments(view_type=ViewType.ALL)]
        registered = {version.run_id for version in client.search_model_versions()}
        models: dict[str, list[tuple[str, Path | None]]] = {}
        for model in _models(store, experiments):
            folder = _folder(model.artifact_location, model.model_id, root)
            models.setdefault(str(model.source_run_id), []).append((model.model_id, folder))
        runs = {}
        for run in _runs(store, experiments):
            info, own = run.info, models.get(run.info.run_id, [])
            places = [_folder(info.artifact_uri, info.run_id, root), *(f for _, f in own)]
            runs[info.run_id] = TrackedRun(
                run_id=info.run_id,
                name=info.run_name or "",
                status=info.status,
                deleted=info.lifecycle_stage == "deleted",
                registered=info.run_id in registered,
                folders=tuple(place for place in places if place is not None),
                models=tuple(number for number, _ in own),
            )
    return Tracking(store, runs, root)


def erase(tracking: Tracking, run_id: str) -> None:
    """Take a run that is marked as deleted, and its logged models, out of the store for good.

    On a server it stays so marked; `mlflow gc` is its owner's to call there.

    Raises:
        UserError: the store fails.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking._tracking_service.utils import _get_store

    run = tracking.runs[run_id]
    client = tracking.store.client()
    with one_line_errors(tracking.store):
        if not tracking.store.local:
            return
        backend = _get_store(tracking.store.uri)
        for model in run.models:
            try:
                client.delete_logged_model(model)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # deleted before
                    raise
            backend._hard_delete_logged_model(model)
        backend._hard_delete_run(run_id)


def mark_deleted(tracking: Tracking, run_id: str) -> None:
    """Hide a run before its files go: what is half removed is found again as deleted."""
    if not tracking.runs[run_id].deleted:
        with one_line_errors(tracking.store):
            tracking.store.client().delete_run(run_id)


def _absent(config: TrackingConfig) -> bool:
    """Whether opening the embedded store would make it."""
    if config.uri or os.environ.get("MLFLOW_TRACKING_URI"):
        return False
    return not (store_dir() / "mlflow.db").is_file()


def _folder(uri: str, name: str, root: Path | None) -> Path | None:
    """The folder called after a run or model that its artifacts' address leads into."""
    address = urlsplit(uri)
    if root is None or address.scheme not in ("", "file"):
        return None
    folder = Path(address.path).parent
    return folder if folder.name == name and folder.is_relative_to(root) else None


def _runs(store: Store, experiments: list[str]) -> Iterator[Any]:
    from mlflow.entities import ViewType

    token = None
    while True:
        page = store.client().search_runs(
            experiments, run_view_type=ViewType.ALL, max_results=_PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _models(store: Store, experiments: list[str]) -> Iterator[Any]:
    token = None
    while experiments:
        page = store.client().search_logged_models(experiments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
