"""The command that shows a store in MLflow's own web page."""

from __future__ import annotations

import errno
import os
import socket
import sys

from cxrlab.errors import UserError
from cxrlab.tracking.store import Store, one_line_errors

_PORTS_TRIED = 20
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


def ui_command(store: Store, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of the process that serves the MLflow UI.

    Raises:
        UserError: The store is a server and has its own page, or the port is taken.
    """
    if store.artifact_root is None:
        raise UserError(f"tracking.uri={store.shown} is a server: open that address in a browser")
    _check_port(host, port)
    command = [
        sys.executable, "-m", "mlflow", "ui",
        "--backend-store-uri", store.uri,
        "--default-artifact-root", store.artifact_root,
        "--host", host,
        "--port", str(port),
        "--workers", "1",
    ]  # fmt: skip
    # Jobs are for evaluating language models; without them the page is there in half the time.
    return command, dict(os.environ) | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def ui_address(store: Store, host: str, port: int, experiment: str) -> str:
    """The address to open: the runs of an experiment, or the list where it has none yet.

    Without the query MLflow 3 opens its pages for language models, where no run is listed, until
    the user has once chosen "Model training" at the top left.
    """
    with one_line_errors(store):
        found = store.client().get_experiment_by_name(experiment)
    page = f"experiments/{found.experiment_id}/runs" if found else "experiments"
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/#/{page}?workflowType=machine_learning"


def _check_port(host: str, port: int) -> None:
    try:
        if _free(host, port):
            return
        later = range(port + 1, min(port + 1 + _PORTS_TRIED, 65536))
        other = next((candidate for candidate in later if _free(host, candidate)), None)
    except OSError as error:
        raise UserError(
            f"host={host}: {error.strerror or error}: use host=127.0.0.1 for this machine alone or "
            "host=0.0.0.0 for others too"
        ) from error
    suggestion = f"port={other} is free" if other else "choose another with port=N"
    raise UserError(f"port={port} on {host} is taken or reserved: {suggestion}")


def _free(host: str, port: int) -> bool:
    """Whether one can listen there now.

    Raises:
        OSError: The host is unknown or not an address of this machine.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        # As the server does: a port whose last connections are closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
    return True
