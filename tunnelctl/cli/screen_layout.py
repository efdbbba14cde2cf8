"""Fits labelled rows to a terminal: folds them at its width, and cuts the longest lists to its height.

It does not know what the rows mean; `screen` has the content.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.console import Console
from rich.text import Text

WIDE = 78
"""Width of a terminal, in columns, from which the screen has ngrok's layout: 30 columns for labels and six cells of
8."""
LABEL_WIDTH = 30
NARROW_LABEL_WIDTH = 16
"""Columns for labels on a terminal narrower than WIDE; longer labels are folded."""
MIN_VALUE_WIDTH = 2
"""Minimum columns for values: room for one wide character on any terminal."""


@dataclass(frozen=True, slots=True)
class ScreenRow:
    """A label with its value, both of any length."""

    label: str
    value: Text


def label_width(width: int) -> int:
    """Return the columns for labels on a terminal of this width."""
    return LABEL_WIDTH if width >= WIDE else NARROW_LABEL_WIDTH


def fold_row(row: ScreenRow, console: Console, width: int) -> list[Text]:
    """Return the row's lines, none wider than `width`. Words are not split if they fit into a line."""
    left = label_width(width)
    labels = Text(row.label).wrap(console, left - 1, overflow="fold")
    values = row.value.wrap(console, max(width - left, MIN_VALUE_WIDTH), overflow="fold")
    pairs = zip_longest(labels, values, fillvalue=Text())
    return [Text.assemble(label.plain.ljust(left), value) for label, value in pairs]


def fit_blocks(blocks: Sequence[Sequence[ScreenRow]], console: Console, *, width: int, room: int) -> list[Text]:
    """Return the lines of the blocks, at most `room` in total, provided that every block can have one.

    If there are too many, the longest blocks are cut, and their last line counts the rows that are left out.
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
    """Fold rows until there are `limit` lines. Return each line with its row and the row's number."""
    lines: list[tuple[int, ScreenRow, Text]] = []
    for number, row in enumerate(rows):
        lines += [(number, row, line) for line in fold_row(row, console, width)]
        if len(lines) >= limit:
            break
    return lines


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """Return how many lines each block gets: as many as it needs, reduced for the longest blocks until all fit into
    `room`.
    """
    shares = [*wanted]
    while sum(shares) > max(room, len(shares)):
        shares[shares.index(max(shares))] -= 1
    return shares


def _cut(lines: Sequence[tuple[int, ScreenRow, Text]], share: int, count: int, width: int) -> list[Text]:
    """Return `share` lines of a block; the last one says how many of the `count` rows are not shown completely."""
    if len(lines) <= share:
        return [line for _, _, line in lines]
    number, row, _ = lines[share - 1]
    room = lines[: share - 1]
    whole = [line for of, _, line in room if of != number]
    kept = whole or [line for _, _, line in room]  # a single row longer than the room is shown in part
    left_out = count - number
    more = "…" if left_out == 1 else f"… and {left_out} more"
    label = row.label if not kept else ""
    return [*kept, Text(f"{label[: label_width(width) - 1].ljust(label_width(width))}{more}")]
