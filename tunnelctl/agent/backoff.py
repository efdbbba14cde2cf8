"""Computes the wait before the next connection attempt. Clock and random numbers are arguments.

Exponential backoff with full jitter: the wait before try n is random between 0 and `min(0.1 s * 2**n, ceiling)`. The
ceiling depends on how long the relay has been away, because there are two aims: to reconnect at once after a restart,
and not to overload a relay that is down for long.

| away for   | ceiling | tries a second, per agent | so the link is back, after the relay is |
|------------|---------|---------------------------|-----------------------------------------|
| up to 30 s | 0.4 s   | 5                         | within 0.4 s, 0.2 s on average          |
| up to 5 m  | 5 s     | 0.4                       | within 5 s                              |
| longer     | 30 s    | 0.07                      | within 30 s                             |

A thousand agents that lose a relay together reconnect within 0.4 s: 2,500 attempts a second for this time, each of
which is its agent's last.
"""

from collections.abc import Callable

FIRST = 0.1
"""Maximum of the first wait in seconds."""
CEILINGS = ((30.0, 0.4), (300.0, 5.0))
"""Pairs of (relay away for less than this many seconds, maximum wait in seconds)."""
LAST_CEILING = 30.0
STEADY_AFTER = 5.0
"""Seconds that a link must have lasted to count as recovered. Otherwise a relay that accepts a link and drops it again
would be called ten times a second for ever."""
MAX_DOUBLINGS = 16
"""Maximum exponent: all ceilings are lower, and the power stays small in an outage of months."""


class Backoff:
    """Computes the waits of one agent.

    Args:
        random: Function that returns a random number from 0 to 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0
        self._since: float | None = None

    def next_delay(self, now: float) -> float:
        """Return the seconds to wait after a failure at time `now`."""
        if self._since is None:
            self._since = now
        ceiling = min(FIRST * 2.0 ** min(self._failures, MAX_DOUBLINGS), ceiling_after(now - self._since))
        self._failures += 1
        return self._random() * ceiling

    def note_link(self, seconds: float) -> bool:
        """Record that a link lasted this long.

        Return whether it was long enough to count as recovered, which resets the waits.
        """
        is_steady = seconds >= STEADY_AFTER
        if is_steady:
            self._failures = 0
            self._since = None
        return is_steady


def ceiling_after(away: float) -> float:
    """Return the maximum wait, in seconds, when the relay has been away for this many seconds."""
    return next((ceiling for limit, ceiling in CEILINGS if away < limit), LAST_CEILING)
