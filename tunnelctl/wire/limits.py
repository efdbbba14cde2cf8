"""The limits that each end of a link sets for the other, and a token bucket for rates.

Exceeding a limit ends the link.
"""

import math
from dataclasses import dataclass

from tunnelctl.wire.frames import MAX_PAYLOAD

MAX_TUNNELS = 256
"""Maximum tunnels on one link, for agents and relays. Relays of the first release accepted 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one session. Each end enforces its own; some are told to the peer in the messages hello and welcome."""

    max_streams: int = 1024
    """Maximum streams open at once on a link. Multiplied by the initial window this bounds the memory of a link: 64
    MiB, plus the budget for window growth."""

    max_head: int = MAX_PAYLOAD
    """Maximum bytes of an OPEN, ABOUT, HEAD or END payload, and of all interim heads of one stream together: heads have
    no flow control, so an endless run of 103 responses would otherwise fill memory behind a slow visitor."""

    max_control: int = MAX_PAYLOAD
    """Maximum bytes of a CONTROL message. A hello, or a bind with a large policy, is below 8 KiB."""

    max_resets_per_second: float = 1000.0
    """Average rate of resets that cancel work. Rapid reset (CVE-2023-44487): opening a stream is cheap, the work it
    starts is not. The end that opens streams keeps to half of this rate (see `Session.can_open`), so that visitors who
    hang up cannot end a link."""

    max_reset_burst: int = 4096
    """Maximum resets that cancel work, in one burst. Four times `max_streams`: an interrupted load generator resets all
    its streams, this may happen twice, and a stalled network may deliver as many again at once."""

    max_unanswered_pings: int = 3
    """Number of unanswered PINGs after which the link is dead: with a heartbeat of 5 s a half-open link lives 15 s."""

    max_unsent_answers: int = 1024
    """Maximum PINGs and CONTROL messages accepted while none of our frames could be sent. A peer that sends them but
    does not read would otherwise fill memory with our answers (CVE-2019-9512)."""

    max_link_frames_per_second: float = 200.0
    """Average rate of PINGs, CONTROL messages and skipped optional frames. They have no flow control, and each may cost
    a JSON decode. An agent that binds all its tunnels and measures the round trip sends less than one a second."""

    max_link_frame_burst: int = 4096
    """Maximum PINGs, CONTROL messages and skipped optional frames in one burst: after a restart, a relay sends each
    agent the addresses of all its edges at once."""

    heartbeat_seconds: float = 5.0
    """Seconds between the PINGs that each side sends."""

    max_window: int = 4 << 20
    """Maximum credit in bytes that the sender of one stream may hold: 4 MiB carry 80 MB/s at a round trip of 50 ms."""

    max_link_growth: int = 32 << 20
    """Maximum bytes by which all windows of a link together may grow beyond their initial 64 KiB each."""


class Bucket:
    """A token bucket: tokens refill at a fixed rate, up to `burst`.

    Args:
        burst: Tokens in a full bucket.
        per_second: Tokens added per second.
    """

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._at = 0.0

    def take(self, now: float, count: int = 1) -> bool:
        """Take `count` tokens and return True, or return False if there are fewer.

        A clock that goes back adds no tokens.
        """
        self._fill(now)
        if self._left < count:
            return False
        self._left -= count
        return True

    def spend(self, now: float) -> None:
        """Take one token even if none is left; the count may become negative and must refill before `take` succeeds."""
        self._fill(now)
        self._left -= 1

    def room(self, now: float) -> int:
        """Return how many tokens are left; negative after `spend` took too many."""
        self._fill(now)
        return int(self._left)

    def is_empty(self, now: float) -> bool:
        """Return whether less than one token is left."""
        return min(self._burst, self._left + max(0.0, now - self._at) * self._per_second) < 1.0

    def seconds(self, count: int = 1) -> int:
        """Return whole seconds, counted from the last `take`, until `count` tokens are available; at least 1."""
        return max(1, math.ceil((count - self._left) / self._per_second))

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
