"""Where runs are kept: which store, whether it can be used, and the experiment in it."""

from __future__ import annotations

import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from cxrlab.errors import UserError
from cxrlab.tracking.database import prepare_database
from cxrlab.tracking.views import experiment_tags

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_SQLITE = "sqlite:///"
_DATABASES = ("postgresql", "mysql", "mssql")
_REMEDY = "use tracking.uri=sqlite:////FOLDER/mlflow.db or the URL of an MLflow server"
_CONNECT_SECONDS = 3.0
_PAUSE_SECONDS = 0.5
_MESSAGE_LENGTH = 300
_PASSING = (408, 425, 429)  # of the answers 4xx, those that ask for another try


@dataclass(frozen=True)
class Store:
    """An MLflow store that has been checked and can be written to.

    Attributes:
        uri: Tracking URI; sqlite with an absolute path.
        artifact_root: Folder of all artifacts; None where a server decides.
        local: Whether the store is an embedded SQLite database.
    """

    uri: str
    artifact_root: str | None
    local: bool

    @property
    def folder(self) -> Path | None:
        """Folder that holds the database and the artifacts; None for a server."""
        return None if self.artifact_root is None else Path(self.artifact_root).parent

    @property
    def remote(self) -> bool:
        """Whether the store may be slow or gone while this machine is well."""
        return not self.uri.startswith(_SQLITE)

    @property
    def shown(self) -> str:
        """The URI without user name and password, for messages."""
        return _without_credentials(self.uri)

    def client(self) -> MlflowClient:
        """A client of this store; it leaves MLflow's global state alone."""
        from mlflow.tracking import MlflowClient

        # MLflow prints the traceback of every database error that it raises.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        return MlflowClient(tracking_uri=self.uri)


def open_store(uri: str | None, folder: Path, wait: float = 0) -> Store:
    """Find the store, create or upgrade an embedded one, and check that a server answers.

    Args:
        uri: `sqlite:///...`, `http(s)://...`, or a database URI that MLflow knows; None for the
            variable MLFLOW_TRACKING_URI, or where that is not set `<folder>/mlflow.db`.
        folder: The folder `mlruns/`.
        wait: Seconds that a server which does not answer is waited for.

    Raises:
        UserError: The store can't be used; the message says why and what to do.
    """
    origin = "tracking.uri"
    if uri is None and (uri := os.environ.get("MLFLOW_TRACKING_URI")):
        origin = "MLFLOW_TRACKING_URI"
    uri = uri or f"{_SQLITE}{folder.resolve() / 'mlflow.db'}"
    scheme = uri.partition(":")[0].lower()
    if scheme == "sqlite":
        return _open_sqlite(uri, origin)
    if scheme in ("http", "https"):
        _await_server(uri, origin, wait)
        return Store(uri, artifact_root=None, local=False)
    if scheme.partition("+")[0] in _DATABASES:
        return Store(uri, artifact_root=str(folder.resolve() / "artifacts"), local=False)
    if scheme == "file" or ":" not in uri:
        raise UserError(f"{origin}={uri}: MLflow no longer keeps runs in plain folders: {_REMEDY}")
    shown = _without_credentials(uri)
    raise UserError(f"{origin}={shown} is no store that MLflow knows: {_REMEDY}")


def _open_sqlite(uri: str, origin: str) -> Store:
    name = uri.removeprefix(_SQLITE)
    if not uri.startswith(_SQLITE) or not name or name == ":memory:" or "?" in name:
        raise UserError(f"{origin}={uri} names no database file: {_REMEDY}")
    path = Path(name).absolute()
    artifact_root = path.parent / "artifacts"
    prepare_database(path, artifact_root)
    return Store(f"{_SQLITE}{path}", artifact_root=str(artifact_root), local=True)


def _await_server(uri: str, origin: str, wait: float) -> None:
    end = time.monotonic() + wait
    while True:
        try:
            _check_server(uri, origin)
        except UserError:
            if time.monotonic() >= end:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _check_server(uri: str, origin: str) -> None:
    shown = _without_credentials(uri)
    remedy = "start it (mlflow server), correct the address, or leave it out for the embedded store"
    try:
        urllib.request.urlopen(f"{shown.rstrip('/')}/health", timeout=_CONNECT_SECONDS).close()
    except urllib.error.HTTPError as error:
        # Any other answer, a demand to log in for example, shows that the server is there.
        if error.code in (502, 503, 504):
            raise UserError(f"{origin}={shown} answers {error.code}: {remedy}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"{origin}={shown} does not answer ({reason}): {remedy}") from error


def _without_credentials(uri: str) -> str:
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host)) if host else uri


def experiment_id(store: Store, name: str) -> str:
    """Id of the experiment of that name, created if need be, also by several processes at once.

    Raises:
        UserError: The experiment was deleted, or the store can't be written to.
    """
    from mlflow.exceptions import MlflowException

    client = store.client()
    with one_line_errors(store):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                location = _artifact_location(store, name)
                return str(client.create_experiment(name, location, experiment_tags()))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        number = "ID" if experiment is None else experiment.experiment_id
        raise UserError(
            f"tracking.experiment={name} was deleted in {store.shown}: choose another name, or "
            f"MLFLOW_TRACKING_URI={store.shown} mlflow experiments restore -x {number}"
        )
    return str(experiment.experiment_id)


def _artifact_location(store: Store, name: str) -> str | None:
    if store.artifact_root is None:
        return None
    folder = re.sub(r"[^\w.-]+", "_", name).strip(".") or "experiment"
    return str(Path(store.artifact_root) / folder)


class StoreError(UserError):
    """The store failed; what it raised is the cause."""


@contextmanager
def one_line_errors(store: Store) -> Iterator[None]:
    """Turn what MLflow or the disk raises into one line that names the store.

    Raises:
        StoreError: In place of an MlflowException or an OSError.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        told = reason(error) if store.remote else _one_line(error)
        raise StoreError(
            f"tracking store {store.shown}: {told}: check that it is reachable and its "
            "disk has room, or run with tracking=none"
        ) from error


def refused(error: BaseException) -> bool:
    """Whether a server understood what it was asked and won't do it, now or later."""
    cause = error.__cause__ if isinstance(error, StoreError) else error
    ask = getattr(cause, "get_http_status_code", None)  # an MlflowException
    code = ask() if ask else getattr(getattr(cause, "response", None), "status_code", None)
    return code is not None and 400 <= code < 500 and code not in _PASSING


def reason(error: BaseException) -> str:
    """The innermost cause in one line: `Connection refused` in place of all that wraps it."""
    while cause := error.__cause__ or error.__context__ or _argument(error):
        error = cause
    return getattr(error, "strerror", None) or _one_line(error)


def _argument(error: BaseException) -> BaseException | None:
    """The cause that urllib3 hands on as an argument."""
    return next((part for part in error.args if isinstance(part, BaseException)), None)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MESSAGE_LENGTH else f"{text[:_MESSAGE_LENGTH]}…"
