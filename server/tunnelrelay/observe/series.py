"""Counts of the last ten minutes by second: requests, errors and latencies."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from tunnelctl.bounds import DeclaredBound

SPAN_SECONDS = 600
"""As far back as is remembered."""
SECONDS_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the classes of latency; a last class has none. About 2.5 apart: a median is right to a third."""
OTHER, REFUSED, FAILED = range(3)
"""How a request ended: any other answer of the app, refused by the relay (4xx), failed (5xx of the app or relay)."""
UNTIMED = -1
"""The class of a request whose time says nothing: a websocket that was open for an hour was not slow."""

BLOCK_SECONDS = 20
"""Seconds whose counts are allocated together: 640 bytes. A host visited once costs one block, a busy one 31."""

_COUNTS = 3
_WIDTH = _COUNTS + len(SECONDS_BOUNDS) + 1
_MOST = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one stretch of time.

    Attributes:
        at: Unix time of its beginning.
        seconds: Its length.
        requests: Requests that ended in it.
        refused: Requests that the relay itself answered with 4xx; an app's own 4xx is not counted here.
        failed: Answered with 5xx.
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
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def failed_share(self) -> float:
        """The share of failed requests, from 0 to 1."""
        return self.failed / self.requests if self.requests else 0.0


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
    """Counts by second. Memory is allocated for stretches with requests only, 28 kB at most.

    Attributes:
        latest: Unix time of the newest second with a count; 0 when nothing has been counted.
    """

    __slots__ = ("_blocks", "latest")

    def __init__(self) -> None:
        self._blocks: dict[int, array[int]] = {}
        self.latest = 0

    def add(self, second: int, outcome: int, bucket: int, count: int = 1) -> None:
        """Counts requests.

        Args:
            second: Unix time at which they ended.
            outcome: `OTHER`, `REFUSED` or `FAILED`.
            bucket: As `bucket_of` gives it, or `UNTIMED`.
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
        """The last `seconds`, in stretches of `step` seconds, oldest first. The last one ends with the present second.

        Stretches begin at multiples of `step`, so that each stays the same from one look to the next.
        """
        end = int(now) // step * step + step
        return [self._over(start, step) for start in range(end - seconds // step * step, end, step)]

    def total(self, now: float, seconds: int) -> Figures:
        """The figures of the last `seconds` together, without the present second, which is not over yet."""
        return self._over(int(now) - seconds, seconds)

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
    """The number of the histogram bucket of a latency."""
    return bisect_left(SECONDS_BOUNDS, seconds)


def quantile(buckets: Iterable[int], share: float) -> float | None:
    """The latency that this share of the requests did not exceed, in seconds; None without requests.

    Within a class they are taken to lie evenly. What is beyond the last bound counts as that.
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
