"""Who was kept out of late: each visitor once for each reason, however often they tried."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tunnelrelay.services.traffic import TrafficRow


@dataclass(frozen=True, slots=True)
class KeptOut:
    """One visitor whom one rule kept out.

    Attributes:
        last: Their last request.
        times: How many there were, among those that are remembered.
    """

    last: TrafficRow
    times: int = 1


def visitors(rows: Iterable[TrafficRow], limit: int) -> list[KeptOut]:
    """The last visitors that were kept out.

    Args:
        rows: Their requests, the newest first.
        limit: How many visitors.
    """
    found: dict[tuple[str, str], KeptOut] = {}
    for row in rows:
        who = (row.email or row.user or row.peer, row.rule)
        if (known := found.get(who)) is not None:
            found[who] = replace(known, times=known.times + 1)
        elif len(found) < limit:
            found[who] = KeptOut(row)
    return list(found.values())
