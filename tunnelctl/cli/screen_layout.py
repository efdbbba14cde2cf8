"""Fits labelled rows to a terminal: folds them at its width, and cuts the longest lists to its height.

It knows nothing of tunnels: what the rows say is `screen`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.console import Console
from rich.text import Text

WIDE = 78
"""Columns from which on the screen looks as ngrok's does, which takes 30 columns for labels and six cells of 8."""
LABEL_WIDTH = 30
NARROW_LABEL_WIDTH = 16
"""Columns of the labels on a terminal that is not WIDE; longer labels are folded."""
MIN_VALUE_WIDTH = 2
"""Columns: room for one wide character, on whatever terminal."""


@dataclass(frozen=True, slots=True)
class ScreenRow:
    """A value with its label, of any length."""

    label: str
    value: Text


def label_width(width: int) -> int:
    """Columns that the labels take on a terminal of this width."""
    return LABEL_WIDTH if width >= WIDE else NARROW_LABEL_WIDTH


def fold_row(row: ScreenRow, console: Console, width: int) -> list[Text]:
    """Return the row's lines, none wider than `width`. Words stay whole where one fits into a line."""
    left = label_width(width)
    labels = Text(row.label).wrap(console, left - 1, overflow="fold")
    values = row.value.wrap(console, max(width - left, MIN_VALUE_WIDTH), overflow="fold")
    pairs = zip_longest(labels, values, fillvalue=Text())
    return [Text.assemble(label.plain.ljust(left), value) for label, value in pairs]


def fit_blocks(blocks: Sequence[Sequence[ScreenRow]], console: Console, *, width: int, room: int) -> list[Text]:
    """Return the lines of the blocks, at most `room` of them as long as each block can have one.

    Where there are too many, the longest blocks are cut, and their last line counts the rows that are left out.
    """
    folded = [_fold_until(rows, console, width, room + 1) for rows in blocks if rows]
    shares = _shares([len(lines) for lines in folded], room)
    counts = [len(rows) for rows in blocks if rows]
    return [
        line
        for lines, share, count in zip(folded, shares, counts, strict=True)
        for line in _cut(lines, share, count, width)
    ]


def _fold_until(
    rows: Sequence[ScreenRow], console: Console, width: int, limit: int
) -> list[tuple[int, ScreenRow, Text]]:
    """Fold rows until there are `limit` lines. Returns each line with its row, and that row's number."""
    lines: list[tuple[int, ScreenRow, Text]] = []
    for number, row in enumerate(rows):
        lines += [(number, row, line) for line in fold_row(row, console, width)]
        if len(lines) >= limit:
            break
    return lines


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """How many lines each block gets: all that it wants, less what the longest give up until `room` is kept."""
    shares = [*wanted]
    while sum(shares) > max(room, len(shares)):
        shares[shares.index(max(shares))] -= 1
    return shares


def _cut(lines: Sequence[tuple[int, ScreenRow, Text]], share: int, count: int, width: int) -> list[Text]:
    """Return `share` of a block's lines; the last one counts the rows, of `count`, that are not shown whole."""
    if len(lines) <= share:
        return [line for _, _, line in lines]
    number, row, _ = lines[share - 1]
    room = lines[: share - 1]
    whole = [line for of, _, line in room if of != number]
    kept = whole or [line for _, _, line in room]  # one row that is longer than all the room is shown in part
    left_out = count - number
    more = "…" if left_out == 1 else f"… and {left_out} more"
    label = row.label if not kept else ""
    return [*kept, Text(f"{label[: label_width(width) - 1].ljust(label_width(width))}{more}")]
