"""How much a receiver lets its peer send: credit goes back as data is consumed, and a window that is too small for the
round trip grows, out of a budget that many streams share.

A fixed window holds one stream to window / RTT (256 KiB at 50 ms: 5 MB/s), a large one for every stream would let a
peer fill our memory; credit once given cannot be taken back. So growth is earned by consuming, and drawn from a budget.
"""

from typing import Self

from tunnelctl.wire.stream import INITIAL_WINDOW, Stream

GROWTH_RTTS = 2
"""A whole window consumed within so many round trips was, likely, what the sender waited for (QUIC's rule)."""


class Budget:
    """Bytes that windows may grow by, together. A link's budget draws from its parent's, the relay's."""

    __slots__ = ("_parent", "_size", "used")

    def __init__(self, size: int, parent: Self | None = None) -> None:
        self._size = size
        self._parent = parent
        self.used = 0

    def take(self, n: int) -> bool:
        """Draw n bytes. Returns False, having drawn nothing, when they are not left here or above."""
        if self.used + n > self._size or (self._parent is not None and not self._parent.take(n)):
            return False
        self.used += n
        return True

    def give(self, n: int) -> None:
        """Return n drawn bytes. No effect after `close`."""
        n = min(n, self.used)
        self.used -= n
        if self._parent is not None:
            self._parent.give(n)

    def close(self) -> None:
        """Return all drawn bytes to the parent budget; nothing can be drawn any more."""
        self._size = 0
        self.give(self.used)


def earned(stream: Stream, now: float, rtt: float | None, budget: Budget, max_window: int) -> int:
    """Credit to grant now for what was consumed, and for growth when the window proved too small."""
    credit = stream.owed
    stream.owed = 0
    stream.flowed += credit
    if stream.since == 0.0:
        stream.since, stream.flowed = now, 0
    elif stream.flowed >= stream.window:
        if rtt is not None and now - stream.since <= GROWTH_RTTS * rtt:
            credit += _grow(stream, budget, max_window)
        stream.since, stream.flowed = now, 0
    stream.left += credit
    return credit


def release(stream: Stream, budget: Budget) -> None:
    """Return the bytes that the stream's window grew by. Safe to call again."""
    grown = stream.window - INITIAL_WINDOW
    if grown:
        stream.window -= grown
        stream.left -= grown
        budget.give(grown)


def _grow(stream: Stream, budget: Budget, max_window: int) -> int:
    more = min(stream.window, max_window - stream.window)
    if more <= 0 or not budget.take(more):
        return 0
    stream.window += more
    return more
