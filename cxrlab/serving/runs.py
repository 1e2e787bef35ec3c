"""From what a user types for a run to the checkpoint that predicts."""

from __future__ import annotations

from pathlib import Path

from cxrlab.config.paths import store_dir
from cxrlab.config.schema import TrackingConfig
from cxrlab.errors import UserError
from cxrlab.tracking.find import LATEST, tracked_run
from cxrlab.tracking.store import open_store


def find_checkpoint(name: str, config: TrackingConfig) -> Path:
    """Find the best checkpoint of a run.

    Args:
        name: an MLflow run id, a unique prefix of one, `latest` (of those that finished), or the
            run's folder.
        config: where runs are kept.

    Raises:
        UserError: no run or several are meant, or there is no checkpoint in its folder.
    """
    path = Path(name).expanduser()
    folder = path.absolute() if name != LATEST and path.is_dir() else _tracked_folder(name, config)
    from cxrlab.training.fit import BEST

    if not (folder / BEST).is_file():
        raise UserError(f"run={name}: {folder} holds no {BEST}; give the folder of a trained run")
    return folder / BEST


def _tracked_folder(name: str, config: TrackingConfig) -> Path:
    if not config.enabled:
        raise UserError(f"run={name}: no such folder, and tracking=none knows no other names")
    store = open_store(config.uri, store_dir())
    return tracked_run(name, store, key="run", finished=True).output
