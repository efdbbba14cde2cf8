"""How many requests a visitor may send in how long, as people type it: `100/1m:20`. Pure."""

import re
from dataclasses import dataclass

from tunnelctl.policy.durations import format_duration, parse_duration

MAX_REQUESTS = 1_000_000
"""Requests in a period, and at once. At one a microsecond a limit is none."""
MAX_PERIOD = 24 * 3600
"""Seconds. Relays keep their counts in memory: over a longer time more of them are lost than kept."""
LOOKS_LIKE = "100/1m, 10/s or 100/1m:20"

_RATE = re.compile(r"([0-9]{1,12})/([0-9a-zA-Z ]{1,32})(?::([0-9]{1,12}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate that a text stands for.

    Attributes:
        requests: How many may come in the period, on average.
        seconds: The period.
        burst: How many may come at once after a rest.
    """

    requests: int
    seconds: int
    burst: int

    def __str__(self) -> str:
        """In words: `100 requests in 1m, 20 at once`."""
        many = "1 request" if self.requests == 1 else f"{self.requests} requests"
        at_once = "" if self.burst == self.requests else f", {self.burst} at once"
        return f"{many} in {format_duration(self.seconds)}{at_once}"


def parse_rate(text: str) -> Rate:
    """The rate that `N/PERIOD[:BURST]` stands for. Without BURST all N may come at once; a bare unit is one of it.

    Raises:
        ValueError: It has another form, or a number that is too small or too large.
    """
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:64]!r} is not a rate like {LOOKS_LIKE}")
    requests, period, burst = found.groups()
    try:
        seconds = parse_duration(period if period[0].isdigit() else f"1{period}")
    except ValueError:
        raise ValueError(f"{text[:64]!r} is not a rate like {LOOKS_LIKE}") from None
    rate = Rate(int(requests), seconds, int(requests if burst is None else burst))
    for what, number in (("requests", rate.requests), ("requests at once", rate.burst)):
        if not 1 <= number <= MAX_REQUESTS:
            raise ValueError(f"it says {number} {what}, must be 1 to {MAX_REQUESTS}")
    if not 1 <= seconds <= MAX_PERIOD:
        raise ValueError(f"its period is {seconds} s, must be 1 to {MAX_PERIOD}")
    return rate


def rate_problem(text: str) -> str:
    """What is wrong with a rate; "" for nothing."""
    try:
        parse_rate(text)
    except ValueError as error:
        return str(error)
    return ""
