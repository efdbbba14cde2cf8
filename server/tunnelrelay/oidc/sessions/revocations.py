"""Remembers sessions that were ended early, by this relay or by other relays and commands."""

from collections.abc import Callable

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelctl.memo import Recent
from tunnelrelay.store.base import ENDED_SECONDS, SessionStore, StoreError

log = EventLog(__name__)

MAX_ENDED = 20_000
"""Maximum ended sessions that are remembered, so that a concurrent read from the store cannot restore one."""
OVERLAP_SECONDS = 60.0
"""Seconds that each poll reaches back, so that a late write, or one by a relay whose clock is slow, is not missed."""


BOUNDS = (
    DeclaredBound(
        name="sessions that ended lately",
        limit=MAX_ENDED,
        unit="sessions",
        per="relay",
        when_full="the oldest is asked of the store again",
        worst_bytes=MAX_ENDED * 150,
        holds=("SessionRevocations._ended",),
    ),
)


class SessionRevocations:
    """A bounded set of digests of ended sessions that drops the oldest.

    Attributes:
        has_missed_some: The store was unavailable for so long that ended sessions may be missing. The caller resets it.
    """

    def __init__(self, store: SessionStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._ended = Recent[bytes, None](MAX_ENDED)
        self._polled_at = clock()
        self._is_failing = False
        self.has_missed_some = False

    def __contains__(self, id_digest: bytes) -> bool:
        return id_digest in self._ended

    def add(self, id_digest: bytes) -> None:
        """Add the digest of an ended session."""
        self._ended[id_digest] = None

    async def poll(self) -> list[bytes]:
        """Return the sessions that other relays and commands have ended since the last call."""
        now = self._clock()
        try:
            ended = await self._store.ended_since(self._polled_at - OVERLAP_SECONDS)
        except StoreError as error:
            if not self._is_failing:
                log.warning("polling session revocations failed, retrying", error=error)
            self._is_failing = True
            return []
        self._is_failing = False
        self.has_missed_some |= now - self._polled_at > ENDED_SECONDS - OVERLAP_SECONDS
        self._polled_at = now
        return [id_digest for id_digest in ended if id_digest not in self._ended]
