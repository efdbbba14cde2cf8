"""Prints tables for the commands that list something."""

from collections.abc import Iterable

WIDTH_OFF_TERMINAL = 250
"""A pipe has no width, and a row must not be folded there: its reader takes it apart by lines."""


def print_table(headings: Iterable[str], rows: Iterable[Iterable[str | None]]) -> None:
    """Prints columns to stdout; None is an empty cell."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(cell or "" for cell in row))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDTH_OFF_TERMINAL
    console.print(table)
