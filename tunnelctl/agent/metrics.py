"""Counts a tunnel's exchanges, with rates and durations. The clock is an argument."""

from array import array
from collections import deque
from dataclasses import dataclass
from itertools import chain

STEP = 5
"""Seconds that are counted together."""
STEPS = 15 * 60 // STEP
"""Number of counts that are kept: the rates cover fifteen minutes."""
MAX_DURATIONS = 1000
"""Number of recent exchanges whose durations give the percentiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """The values of a meter, with the names of ngrok's API.

    Attributes:
        count: Total number of exchanges.
        gauge: Number of open exchanges.
        rate1, rate5, rate15: Exchanges per second, over the last one, five and fifteen minutes.
        p50, p90, p95, p99: Percentiles of the duration in seconds.
    """

    count: int
    gauge: int
    rate1: float
    rate5: float
    rate15: float
    p50: float
    p90: float
    p95: float
    p99: float


class Meter:
    """Counts exchanges, in constant memory: 10 to 40 KB."""

    __slots__ = ("_counts", "_step", "count", "durations", "gauge")

    def __init__(self) -> None:
        self.count = 0
        self.gauge = 0
        self.durations: deque[float] = deque(maxlen=MAX_DURATIONS)
        self._counts = array("L", bytes(STEPS * array("L").itemsize))
        self._step = 0

    def began(self, now: float) -> None:
        """Count an exchange that began at `now`, in seconds."""
        self.count += 1
        self.gauge += 1
        step = int(now) // STEP
        if step != self._step:
            self._clear_up_to(step)
        self._counts[step % STEPS] += 1

    def ended(self, seconds: float) -> None:
        """Count the end of an exchange, with its duration in seconds."""
        self.gauge -= 1
        self.durations.append(seconds)

    def counted(self, now: float, minutes: int) -> int:
        """Return the number of exchanges that began in the last minutes, with a precision of `STEP`."""
        last = int(now) // STEP
        first = max(last - minutes * 60 // STEP, self._step - STEPS) + 1
        return sum(self._counts[step % STEPS] for step in range(first, min(last, self._step) + 1))

    def _clear_up_to(self, step: int) -> None:
        """Clear the counts that are reused for the steps since the last call, as they are from a quarter of an hour
        ago.
        """
        for skipped in range(max(self._step, step - STEPS) + 1, step + 1):
            self._counts[skipped % STEPS] = 0
        self._step = step


def read_meters(now: float, *meters: Meter) -> MeterReading:
    """Return the combined values of these meters at `now`."""
    ordered = sorted(chain.from_iterable(meter.durations for meter in meters))

    def rate(minutes: int) -> float:
        return sum(meter.counted(now, minutes) for meter in meters) / (minutes * 60)

    return MeterReading(
        count=sum(meter.count for meter in meters),
        gauge=sum(meter.gauge for meter in meters),
        rate1=rate(1),
        rate5=rate(5),
        rate15=rate(15),
        p50=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p95=percentile(ordered, 0.95),
        p99=percentile(ordered, 0.99),
    )


def percentile(ordered: list[float], share: float) -> float:
    """Return the value below which this share of the values lies; 0 without values."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
