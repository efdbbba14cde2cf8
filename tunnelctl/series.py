"""Counts requests, errors and latencies by second, for the last ten minutes.

The relay counts requests of visitors, the agent those that its tunnels served. `look.charts` draws the counts.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from tunnelctl.bounds import DeclaredBound

SPAN_SECONDS = 600
"""Seconds for which counts are kept."""
STEP_SECONDS = 5
"""Seconds per point of a chart: 120 points for ten minutes."""
MINUTE_SECONDS = 60
"""Seconds over which current figures are averaged; older requests say nothing about the current state."""
SECONDS_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency buckets in seconds; a last bucket has none. Bounds differ by a factor of about 2.5, so
that a median is accurate to a third."""
OTHER, REFUSED, FAILED = range(3)
"""Outcomes of a request: any other response of the app, refused by the relay (4xx), failed (5xx of app or relay)."""
UNTIMED = -1
"""Bucket of a request without a meaningful latency, such as a websocket that was open for an hour."""

BLOCK_SECONDS = 20
"""Seconds whose counts are allocated together: 640 bytes. A host visited once needs one block, a busy one 31."""

_COUNTS = 3
_WIDTH = _COUNTS + len(SECONDS_BOUNDS) + 1
_MOST = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures about the requests in a period of time.

    Attributes:
        at: Unix time of the period's begin.
        seconds: Length of the period.
        requests: Number of requests that ended in the period.
        refused: Number of requests that the relay itself refused with 4xx; an app's own 4xx does not count.
        failed: Number of requests with a 5xx response.
        p50, p95: Median and 95th percentile of the latency in seconds; None without requests.
    """

    at: float
    seconds: float
    requests: int
    refused: int
    failed: int
    p50: float | None
    p95: float | None

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def failed_share(self) -> float:
        """The share of failed requests, from 0 to 1."""
        return self.failed / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class TrafficFigures:
    """The figures of the last minute, and of the last ten minutes for charts.

    Attributes:
        points: The last ten minutes in periods of `STEP_SECONDS`, oldest first.
        minute: The figures of the last minute.
    """

    points: tuple[Figures, ...]
    minute: Figures


BOUNDS = (
    DeclaredBound(
        name="figures of the last ten minutes",
        limit=SPAN_SECONDS // BLOCK_SECONDS + 1,
        unit="blocks of 20 seconds",
        per="endpoint",
        when_full="the oldest are given back",
        worst_bytes=28_000,
        holds=("Series._blocks",),
    ),
)


class Series:
    """Counts of one host, owner or tunnel by second. Allocates memory only for times with requests, at most 28 kB.

    Attributes:
        latest: Unix time of the newest second with a count; 0 when nothing has been counted.
    """

    __slots__ = ("_blocks", "latest")

    def __init__(self) -> None:
        self._blocks: dict[int, array[int]] = {}
        self.latest = 0

    def add(self, second: int, outcome: int, bucket: int, count: int = 1) -> None:
        """Count requests that ended in one second.

        Args:
            second: Unix time of that second.
            outcome: `OTHER`, `REFUSED` or `FAILED`.
            bucket: Latency bucket from `bucket_of`, or `UNTIMED`.
        """
        if second <= self.latest - SPAN_SECONDS:
            return  # the clock was set back by more than the span of the series
        self.latest = max(self.latest, second)
        number, place = divmod(second, BLOCK_SECONDS)
        counts = self._blocks.get(number)
        if counts is None:
            self.forget(self.latest)
            counts = self._blocks[number] = array("H", _EMPTY)
        start = place * _WIDTH
        _increase(counts, start, count)
        if outcome:
            _increase(counts, start + outcome, count)
        if bucket != UNTIMED:
            _increase(counts, start + _COUNTS + bucket, count)

    def forget(self, now: float) -> None:
        """Free the memory of counts older than `SPAN_SECONDS`."""
        oldest = (int(now) - SPAN_SECONDS + 1) // BLOCK_SECONDS
        for number in [number for number in self._blocks if number < oldest]:
            del self._blocks[number]

    def figures(self, now: float, seconds: int, step: int) -> list[Figures]:
        """Return the figures of the last `seconds` in periods of `step` seconds, oldest first. The last one ends now.

        Periods begin at multiples of `step`, so that repeated calls return the same periods.
        """
        end = int(now) // step * step + step
        return [self._over(start, step) for start in range(end - seconds // step * step, end, step)]

    def total(self, now: float, seconds: int) -> Figures:
        """Return the total figures of the last `seconds`, without the current second, which is incomplete."""
        return self._over(int(now) - seconds, seconds)

    def last_minutes(self, now: float) -> TrafficFigures:
        """Return the figures of the last ten minutes for charts, and of the last minute for their headlines."""
        return TrafficFigures(tuple(self.figures(now, SPAN_SECONDS, STEP_SECONDS)), self.total(now, MINUTE_SECONDS))

    def _over(self, start: int, length: int) -> Figures:
        sums = [0] * _WIDTH
        for second in range(max(start, self.latest - SPAN_SECONDS + 1), min(start + length, self.latest + 1)):
            number, place = divmod(second, BLOCK_SECONDS)
            counts = self._blocks.get(number)
            if counts is not None:
                at = place * _WIDTH
                sums = [a + b for a, b in zip(sums, counts[at : at + _WIDTH], strict=True)]
        requests, refused, failed = sums[:_COUNTS]
        p50, p95 = (quantile(sums[_COUNTS:], share) for share in (0.5, 0.95))
        return Figures(at=start, seconds=length, requests=requests, refused=refused, failed=failed, p50=p50, p95=p95)


def bucket_of(seconds: float) -> int:
    """Return the index of the latency bucket for a duration."""
    return bisect_left(SECONDS_BOUNDS, seconds)


def quantile(buckets: Iterable[int], share: float) -> float | None:
    """Return the latency in seconds that this share of the requests did not exceed; None without requests.

    Latencies are assumed to be spread evenly in a bucket. Those above the last bound count as equal to it.
    """
    counts = list(buckets)
    wanted = share * sum(counts)
    if not wanted:
        return None
    seen = 0
    for count, (low, high) in zip(counts, pairwise((0.0, *SECONDS_BOUNDS)), strict=False):
        if count and seen + count >= wanted:
            return low + (high - low) * (wanted - seen) / count
        seen += count
    return SECONDS_BOUNDS[-1]


def _increase(counts: "array[int]", index: int, count: int) -> None:
    counts[index] = min(_MOST, counts[index] + count)


_EMPTY = bytes(2 * _WIDTH * BLOCK_SECONDS)
