"""The quality of explanations in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from cxrlab.console import new_table, print_table
from cxrlab.explanation.quality.results import Result, Results
from cxrlab.explanation.quality.summary import MEASURES
from cxrlab.explanation.quality.verdict import verdicts

_WITH_INTERVALS = 3  # columns; more are too wide for a terminal
_STYLES = {"fatal": "bold red", "warning": "yellow", "ok": "green"}


def print_quality(results: Results) -> None:
    """Print the numbers, a row a measure and a column a method, and the verdict."""
    console = Console()
    table = new_table("")
    for result in results.rows:
        table.add_column(result.name, justify="right", no_wrap=True)
    for name, measure in MEASURES.items():
        if any(name in result.metrics.values for result in results.rows):
            ends = len(results.rows) <= _WITH_INTERVALS
            cells = (_cell(result, name, ends=ends) for result in results.rows)
            table.add_row(measure.label, *cells)
    print_table(f"Explanations, {len(results.cases)} images of {results.data}", table, console)
    console.print()
    for finding in verdicts(results):
        console.print(Text(finding.title, style=_STYLES[finding.tone]))
        console.print(Text(f"  {finding.text}"))


def _cell(result: Result, name: str, *, ends: bool) -> str:
    value, interval = result.metrics.values.get(name), result.metrics.intervals.get(name)
    if value is None:
        return ""
    shown = f"{value:.3f}"
    if interval is None or not ends:
        return shown
    return f"{shown} ({interval.low:.2f} to {interval.high:.2f})"
