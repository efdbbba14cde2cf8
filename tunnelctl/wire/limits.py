"""What one end allows the other, and the bucket that limits rates. What breaks a limit ends the link."""

import math
from dataclasses import dataclass

from tunnelctl.wire.frames import MAX_PAYLOAD

MAX_TUNNELS = 256
"""Tunnels on one link: an agent offers no more, a relay takes no more. Relays of the first release took 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one session. Each end enforces its own; hello and welcome tell some of them."""

    max_streams: int = 1024
    """Open at once on a link. Times the initial window it bounds what a link may make us hold: 64 MiB + budget."""

    max_head: int = MAX_PAYLOAD
    """Bytes of an OPEN, HEAD or END payload, and of all interim heads of one stream together: heads have no flow
    control, so an endless run of 103s would otherwise pile up behind a slow visitor."""

    max_control: int = MAX_PAYLOAD
    """Bytes of a CONTROL message. A hello or a bind with a large policy is below 8 KiB."""

    max_resets_per_second: float = 1000.0
    """Resets that cancel work, over time. Rapid reset (CVE-2023-44487): opening is cheap, the work it starts is not.
    The opener holds itself to half of it (see `Session.can_open`), so that visitors who hang up cannot end a link."""

    max_reset_burst: int = 4096
    """Resets that cancel work, at once. Four times `max_streams`: a load generator that is interrupted, twice, plus as
    much for resets that a stalled network delivers together."""

    max_unanswered_pings: int = 3
    """After so many PINGs without PONG the link is dead: with a heartbeat of 5 s a half-open link lives 15 s."""

    max_unsent_answers: int = 1024
    """PINGs and CONTROL messages taken while nothing of ours could be sent. A peer that asks and does not read would
    otherwise fill our memory with answers (CVE-2019-9512)."""

    max_link_frames_per_second: float = 200.0
    """PINGs, CONTROL messages and skipped optional frames, over time. They have no flow control, and each may cost a
    JSON decode. An agent that binds all its tunnels and asks for the round trip sends less than one a second."""

    max_link_frame_burst: int = 4096
    """How many of them may come at once: a relay that comes back sends the agent the addresses of every edge."""

    heartbeat_seconds: float = 5.0
    """How often each side sends a PING."""

    max_window: int = 4 << 20
    """Bytes of credit one stream's sender may hold: 4 MiB carry 80 MB/s over 50 ms."""

    max_link_growth: int = 32 << 20
    """Bytes that all windows of a link may grow by, together, over their first 64 KiB."""


class Bucket:
    """A budget that fills by itself, up to `burst`.

    Args:
        burst: What may be taken at once after a rest.
        per_second: How fast it fills.
    """

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._at = 0.0

    def take(self, now: float, count: int = 1) -> bool:
        """Take `count` if there are as many. A clock that goes backwards gives nothing and takes nothing."""
        self._fill(now)
        if self._left < count:
            return False
        self._left -= count
        return True

    def spend(self, now: float) -> None:
        """Take one in any case: what is missing must fill up again first."""
        self._fill(now)
        self._left -= 1

    def room(self, now: float) -> int:
        """How many may be taken at once; below 0 after too many were spent."""
        self._fill(now)
        return int(self._left)

    def is_empty(self, now: float) -> bool:
        """Whether `take` would give nothing."""
        return min(self._burst, self._left + max(0.0, now - self._at) * self._per_second) < 1.0

    def seconds(self, count: int = 1) -> int:
        """Whole seconds, as seen by the last `take`, until the next `count` are granted."""
        return max(1, math.ceil((count - self._left) / self._per_second))

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
