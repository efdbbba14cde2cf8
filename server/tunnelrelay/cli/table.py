"""Prints the tables of the commands that list rows."""

from collections.abc import Iterable

WIDTH_OFF_TERMINAL = 250
"""Columns of output that goes to no terminal: wide enough that no row is folded, as programs read it line by line."""


def print_table(headings: Iterable[str], rows: Iterable[Iterable[str | None]]) -> None:
    """Print a table to stdout; None is an empty cell."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(cell or "" for cell in row))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDTH_OFF_TERMINAL
    console.print(table)
