"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

Cells = tuple[Sequence[str], Sequence[Sequence[str]]]
"""The heads and rows of a table."""


def rich_table(title: str, cells: Cells) -> Table:
    """Return a table for the terminal, its first column to the left and the others to the right."""
    head, rows = cells
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(head):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def print_table(title: str, cells: Cells) -> None:
    """Print a table."""
    Console().print(rich_table(title, cells))
