"""The tags by which the MLflow UI nests trials below their sweep, and by which one filters."""

from __future__ import annotations

from cxrlab.sweeps.records import Sweep

PARENT_TAG = "mlflow.parentRunId"


def sweep_tags(name: str, kind: str) -> dict[str, str]:
    """Of the run above the trials."""
    return {"cxrlab.kind": "sweep", "cxrlab.sweep": name, "cxrlab.sweep_kind": kind}


def trial_tags(sweep: Sweep, number: int | None) -> dict[str, str]:
    """Of a trial's run."""
    tags = {"cxrlab.kind": "trial", "cxrlab.sweep": sweep.name, "cxrlab.trial": str(number or 0)}
    return tags | ({PARENT_TAG: sweep.parent} if sweep.parent else {})
