"""How tables look in a terminal, and in a file."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def new_table(corner: str) -> Table:
    """A table with its first column, whose heading is `corner`."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="")
    table.add_column(corner, no_wrap=True)
    return table


def fits(table: Table, console: Console) -> bool:
    """Whether a console shows a table without breaking its lines."""
    unbounded = console.options.update(max_width=10_000)
    return console.measure(table, options=unbounded).maximum <= console.width


def print_table(heading: str, table: Table, console: Console) -> None:
    """Print a table below its heading, or that it is too wide for the console."""
    console.print()
    console.print(Text(heading, style="bold"))
    if not fits(table, console):
        console.print("Too wide to show here; see the files of the run.", highlight=False)
        return
    console.print(table)
