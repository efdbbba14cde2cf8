"""Flow control: how much credit a receiver grants its peer.

A receiver returns credit as data is consumed. A fixed window limits one stream to window / RTT (256 KiB at 50 ms: 5
MB/s), while a large window for every stream would let a peer fill memory, and granted credit cannot be revoked. So a
window grows only when its data is consumed quickly, and all growth is drawn from a budget that many streams share.
"""

from typing import Self

from tunnelctl.wire.stream import INITIAL_WINDOW, Stream

GROWTH_RTTS = 2
"""If a whole window is consumed within this many round trips, the window probably limited the sender (QUIC's rule)."""


class Budget:
    """Bytes by which windows may grow in total.

    A link's budget draws from its parent, the budget of the whole relay.
    """

    __slots__ = ("_parent", "_size", "used")

    def __init__(self, size: int, parent: Self | None = None) -> None:
        self._size = size
        self._parent = parent
        self.used = 0

    def take(self, n: int) -> bool:
        """Draw n bytes. Return False, and draw nothing, if this budget or a parent has fewer left."""
        if self.used + n > self._size or (self._parent is not None and not self._parent.take(n)):
            return False
        self.used += n
        return True

    def give(self, n: int) -> None:
        """Return n drawn bytes to this budget and its parents. Has no effect after `close`."""
        n = min(n, self.used)
        self.used -= n
        if self._parent is not None:
            self._parent.give(n)

    def close(self) -> None:
        """Return all drawn bytes to the parent budget; later calls of `take` fail."""
        self._size = 0
        self.give(self.used)


def earned(stream: Stream, now: float, rtt: float | None, budget: Budget, max_window: int) -> int:
    """Return the credit to grant now: the bytes consumed, plus growth if the window was too small for the round
    trip.
    """
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
    """Return the growth of the stream's window to the budget. May be called more than once."""
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
