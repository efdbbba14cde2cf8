"""The visitors who were refused lately: each visitor once per rule, however often the visitor tried."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tunnelrelay.services.traffic import TrafficRow


@dataclass(frozen=True, slots=True)
class KeptOut:
    """One visitor who was refused by one rule.

    Attributes:
        last: The visitor's last request.
        times: How many of the remembered requests of this visitor the rule has refused.
    """

    last: TrafficRow
    times: int = 1


def visitors(rows: Iterable[TrafficRow], limit: int) -> list[KeptOut]:
    """Return the last visitors who were refused, each once per rule.

    Args:
        rows: Refused requests, the newest first.
        limit: How many entries to return at most.
    """
    found: dict[tuple[str, str], KeptOut] = {}
    for row in rows:
        who = (row.email or row.user or row.peer, row.rule)
        if (known := found.get(who)) is not None:
            found[who] = replace(known, times=known.times + 1)
        elif len(found) < limit:
            found[who] = KeptOut(row)
    return list(found.values())
