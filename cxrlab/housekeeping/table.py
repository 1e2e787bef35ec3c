"""The disk use and the removals as the user reads them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from cxrlab.config.commands import DiskConfig
from cxrlab.console import new_table
from cxrlab.housekeeping.clean import Removal
from cxrlab.housekeeping.items import Item, Part

_WIDTH = 200  # of a file or a pipe, which folds nothing


def print_items(items: Sequence[Item]) -> None:
    """All items, the largest first, and the sum."""
    table = new_table("size")
    for heading in ("what", "changed", "state", "belongs to", "path"):
        table.add_column(heading, overflow="fold")
    for item in sorted(_together(items), key=lambda item: -item.size):
        state = "in use" if item.in_use and item.state in ("", "running") else item.state
        table.add_row(
            size_text(item.size), item.kind, age_text(time.time() - item.changed), state,
            Text(item.belongs), Text(str(item.path)),
        )  # fmt: skip
    console = _console()
    console.print(table)
    console.print(f"{size_text(sum(item.size for item in items))} in all", highlight=False)


def _together(items: Sequence[Item]) -> list[Item]:
    """Folders of other commands as one row: they are small, many, and never cleaned."""
    others = [item for item in items if item.kind == "other"]
    if not others:
        return list(items)
    parts = tuple(Part(item.parts[0].root, item.parts[0].root, item.size) for item in others)
    newest = max(item.changed for item in others)
    row = Item("other", parts, newest, f"{len(others)} folders of other commands")
    return [*(item for item in items if item.kind != "other"), row]


def print_removals(removals: Sequence[Removal], config: DiskConfig) -> None:
    """Every path that goes, with its size, one a line."""
    for removal in removals:
        for part in removal.parts:
            print(f"{size_text(part.size):>9}  {part.path}")
        if removal.whole:
            for run_id in removal.item.run_ids:
                print(f"{'':>9}  MLflow run {run_id}")
    total = size_text(sum(part.size for removal in removals for part in removal.parts))
    if not removals:
        print(f"clean={config.clean}: nothing to delete")
    elif not config.yes:
        print(f"{total} would be deleted; nothing is yet: add yes=true")


def size_text(size: int) -> str:
    """Bytes for people, in powers of 1000 as disks are sold."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5:
            return f"{value:.3g} {unit}"
    return f"{value / 1000:.3g} TB"


def age_text(seconds: float) -> str:
    """An age for people, in its largest whole unit."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "now"


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH)
