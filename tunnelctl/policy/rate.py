"""Parses rate limits as users type them: `100/1m:20` allows 100 requests in a minute, 20 of them at once."""

import re
from dataclasses import dataclass

from tunnelctl.policy.durations import format_duration, parse_duration

MAX_REQUESTS = 1_000_000
"""Maximum number in a rate limit, for the requests in a period and for the burst. A million per second would be no
limit."""
MAX_PERIOD = 24 * 3600
"""Maximum period in seconds. Relays keep their counts in memory, so that longer periods would rarely survive
restarts."""
LOOKS_LIKE = "100/1m, 10/s or 100/1m:20"

_RATE = re.compile(r"([0-9]{1,12})/([0-9a-zA-Z ]{1,32})(?::([0-9]{1,12}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate limit.

    Attributes:
        requests: Average number of requests allowed in the period.
        seconds: Length of the period.
        burst: Number of requests allowed at once after a pause.
    """

    requests: int
    seconds: int
    burst: int

    def __str__(self) -> str:
        """Describe the rate in words: `100 requests in 1m, 20 at once`."""
        many = "1 request" if self.requests == 1 else f"{self.requests} requests"
        at_once = "" if self.burst == self.requests else f", {self.burst} at once"
        return f"{many} in {format_duration(self.seconds)}{at_once}"


def parse_rate(text: str) -> Rate:
    """Parse `N/PERIOD[:BURST]`. Without BURST all N requests may come at once; a unit without a number counts as one.

    Raises:
        ValueError: The text has another form, or a number is too small or too large.
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
    """Return what is wrong with the text of a rate; "" when it is valid."""
    try:
        parse_rate(text)
    except ValueError as error:
        return str(error)
    return ""
