"""What a request to clean means: which files would go, and their removal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cxrlab.config.commands import DiskConfig
from cxrlab.errors import UserError, warn
from cxrlab.housekeeping.items import Item, Kind, Part, held, remove
from cxrlab.housekeeping.tracked import Tracking, erase, mark_deleted
from cxrlab.layout import BEST

_KINDS: dict[str, Kind] = {
    "caches": "cache",
    "checkpoints": "run",
    "runs": "run",
    "sweeps": "sweep",
    "orphans": "orphan",
}


@dataclass(frozen=True)
class Removal:
    """An item, and which of its parts are to go; all of them take its MLflow runs along."""

    item: Item
    parts: tuple[Part, ...]

    @property
    def whole(self) -> bool:
        """Whether the item goes with all that it has."""
        return self.parts == self.item.parts


def plan(items: Iterable[Item], config: DiskConfig) -> list[Removal]:
    """What `clean` and its filters choose; nothing that is in use.

    Raises:
        UserError: `runs` names something that is not there, or that is in use.
    """
    if config.clean is None:
        return []
    candidates = [item for item in items if item.kind == _KINDS[config.clean]]
    candidates = _named(candidates, config.runs, config.clean)
    before = time.time() - config.age
    chosen = []
    for item in candidates:
        if item.in_use or item.changed > before:
            continue
        parts = _checkpoints(item, config) if config.clean == "checkpoints" else item.parts
        if parts:
            chosen.append(Removal(item, parts))
    return chosen


def _named(items: Sequence[Item], names: Sequence[str], what: str) -> list[Item]:
    """Only those that are named, all where no name is given."""
    if not names:
        return list(items)
    found = []
    for name in names:
        matching = [item for item in items if _is_called(item, name)]
        if len(matching) != 1:
            count = "several are" if matching else "nothing is"
            raise UserError(
                f"runs={name}: {count} called so among what clean={what} looks at; give a whole "
                "MLflow id or the folder, as python -m cxrlab.disk shows them"
            )
        if matching[0].in_use:
            raise UserError(
                f"runs={name}: {matching[0].path} is in use ({matching[0].state or 'locked'}); "
                "wait for its end, or take its model out of the registry first"
            )
        found += [item for item in matching if item not in found]
    return found


def _is_called(item: Item, name: str) -> bool:
    return (
        any(run_id.startswith(name) for run_id in item.run_ids[:1])
        or item.path.name == name
        or str(item.path) == name
        or str(item.path).endswith(f"/{name.rstrip('/')}")
    )


def _checkpoints(item: Item, config: DiskConfig) -> tuple[Part, ...]:
    """Of a finished run those that go; an unfinished one needs its last to go on."""
    if item.state not in ("finished", "not in MLflow", ""):
        return ()
    best = BEST.rpartition("/")[2]
    return tuple(p for p in item.checkpoints if config.keep is None or p.path.name != best)


def carry_out(removals: Sequence[Removal], tracking: Tracking | None) -> int:
    """Remove what was planned, and no more; an item that came into use meanwhile stays.

    Returns:
        Bytes that were freed.

    Raises:
        UserError: a file can't be removed, or the store fails.
    """
    freed = 0
    for removal in removals:
        with held(removal.item.locks) as free:
            if not free:
                warn(f"{removal.item.path}: came into use and stays; clean it when it is done")
                continue
            known = [i for i in removal.item.run_ids if tracking and i in tracking.runs]
            gone = known if removal.whole else []
            for run_id in gone:
                assert tracking is not None
                mark_deleted(tracking, run_id)
            for part in removal.parts:
                remove(part)
                freed += part.size
            for run_id in gone:
                assert tracking is not None
                erase(tracking, run_id)
    return freed
