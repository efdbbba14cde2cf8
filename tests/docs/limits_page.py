"""The tables of docs/concepts/limits.md, made from what the modules declare in their `BOUNDS`, and from the store's.

python -m tests.docs.limits_page          prints it
python -m tests.docs.limits_page --write  writes it into the page
"""

import sys

from tests.bounds.found import declared
from tests.support.tools import ROOT
from tunnelctl.bounds import DeclaredBound
from tunnelrelay.store.growth import BOUNDS_OF

PAGE = ROOT / "docs" / "concepts" / "limits.md"
BEGIN, END = "<!-- limits:begin -->", "<!-- limits:end -->"
HEAD = "| what | at most | then | worst memory |\n| --- | --- | --- | --- |"
TITLES = {
    "request": "One request of a visitor",
    "response": "One response of an app",
    "body": "One body in chunks, of a request or a response",
    "message": "One message of a link",
    "answer": "One answer of an OpenID provider",
    "visitor connection": "Per connection of a visitor",
    "address": "Per address of a visitor, an agent or a user",
    "endpoint": "Per endpoint",
    "tunnel": "Per tunnel",
    "stream": "Per stream",
    "link": "Per link of an agent",
    "connection": "Per OpenID connection of an owner",
    "owner": "Per owner",
    "user": "Per user of the dashboard and the API",
    "relay": "Of the whole relay",
    "agent": "Of an agent, by its inspector",
    "reader": "Per program that follows the inspector's events",
}
"""Whose shares the chapters are about, in the order of the page."""
OF_THE_RELAYS = frozenset({"providers that are known of one owner"})
"""Bounds of an owner whose memory is a part of the relay's."""


def table() -> str:
    """Everything between the marks."""
    chapters = []
    for per, title in TITLES.items():
        bounds = sorted((bound for _, bound in declared().values() if bound.per == per), key=lambda bound: bound.name)
        if bounds:
            rows = "\n".join(map(_row, bounds))
            chapters.append(f"### {title}\n\n{HEAD}\n{rows}\n")
    return "\n".join((*chapters, _database(), _sum()))


def _sum() -> str:
    """How an operator sizes the machine."""
    bounds = [bound for _, bound in declared().values()]
    relay = sum(
        bound.worst_bytes * (12 if "of a dozen" in bound.name else 1) for bound in bounds if bound.per == "relay"
    )
    visitor = sum(bound.worst_bytes for bound in bounds if bound.per == "visitor connection")
    link = sum(bound.worst_bytes for bound in bounds if bound.per == "link")
    owner = sum(bound.worst_bytes for bound in bounds if bound.per == "owner" and bound.name not in OF_THE_RELAYS)
    return (
        "### All together\n\n"
        f"Everything of the whole relay at its worst at once is {_size(relay)}. To that come {_size(visitor)} for each "
        f"visitor's connection that neither reads nor stops sending, {_size(link)} for each link whose agent fills it, "
        f"and {_size(owner)} for each owner whose settings are as large as they may be.\n"
    )


def _database() -> str:
    rows = "\n".join(f"| `{name}` | {bound} |" for name, bound in sorted(BOUNDS_OF.items()))
    return f"### Tables of the database\n\n| table | what bounds it |\n| --- | --- |\n{rows}\n"


def _row(bound: DeclaredBound) -> str:
    worst = _size(bound.worst_bytes) if bound.worst_bytes else "-"
    return f"| {bound.name} | {_count(bound)} | {bound.when_full} | {worst} |"


def _count(bound: DeclaredBound) -> str:
    return _size(bound.limit) if bound.unit == "bytes" else f"{bound.limit:,} {bound.unit}"


def _size(size: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"


def write() -> None:
    """Brings the page up to date."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    write() if "--write" in sys.argv[1:] else print(table())
