"""How long to wait before the next try. Pure: the clock and the dice are arguments.

Exponential with full jitter: before try n the wait is drawn evenly from 0 to `min(0.1 s * 2**n, ceiling)`. The
ceiling depends on how long the relay has been away, because the two wishes pull apart: come back at once after a
restart, and do not hammer a relay that is gone.

| away for   | ceiling | tries a second, per agent | so the link is back, after the relay is |
|------------|---------|---------------------------|-----------------------------------------|
| up to 30 s | 0.4 s   | 5                         | within 0.4 s, 0.2 s on average          |
| up to 5 m  | 5 s     | 0.4                       | within 5 s                              |
| longer     | 30 s    | 0.07                      | within 30 s                             |

A thousand agents that lose a relay together come back spread over 0.4 s: 2,500 dials a second for that long,
each of which is its agent's last.
"""

from collections.abc import Callable

FIRST = 0.1
"""Seconds: the most the first wait can be."""
CEILINGS = ((30.0, 0.4), (300.0, 5.0))
"""(away for less than this many seconds, longest wait in seconds)."""
LAST_CEILING = 30.0
STEADY_AFTER = 5.0
"""Seconds a link must have lasted to count as recovered. A relay that takes a link and drops it again would else be
dialled ten times a second for ever."""
MAX_DOUBLINGS = 16
"""Past this no ceiling is larger; it keeps the power small in an outage of months."""


class Backoff:
    """The waits of one agent.

    Args:
        random: Even draw from 0 to 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0
        self._since: float | None = None

    def next_delay(self, now: float) -> float:
        """Seconds to wait after a failure at `now`."""
        if self._since is None:
            self._since = now
        ceiling = min(FIRST * 2.0 ** min(self._failures, MAX_DOUBLINGS), ceiling_after(now - self._since))
        self._failures += 1
        return self._random() * ceiling

    def note_link(self, seconds: float) -> bool:
        """A link served for this long; returns whether that was steady, which wipes the slate clean."""
        is_steady = seconds >= STEADY_AFTER
        if is_steady:
            self._failures = 0
            self._since = None
        return is_steady


def ceiling_after(away: float) -> float:
    """The longest wait, in seconds, when the relay has been away for this many seconds."""
    return next((ceiling for limit, ceiling in CEILINGS if away < limit), LAST_CEILING)
