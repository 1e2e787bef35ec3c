"""Config-driven experiments for disease classification from chest X-rays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrlab.serving.loaded import LoadedRun

__all__ = ["__version__", "load_run"]
__version__ = "0.1.0"


def load_run(run: str | Path = "latest", *, tracking_uri: str | None = None) -> LoadedRun:
    """Load a finished run to predict and explain images with.

    For example::

        run = cxrlab.load_run("latest")
        run.predict("scans/")
        run.explain("scans/0001.png")

    Args:
        run: an MLflow run id, a unique prefix of one, `latest`, the run's folder, or a registered
            model, `models:/NAME/VERSION` or `models:/NAME@ALIAS`.
        tracking_uri: MLflow store that knows the id; None: `MLFLOW_TRACKING_URI` or `mlruns/`.

    Raises:
        cxrlab.errors.UserError: no run or several are meant, or the run has not finished.
    """
    from cxrlab.serving.loaded import LoadedRun  # torch, only when it is needed

    return LoadedRun.load(run, tracking_uri)
