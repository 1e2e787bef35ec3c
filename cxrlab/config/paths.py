"""Where things lie: the configuration files, datasets, decoded images and runs."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def conf_dir() -> Path:
    """The folder of YAML files: inside an installed package, beside it in a checkout."""
    installed = _PACKAGE / "conf"
    return installed if installed.is_dir() else _PACKAGE.parent / "conf"


def run_folder(cluster: str | None) -> str:
    """The folder of a new run below `outputs/`: its time, or its SLURM job.

    A job that SLURM starts again, and all processes of one, so find the same folder.
    """
    job = os.environ.get("SLURM_JOB_ID") if cluster == "slurm" else None
    return f"slurm-{job}" if job else datetime.now().strftime("%Y-%m-%d/%H-%M-%S-%f")


def store_dir() -> Path:
    """The folder of the embedded MLflow store.

    It stands beside `conf/` in a checkout and in the working directory of an installed package.
    """
    in_checkout = conf_dir().parent != _PACKAGE
    return (_PACKAGE.parent if in_checkout else Path.cwd()) / "mlruns"


def data_dir() -> Path | None:
    """The folder under which datasets lie (`CXRLAB_DATA`), if the user named one."""
    return _from_environment("CXRLAB_DATA")


def weights_dir() -> Path | None:
    """The folder of weights files (`CXRLAB_WEIGHTS`), if the user named one."""
    return _from_environment("CXRLAB_WEIGHTS")


def cache_dir(configured: str | None = None) -> Path:
    """The folder of decoded images: the configured one, `CXRLAB_CACHE` or the user's cache."""
    if configured:
        return Path(configured).expanduser().absolute()
    fallback = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cxrlab"
    return _from_environment("CXRLAB_CACHE") or fallback


def _from_environment(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value).expanduser().absolute() if value else None
