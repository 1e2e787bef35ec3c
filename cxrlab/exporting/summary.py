"""An export as it is printed."""

from __future__ import annotations

from rich.console import Console

from cxrlab.console import new_table, print_table
from cxrlab.exporting.check import BATCH, Checked
from cxrlab.exporting.export import Export

_ABSENT = "-"


def print_export(exported: Export, console: Console | None = None) -> None:
    """Print size, latency and distance from the run of each file.

    Args:
        exported: what to print.
        console: where to; default: standard output.
    """
    console = console or Console()
    table = new_table("")
    for heading in ("MB", "ms", f"ms ({BATCH})", "difference", "changed", "ROC-AUC"):
        table.add_column(heading, justify="right")
    for checked in exported.files:
        table.add_row(*_cells(checked))
    print_table(f"Exported files, checked on {_images(exported)}", table, console)
    console.print(
        f"ms: of one image alone, and of each of {BATCH} together; difference: greatest of a "
        "probability from the run's; changed: decisions; ROC-AUC: on validation.",
        highlight=False,
    )


def _images(exported: Export) -> str:
    counts = {"validation images": exported.validation, "phantoms": exported.phantoms}
    return " and ".join(f"{count} {what}" for what, count in counts.items() if count)


def _cells(checked: Checked) -> tuple[str, ...]:
    return (
        checked.name,
        f"{checked.megabytes:.1f}",
        f"{checked.single_ms:.1f}",
        f"{checked.batch_ms:.1f}",
        f"{checked.difference:.1e}" if checked.difference else "0",
        f"{checked.changed:.1%}",
        _ABSENT if checked.auroc is None else f"{checked.auroc:.4f}",
    )
