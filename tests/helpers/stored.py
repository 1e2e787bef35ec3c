"""Everything that a store holds of a run, in a form that two runs can be compared by."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from mlflow.tracking import MlflowClient

# What differs between any two runs: MLflow's own tags, times and folders.
_OWN_TAGS = ("mlflow.", "cxrlab.output", "cxrlab.command")
_OWN_PARAMS = ("tracking.", "data.root")


@dataclass(frozen=True)
class Stored:
    status: str
    metrics: Counter[tuple[str, int]]
    params: dict[str, str]
    tags: dict[str, str]
    datasets: list[tuple[str, str]]
    artifacts: list[str]
    models: list[tuple[str, str]]
    model_files: list[str]


def stored(client: MlflowClient, run_id: str) -> Stored:
    run = client.get_run(run_id)
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    outputs = run.outputs.model_outputs if run.outputs else []
    assert [o.model_id for o in outputs] == [m.model_id for m in models]
    return Stored(
        status=run.info.status,
        metrics=Counter(
            (name, m.step)
            for name in run.data.metrics
            for m in client.get_metric_history(run_id, name)
        ),
        params={k: v for k, v in run.data.params.items() if not k.startswith(_OWN_PARAMS)},
        tags={k: v for k, v in run.data.tags.items() if not k.startswith(_OWN_TAGS)},
        datasets=sorted(
            (i.dataset.name, tag.value) for i in run.inputs.dataset_inputs for tag in i.tags
        ),
        artifacts=sorted(_files(client, run_id)),
        models=[(model.name, model.status.value) for model in models],
        model_files=sorted(
            f.path for model in models for f in client.list_logged_model_artifacts(model.model_id)
        ),
    )


def _files(client: MlflowClient, run_id: str, folder: str | None = None) -> list[str]:
    """Paths of artifacts; the time and the random part of an image's name are left out."""
    found = []
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            found += _files(client, run_id, entry.path)
        else:
            found.append(re.sub(r"\+timestamp\+\d+\+[0-9a-f-]{36}", "", entry.path))
    return found
