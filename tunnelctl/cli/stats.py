"""The numbers of the live screen: how many exchanges, how often, how long. Pure; the clock is an argument."""

from collections import deque
from typing import NamedTuple

WINDOW = 300
"""Seconds of history for the rates."""
MAX_DURATIONS = 1000
"""The percentiles are those of the last so many exchanges."""


class Stats(NamedTuple):
    """One row of numbers, named as ngrok's screen names them.

    Attributes:
        ttl: Exchanges so far.
        opn: Open now.
        rt1, rt5: Exchanges a second, over the last minute and five.
        p50, p90: Duration in seconds.
    """

    ttl: int
    opn: int
    rt1: float
    rt5: float
    p50: float
    p90: float


class ExchangeCounter:
    """Counts exchanges, in constant memory."""

    def __init__(self) -> None:
        self._total = 0
        self._open = 0
        self._per_second: deque[tuple[int, int]] = deque(maxlen=WINDOW)
        self._durations: deque[float] = deque(maxlen=MAX_DURATIONS)

    def began(self, now: float) -> None:
        """An exchange began at `now`, seconds."""
        self._total += 1
        self._open += 1
        second = int(now)
        if self._per_second and self._per_second[-1][0] == second:
            self._per_second[-1] = (second, self._per_second[-1][1] + 1)
        else:
            self._per_second.append((second, 1))

    def ended(self, seconds: float) -> None:
        """An exchange is over, after so many seconds."""
        self._open -= 1
        self._durations.append(seconds)

    def stats(self, now: float) -> Stats:
        """The numbers at `now`."""
        seconds = list(self._per_second)
        durations = sorted(self._durations)
        return Stats(
            self._total,
            self._open,
            sum(count for second, count in seconds if second > now - 60) / 60,
            sum(count for second, count in seconds if second > now - WINDOW) / WINDOW,
            percentile(durations, 0.5),
            percentile(durations, 0.9),
        )


def percentile(ordered: list[float], share: float) -> float:
    """The value below which this share lies; 0 for none at all."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
