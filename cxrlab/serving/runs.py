"""From what a user types for a run to the checkpoint that predicts."""

from __future__ import annotations

from pathlib import Path

from cxrlab.config.paths import store_dir
from cxrlab.config.schema import TrackingConfig
from cxrlab.errors import UserError
from cxrlab.tracking.find import OUTPUT_TAG
from cxrlab.tracking.store import one_line_errors, open_store

_LATEST = "latest"
_MOST = 1000


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
    folder = path.absolute() if name != _LATEST and path.is_dir() else _tracked_folder(name, config)
    from cxrlab.training.fit import BEST

    if not (folder / BEST).is_file():
        raise UserError(f"run={name}: {folder} holds no {BEST}; give the folder of a trained run")
    return folder / BEST


def _tracked_folder(name: str, config: TrackingConfig) -> Path:
    if not config.enabled:
        raise UserError(f"run={name}: no such folder, and tracking=none knows no other names")
    store = open_store(config.uri, store_dir())
    client = store.client()
    with one_line_errors(store):
        experiments = [e.experiment_id for e in client.search_experiments()]
        runs = client.search_runs(experiments, max_results=_MOST, order_by=["start_time DESC"])
    known = [r for r in runs if OUTPUT_TAG in r.data.tags]
    if name == _LATEST:
        matching = [r for r in known if r.info.status == "FINISHED"][:1]
    else:
        matching = [r for r in known if r.info.run_id.startswith(name)]
    if len(matching) == 1:
        return Path(matching[0].data.tags[OUTPUT_TAG])
    if matching:
        ids = ", ".join(r.info.run_id for r in matching[:3])
        raise UserError(f"run={name}: {len(matching)} runs begin so ({ids}); give more characters")
    raise UserError(
        f"run={name}: neither a folder nor a run in {store.shown}; "
        "python -m cxrlab.ui lists the runs"
    )
