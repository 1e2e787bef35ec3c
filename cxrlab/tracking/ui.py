"""The command that shows a store in MLflow's own web page."""

from __future__ import annotations

import os
import sys

from cxrlab.errors import UserError
from cxrlab.ports import check_port, http_address
from cxrlab.tracking.store import Store, one_line_errors
from cxrlab.tracking.views import NOTE_TAG, RUNS_VIEW, VIEW_QUERY, experiment_tags, view_tags


def ui_command(store: Store, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of the process that serves the MLflow UI.

    Raises:
        UserError: The store is a server and has its own page, or the port is taken.
    """
    if store.artifact_root is None:
        raise UserError(f"tracking.uri={store.shown} is a server: open that address in a browser")
    check_port(host, port)
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
    the user has once chosen "Model training" at the top left. The query also opens the view of
    runs, without which the table has no metric.
    """
    with one_line_errors(store):
        found = store.client().get_experiment_by_name(experiment)
    page, query = "experiments", "workflowType=machine_learning"
    if found:
        page, query = f"{page}/{found.experiment_id}/runs", f"{query}&{VIEW_QUERY}={RUNS_VIEW}"
    return f"{http_address(host, port)}/#/{page}?{query}"


def refresh_views(store: Store, experiment: str) -> None:
    """Bring an experiment's views up to date, and describe it where nobody has.

    Raises:
        UserError: the store can't be written to.
    """
    client = store.client()
    with one_line_errors(store):
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return
        wanted = view_tags() if NOTE_TAG in found.tags else experiment_tags()
        for key, value in wanted.items():
            if found.tags.get(key) != value:
                client.set_experiment_tag(found.experiment_id, key, value)
