"""Queues the sessions' writes to the store, so that no request waits for them."""

from collections.abc import Callable

from tunnelctl.eventlog import EventLog
from tunnelrelay.store.base import SessionCriteria, SessionStore, StoreError

log = EventLog(__name__)


class WriteBehind:
    """Activity and ends of sessions that are not in the store yet. Failed writes stay queued.

    There is at most one entry for each session, and only for sessions that were in memory.
    """

    def __init__(self, store: SessionStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._touched: dict[bytes, float] = {}
        self._ended: dict[bytes, None] = {}

    def touch(self, id_digest: bytes, at: float) -> None:
        """Queue that a session was used."""
        self._touched[id_digest] = at

    def end(self, id_digest: bytes) -> None:
        """Queue the end of a session."""
        self._touched.pop(id_digest, None)
        self._ended[id_digest] = None

    async def end_now(self, id_digest: bytes) -> None:
        """Write the end of a session now. Raises StoreError when that fails; the end is then queued."""
        self.end(id_digest)
        await self._store.end_sessions(SessionCriteria(key=id_digest), self._clock())
        self._ended.pop(id_digest, None)

    async def flush(self) -> None:
        """Write queued changes."""
        try:
            for id_digest in list(self._ended):
                await self.end_now(id_digest)
            for id_digest, at in list(self._touched.items()):
                await self._store.touch_session(id_digest, at)
                if self._touched.get(id_digest) == at:
                    del self._touched[id_digest]
        except StoreError as error:
            log.warning("sessions not written, retrying", error=error)

    async def purge(self, now: float) -> None:
        """Delete expired rows from the store."""
        try:
            await self._store.delete_expired(now)
        except StoreError as error:
            log.warning("expired sessions not deleted, retrying", error=error)
