"""The audit in a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cxrlab.data.audit.findings import SEVERITIES, Audit, Severity, Verdict

VERDICTS: dict[Verdict, str] = {
    "ok": "Nothing found that speaks against training on these images.",
    "warning": "Usable with reservations: the warnings weaken what results mean.",
    "fatal": "Not fit to train on as it is: results on this split would mean nothing.",
}

_MARKS: dict[Severity, tuple[str, str]] = {
    "fatal": ("✗", "bold red"),
    "warning": ("!", "bold yellow"),
    "info": ("·", "dim"),
}
_STYLES = {"ok": "bold green", "warning": "bold yellow", "fatal": "bold red"}
_MOST_CLASSES = 6


def print_audit(audit: Audit, console: Console | None = None) -> None:
    """Print the splits, the findings, worst first, and the verdict in words.

    Args:
        audit: what was found.
        console: where to; default: standard output. Plain text where it is no terminal.
    """
    console = console or Console()
    console.print()
    console.print(_splits(audit))
    findings = _findings(audit)
    if findings.row_count:
        console.print()
        console.print(findings)
    console.print()
    console.print(Text(VERDICTS[audit.verdict], style=_STYLES[audit.verdict]))


def _splits(audit: Audit) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="")
    names = next((list(split.classes) for split in audit.splits.values()), [])
    shown = names[:_MOST_CLASSES]
    for column in ("", "images", "patients"):
        table.add_column(column, justify="right" if column else "left")
    for name in shown:
        table.add_column(Text(name), justify="right")
    for split, summary in audit.splits.items():
        counts = (summary.images, summary.patients, *(summary.classes[name] for name in shown))
        table.add_row(split, *(f"{count:,}" for count in counts))
    if len(names) > len(shown):
        table.caption = f"and {len(names) - len(shown)} more classes"
    return table


def _findings(audit: Audit) -> Table:
    table = Table.grid(padding=(0, 1))
    for severity in reversed(SEVERITIES):
        mark, style = _MARKS[severity]
        for finding in audit.of(severity):
            table.add_row(
                Text(mark, style=style), Text(finding.check, style=style), Text(finding.message)
            )
    return table
