"""From what a user types for a run to its folder, and to the checkpoint that predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrlab.config.paths import store_dir
from cxrlab.config.schema import TrackingConfig
from cxrlab.errors import UserError
from cxrlab.layout import BEST
from cxrlab.tracking.find import LATEST, tracked_run
from cxrlab.tracking.registry import SCHEME, registered_run
from cxrlab.tracking.store import open_store


def find_folder(name: str, config: TrackingConfig, *, key: str = "run") -> Path:
    """Find the folder of a run.

    Args:
        name: an MLflow run id, a unique prefix of one, `latest` (of those that finished), the
            run's folder, or a registered model, `models:/NAME/VERSION` or `models:/NAME@ALIAS`.
        config: where runs are kept.
        key: the configuration key that named it, for messages.

    Raises:
        UserError: no run or several are meant, or the run's folder is gone.
    """
    path = Path(name).expanduser()
    if name != LATEST and path.is_dir():
        return path.absolute()
    if not config.enabled:
        raise UserError(f"{key}={name}: no such folder, and tracking=none knows no other names")
    store = open_store(config.uri, store_dir())
    if name.startswith(SCHEME):
        name = registered_run(name, store, key=key)
    found = tracked_run(name, store, key=key, finished=True).output
    if not found.is_dir():
        raise UserError(f"{key}={name}: the run's folder {found} is gone; choose another run")
    return found


def find_folders(names: Sequence[str], config: TrackingConfig, *, key: str = "run") -> list[Path]:
    """The folders of several runs, in their order; see `find_folder`.

    Raises:
        UserError: a name means no run or several, or two mean the same.
    """
    found: dict[Path, str] = {}
    for name in names:
        folder = find_folder(name, config, key=key)
        if (other := found.setdefault(folder.resolve(), name)) != name:
            raise UserError(
                f"{key}=[{','.join(names)}]: {other} and {name} are the same run; "
                "name each run once"
            )
    return list(found)


def find_checkpoint(name: str, config: TrackingConfig) -> Path:
    """Find the best checkpoint of a run, named as for `find_folder`.

    Raises:
        UserError: no run or several are meant, or there is no checkpoint in its folder.
    """
    return checkpoint_in(find_folder(name, config), name)


def checkpoint_in(folder: Path, name: str) -> Path:
    """The best checkpoint in the folder of a run that the user named `name`.

    Raises:
        UserError: there is none.
    """
    if not (folder / BEST).is_file():
        raise UserError(f"run={name}: {folder} holds no {BEST}; choose a trained run")
    return folder / BEST


def find_checkpoints(names: Sequence[str], config: TrackingConfig) -> list[Path]:
    """The best checkpoints of several runs, in their order; see `find_folders`.

    Raises:
        UserError: a name means no run or several, two mean the same, or one has no checkpoint.
    """
    folders = find_folders(names, config)
    return [checkpoint_in(*each) for each in zip(folders, names, strict=True)]
