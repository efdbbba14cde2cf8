"""Tracks unanswered PINGs and measures the round trip. A PONG must answer the oldest unanswered PING."""

from collections import deque
from struct import Struct
from typing import Final

from tunnelctl.wire.errors import Code, WireError

_CLOCK: Final = Struct(">d")
PING_SIZE: Final = _CLOCK.size
SMOOTHING: Final = 8
"""Divisor of the moving average: a new sample counts 1/8 (RFC 6298, section 2)."""


class Heartbeat:
    """Records the PINGs that were sent and matches PONGs to them.

    Attributes:
        rtt: Smoothed round trip in seconds; None before the first PONG.
    """

    __slots__ = ("_max_unanswered", "_sent", "rtt")

    def __init__(self, max_unanswered: int) -> None:
        self._max_unanswered = max_unanswered
        self._sent: deque[float] = deque()
        self.rtt: float | None = None

    def ping(self, now: float) -> bytes:
        """Return the payload of the next PING and record that it was sent.

        Raises:
            WireError: HEARTBEAT, when the maximum number of PINGs is already unanswered.
        """
        if len(self._sent) >= self._max_unanswered:
            raise WireError(Code.HEARTBEAT, f"{len(self._sent)} pings went unanswered")
        self._sent.append(now)
        return _CLOCK.pack(now)

    def pong(self, payload: bytes, now: float) -> float:
        """Match a PONG to the oldest unanswered PING and return the round trip in seconds.

        Raises:
            WireError: The PONG answers no PING, or not the oldest.
        """
        if not self._sent or payload != _CLOCK.pack(self._sent[0]):
            raise WireError(Code.PROTOCOL, "PONG does not answer the oldest PING")
        sample = max(0.0, now - self._sent.popleft())
        self.rtt = sample if self.rtt is None else self.rtt + (sample - self.rtt) / SMOOTHING
        return sample
