"""Formats responses of the API for people: lists as a table, a single resource as names and values.

`tunnel api` prints JSON, for programs, unless `--output table` is given. A table omits columns that are empty in every
row, and cuts long cells.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

MAX_CELL = 48
"""Maximum characters of a cell in a list, enough for ids, hosts and issuers. A single resource is shown in full."""
LEFT_OUT = frozenset({"uri", "metadata", "next_page_uri"})
"""Columns of lists that are left out, as they tell people little."""


def table(answer: Any) -> str:
    """Format a response as lines of text."""
    rows = _rows(answer)
    if rows is not None:
        return _list(rows)
    if isinstance(answer, dict):
        return _lines([[_plain(name), text] for name, value in answer.items() if (text := _text(value))])
    return _text(answer)


def _rows(answer: Any) -> list[Any] | None:
    """Return the resources of a page; None for a response that is not a page."""
    if not isinstance(answer, dict) or "next_page_uri" not in answer:
        return None
    lists = [value for value in answer.values() if isinstance(value, list)]
    return lists[0] if len(lists) == 1 else None


def _list(rows: Sequence[Any]) -> str:
    things = [row if isinstance(row, dict) else {"value": row} for row in rows]
    names = [name for name in dict.fromkeys(name for thing in things for name in thing) if name not in LEFT_OUT]
    shown = [name for name in names if any(_text(thing.get(name)) for thing in things)]
    shown.sort(key=lambda name: name != "id")
    if not shown:
        return "(none)"
    cells = ([_cut(_text(thing.get(name))) for name in shown] for thing in things)
    return _lines([[_plain(name.upper()) for name in shown], *cells])


def _lines(rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    if not rows:
        return "(none)"
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in padded)


def _text(value: Any) -> str:
    """Return a value in one line, without control characters; "" for an empty one."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case str():
            text = value
        case {"id": str(text)} if set(value) == {"id", "uri"}:
            pass
        case list():
            text = ", ".join(_text(one) for one in value)
        case dict():
            parts = ((name, _text(one)) for name, one in value.items() if name != "uri")
            text = " ".join(f"{name}={part}" for name, part in parts if part)
        case _:
            text = str(value)
    return _plain(text)


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"
