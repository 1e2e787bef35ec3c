"""Send what runs left in their folders because their server was gone."""

from __future__ import annotations

from pathlib import Path

from cxrlab.config.paths import store_dir
from cxrlab.config.schema import TrackingConfig
from cxrlab.errors import UserError
from cxrlab.layout import ID_FILE, METRICS_FILE, UNSENT_FILE
from cxrlab.tracking.metrics import BATCH, read_points
from cxrlab.tracking.outbox import Outbox
from cxrlab.tracking.params import allowed_name
from cxrlab.tracking.parcels import Metrics, Parcel, counted
from cxrlab.tracking.sender import Sender
from cxrlab.tracking.spool import Spool
from cxrlab.tracking.store import open_store, reason

ALL = "all"


def unsent_folders(name: str, below: Path) -> list[Path]:
    """The folders of runs to send, oldest first.

    Args:
        name: `all`, a run's folder, or an MLflow run id or a prefix of it.
        below: where to look for `all` and for ids.

    Returns:
        Of a run that misses nothing, none.

    Raises:
        UserError: no run or several are meant, or the run has no place in MLflow.
    """
    if name != ALL and (folder := Path(name).expanduser()).is_dir():
        return [folder.absolute()] if _tracked(folder) else []
    found = sorted(below.rglob(UNSENT_FILE), key=lambda file: file.stat().st_mtime)
    folders = [file.parent.absolute() for file in found]
    if name == ALL:
        return folders
    ids = {folder: spool.run_id for folder in folders if (spool := Spool.read(folder))}
    matching = [folder for folder, run_id in ids.items() if run_id.startswith(name)]
    if len(matching) == 1:
        return matching
    if matching:
        told = ", ".join(ids[folder] for folder in matching[:3])
        raise UserError(f"run={name}: {len(matching)} runs begin so ({told}); give more characters")
    raise UserError(
        f"run={name}: neither a folder nor a run in {below} that misses something in MLflow; give "
        "the run's folder, or folder=PATH of the runs"
    )


def _tracked(folder: Path) -> bool:
    """Whether the run in a folder misses something in MLflow.

    Raises:
        UserError: it has no run in MLflow.
    """
    if (folder / UNSENT_FILE).is_file():
        return True
    file = folder / ID_FILE
    run_id = file.read_text().strip() if file.is_file() else ""
    if not run_id or "/" in run_id:
        raise UserError(
            f"run={folder}: no MLflow run belongs to this folder; only a run that was begun on a "
            "server can be sent there"
        )
    return False


def send_unsent(folder: Path, config: TrackingConfig) -> str:
    """Send what the run in a folder left, and forget it as it arrives.

    All of it may have been sent before: nothing is doubled.

    Args:
        folder: of the run, with its `unsent.json`.
        config: its `uri` is asked in place of the run's own server, where it is given.

    Returns:
        One line that says what was sent.

    Raises:
        UserError: the server is not there, has no such run, or did not take all of it.
    """
    spool = Spool.read(folder)
    if spool is None:
        return f"nothing to send of {folder}"
    store = open_store(config.uri or spool.uri, store_dir())
    sender = Sender(store, spool.run_id, folder)
    sent = 0

    def deliver(parcel: Parcel) -> None:
        nonlocal sent
        if not isinstance(parcel, Metrics):
            sender.send(parcel)
            return
        held = {(point.name, point.step) for point in sender.points()}
        points = read_points(folder / METRICS_FILE)
        missing = [p for p in points if (allowed_name(p.name), p.step) not in held]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            sender.send_points(batch)
            sent += len(batch)

    outbox = Outbox(deliver, store.shown, config.grace)
    for parcel in (Metrics(), *spool.parcels):
        outbox.put(parcel)
    left = outbox.close()
    if left:
        Spool.of(spool.run_id, spool.uri, left).write(folder)
        why = reason(outbox.error) if outbox.error else "it is too slow"
        raise UserError(
            f"tracking server {store.shown} did not take all of run {spool.run_id} ({why}): "
            f"the rest stays in {folder / UNSENT_FILE}; mend that and give the command again"
        )
    Spool.remove(folder)
    return f"run {spool.run_id}: sent {sent} points of metrics, {counted(spool.parcels)}"
