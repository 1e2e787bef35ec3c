"""The tags by which the MLflow UI nests trials below their sweep, and by which one filters."""

from __future__ import annotations

from pathlib import Path

from cxrlab.sweeps.records import Sweep

PARENT_TAG = "mlflow.parentRunId"
NAME_TAG, TRIAL_TAG = "cxrlab.sweep", "cxrlab.trial"
FOLDER_TAG = "cxrlab.sweep_folder"


def sweep_tags(name: str, kind: str, folder: Path) -> dict[str, str]:
    """Of the run above the trials."""
    tags = {"cxrlab.kind": "sweep", NAME_TAG: name, "cxrlab.sweep_kind": kind}
    return {**tags, FOLDER_TAG: str(folder)}


def trial_tags(sweep: Sweep, number: int | None) -> dict[str, str]:
    """Of a trial's run."""
    tags = {"cxrlab.kind": "trial", NAME_TAG: sweep.name, TRIAL_TAG: str(number or 0)}
    return tags | ({PARENT_TAG: sweep.parent} if sweep.parent else {})
