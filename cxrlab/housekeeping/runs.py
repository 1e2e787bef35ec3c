"""Runs and sweeps: their folders, their artifacts, and artifacts that no run claims."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cxrlab.files import read_yaml
from cxrlab.housekeeping.items import Item, Part, folders, is_held, measure, part_of
from cxrlab.housekeeping.tracked import Tracking
from cxrlab.layout import BEST, CHECKPOINTS, CONFIG_FILE, ID_FILE, LAST, UNSENT_FILE
from cxrlab.sweeps.records import LOCK_FILE, SWEEP_FILE, read_sweep
from cxrlab.training.resume import RUN_LOCK

_QUIET = 3600.0  # seconds: a RUNNING run that wrote since may be one of another machine
_RUN_ID, _MODEL_ID = re.compile(r"[0-9a-f]{32}"), re.compile(r"m-[0-9a-f]{32}")


def find_runs(outputs: Path, tracking: Tracking | None) -> list[Item]:
    """Sweeps, runs outside them, and other folders that commands wrote, below `outputs/`."""
    found = []
    for folder in _leaves(outputs):
        if (folder / SWEEP_FILE).is_file():
            found.append(_sweep(folder, outputs, tracking))
        elif (folder / CONFIG_FILE).is_file():
            found.append(_run(folder, outputs, tracking))
        else:
            size, changed = measure(folder)
            found.append(Item("other", (Part(folder, outputs, size),), changed, folder.name))
    return found


def _leaves(outputs: Path) -> Iterator[Path]:
    """`SLURM-JOB`, `DATE/TIME` and `sweeps/NAME`, and whatever lies beside them."""
    for folder in folders(outputs):
        inner = folders(folder)
        known = (folder / SWEEP_FILE).is_file() or (folder / CONFIG_FILE).is_file()
        yield from [folder] if known or not inner else inner


def _run(folder: Path, outputs: Path, tracking: Tracking | None) -> Item:
    run_id = _id_in(folder)
    ids = (run_id,) if run_id else ()
    parts = (part_of(folder, outputs), *_artifacts(ids, tracking))
    changed = measure(folder)[1]
    state, busy = _state([folder], (folder / RUN_LOCK,), ids, changed, tracking)
    config = read_yaml(folder / CONFIG_FILE) or {}
    told = [config.get("data", {}).get("name"), config.get("model", {}).get("backbone"), run_id]
    return Item(
        kind="run",
        parts=parts,
        changed=changed,
        belongs=", ".join(str(word) for word in told if word),
        state=state,
        in_use=busy,
        run_ids=ids,
        locks=(folder / RUN_LOCK,),
        checkpoints=_checkpoints(folder, outputs, parts[1:]),
    )


def _sweep(folder: Path, outputs: Path, tracking: Tracking | None) -> Item:
    sweep = read_sweep(folder)
    trials = [trial for trial in folders(folder) if (trial / ID_FILE).is_file()]
    ids = tuple(i for i in ((sweep.parent if sweep else None), *map(_id_in, trials)) if i)
    locks = (folder / LOCK_FILE, *(t / name for t in trials for name in (LOCK_FILE, RUN_LOCK)))
    changed = measure(folder)[1]
    state, busy = _state([folder, *trials], locks, ids, changed, tracking)
    return Item(
        kind="sweep",
        parts=(part_of(folder, outputs), *_artifacts(ids, tracking)),
        changed=changed,
        belongs=f"{folder.name}, {len(trials)} runs",
        state=state,
        in_use=busy,
        run_ids=ids,
        locks=locks,
    )


def find_orphans(tracking: Tracking | None, claimed: Sequence[str]) -> list[Item]:
    """Runs in the store without a folder of their own, and artifacts without a run.

    Runs that were deleted in the UI and artifacts that no run claims are orphans; runs of the
    store whose folder is elsewhere, or gone, are shown as `store` and never removed.

    Args:
        tracking: the store.
        claimed: ids of the runs whose folders were found.
    """
    if tracking is None:
        return []
    found = []
    known: set[Path] = set()
    for run in tracking.runs.values():
        known |= set(run.folders)
        parts = tracking.parts(run.run_id)
        if run.run_id in claimed or not parts:
            continue
        changed = max(measure(part.path)[1] for part in parts)
        gone = run.deleted and not run.registered
        found.append(
            Item(
                kind="orphan" if gone else "store",
                parts=parts,
                changed=changed,
                belongs=f"{run.name} {run.run_id}".strip(),
                state="deleted in MLflow" if gone else run.status.lower(),
                in_use=not gone,
                run_ids=(run.run_id,),
            )
        )
    if tracking.artifacts is not None:
        found += [
            _unclaimed(folder, tracking.artifacts)
            for folder in _artifact_folders(tracking.artifacts)
            if folder not in known
        ]
    return found


def _artifact_folders(root: Path) -> Iterator[Path]:
    """Folders that are called as MLflow calls those of runs and logged models."""
    for experiment in folders(root):
        yield from (f for f in folders(experiment) if _RUN_ID.fullmatch(f.name))
        yield from (f for f in folders(experiment / "models") if _MODEL_ID.fullmatch(f.name))


def _unclaimed(folder: Path, root: Path) -> Item:
    size, changed = measure(folder)
    fresh = time.time() - changed < _QUIET  # perhaps of a run that began while we looked
    part = Part(folder, root, size)
    return Item("orphan", (part,), changed, folder.name, "no such run", in_use=fresh)


def _artifacts(ids: Sequence[str], tracking: Tracking | None) -> tuple[Part, ...]:
    return tuple(part for i in ids for part in tracking.parts(i)) if tracking else ()


def _state(
    places: Sequence[Path],
    locks: Sequence[Path],
    ids: Sequence[str],
    changed: float,
    tracking: Tracking | None,
) -> tuple[str, bool]:
    """The state of a run, or of several taken together, and whether it must stay."""
    if any(map(is_held, locks)):
        return "running", True
    if any((place / UNSENT_FILE).is_file() for place in places):
        return "not all sent to MLflow", True
    runs = [tracking.runs[i] for i in ids if i in tracking.runs] if tracking else []
    if any(run.registered for run in runs):
        return "registered model", True
    if not runs:
        return ("not in MLflow" if tracking else ""), False
    statuses = {run.status.lower() for run in runs}
    if "running" in statuses:
        fresh = time.time() - changed < _QUIET
        return ("running" if fresh else "unfinished"), fresh
    return ", ".join(sorted(statuses)), False


def _checkpoints(folder: Path, outputs: Path, artifacts: Sequence[Part]) -> tuple[Part, ...]:
    """Checkpoints in a run's folder and their copies among its artifacts."""
    files = [Part(folder / name, outputs, 0) for name in (BEST, LAST)]
    for artifact in artifacts:
        copies = artifact.path / "artifacts" / CHECKPOINTS
        files += [Part(copies / Path(name).name, artifact.root, 0) for name in (BEST, LAST)]
    return tuple(part_of(f.path, f.root) for f in files if os.path.lexists(f.path))


def _id_in(folder: Path) -> str | None:
    file = folder / ID_FILE
    text = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    return text if text and "/" not in text else None
