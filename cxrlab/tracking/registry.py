"""Models under a name: from a run to a version in MLflow's registry, and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlab.errors import UserError
from cxrlab.tracking.store import Store, one_line_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

SCHEME = "models:/"
CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True)
class Registered:
    """A version of a registered model.

    Attributes:
        name: of the model.
        version: its number.
        alias: `champion` of the first version, `challenger` of the latest after it.
    """

    name: str
    version: str
    alias: str


def register(store: Store, run_id: str, name: str) -> Registered:
    """Make a run's logged model the next version of a registered model.

    The first version becomes `champion`; each later one becomes `challenger`, until somebody
    moves the alias `champion` to it. A run is registered once under a name.

    Args:
        store: that holds the run and the registry.
        run_id: of a run with a logged model.
        name: of the registered model, which is made if there is none.

    Raises:
        StoreError: the store can't be reached or has no registry.
        UserError: the run has no model.
    """
    client = store.client()
    with one_line_errors(store):
        outputs = client.get_run(run_id).outputs
        models = outputs.model_outputs if outputs else []
        if not models:
            raise UserError(f"register={name}: run {run_id} has no model; tracking.log_model=true")
        model_id = models[-1].model_id
        _make(client, name)
        known = client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'")
        version = (
            known[0]
            if known
            else client.create_model_version(
                name, _source(store, model_id), run_id=run_id, model_id=model_id
            )
        )
        number = str(version.version)
        champion = client.get_registered_model(name).aliases.get(CHAMPION)
        # MLflow gives numbers as text or not, by the store.
        alias = CHAMPION if champion is None or str(champion) == number else CHALLENGER
        client.set_registered_model_alias(name, alias, number)
    return Registered(name, number, alias)


def registered_run(named: str, store: Store, *, key: str) -> str:
    """The id of the run behind `models:/NAME/VERSION` or `models:/NAME@ALIAS`.

    Args:
        named: what the user typed.
        store: with the registry.
        key: the configuration key that named it, for messages.

    Raises:
        UserError: there is no such model, version or alias, or it is of no run.
    """
    from mlflow.exceptions import MlflowException

    found = re.fullmatch(rf"{SCHEME}([^/@]+)(?:/(\d+)|@([^/@]+))", named)
    if found is None:
        raise UserError(
            f"{key}={named}: no name of a model; write {SCHEME}NAME/VERSION or {SCHEME}NAME@ALIAS"
        )
    try:
        version = _version(store.client(), *found.groups())
    except (MlflowException, OSError) as error:
        told = " ".join(str(error).split())
        raise UserError(
            f"{key}={named}: not in the registry of {store.shown} ({told}); "
            "python -m cxrlab.ui lists its models"
        ) from error
    if not version.run_id:
        raise UserError(f"{key}={named}: the version is of no run; choose another")
    return version.run_id


def _source(store: Store, model_id: str) -> str:
    """Where the files of a logged model are.

    MLflow looks `models:/ID` up in the store of the whole process, which is a server's own, but
    not the one that a client here was given.
    """
    if store.remote:
        return f"{SCHEME}{model_id}"
    found: str = store.client().get_logged_model(model_id).artifact_location
    return found


def _version(
    client: MlflowClient, name: str, number: str | None, alias: str | None
) -> ModelVersion:
    if number is not None:
        return client.get_model_version(name, number)
    assert alias is not None
    return client.get_model_version_by_alias(name, alias)


def _make(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
