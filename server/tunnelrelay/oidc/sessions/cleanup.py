"""Background work on sessions: writes queued changes, ends expired sessions, and polls for sessions ended by other
relays.

`sessions.py` decides about each session; this module decides when it is checked without a request.
"""

import asyncio
from collections.abc import Awaitable, Callable

from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.oidc.sessions.write_behind import WriteBehind
from tunnelrelay.policy.fair_cache import FairCache
from tunnelrelay.store.base import SessionStore, StoreError

WRITE_EVERY = 1.0
"""Seconds between two writes of queued changes."""
HEAR_EVERY = 2.0
"""Seconds between two polls for sessions that other relays have ended. A revocation takes effect everywhere within 5 s,
including the store's time for writing and reading."""
SWEEP_EVERY = 5.0
"""Seconds between two searches for expired sessions."""
SWEPT_AT_ONCE = 1000
"""Number of sessions that are examined before other tasks get their turn: half a millisecond."""
PURGE_EVERY = 300.0
"""Seconds between two deletions of expired rows in the store."""


class SessionCleanup:
    """The background work on the sessions of a relay.

    Args:
        sessions: The sessions in memory; read at each step.
        end: Function that ends a session, with a reason for the audit log.
        apply_revocations: Function that ends the sessions that other relays and commands have ended in the store.
    """

    def __init__(
        self,
        *,
        sessions: FairCache[bytes, VisitorSession],
        store: SessionStore,
        writes: WriteBehind,
        clock: Callable[[], float],
        end: Callable[[VisitorSession, str], None],
        apply_revocations: Callable[[], Awaitable[object]],
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._writes = writes
        self._clock = clock
        self._end = end
        self._apply_revocations = apply_revocations
        self._doubtful: dict[bytes, VisitorSession] = {}

    def doubt(self, session: VisitorSession) -> None:
        """Mark a session to be read from the store before it is kept or ended, as another relay may have used it."""
        self._doubtful[session.id_digest] = session

    def forget(self, id_digest: bytes) -> None:
        """Remove the mark of a session that has ended."""
        self._doubtful.pop(id_digest, None)

    async def run(self) -> None:
        """Write queued changes, end sessions that expired or were ended elsewhere, and delete old rows, until
        cancelled.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._keep_up())

    async def sweep(self, now: float) -> None:
        """End every session in memory that has passed one of its limits."""
        for number, session in enumerate(list(self._sessions.values()), 1):
            if number % SWEPT_AT_ONCE == 0:
                await asyncio.sleep(0)
            if reason := session.ended_by(now):
                self._end(session, reason)
            elif session.is_idle(now):
                self.doubt(session)
        await self._settle()

    async def _settle(self) -> None:
        """End marked sessions that are not in the store any more, or that no relay has used within the idle limit."""
        now = self._clock()
        while self._doubtful:
            digest, session = self._doubtful.popitem()
            try:
                row = await self._store.load_session(digest)
            except StoreError:
                return  # the next sweep finds them again
            if row is not None:
                session.last_seen = max(session.last_seen, row.last_seen)
            if row is None:
                self._end(session, "revoked")
            elif session.is_idle(now):
                self._end(session, "idle")

    async def _listen(self) -> None:
        while True:
            await asyncio.sleep(HEAR_EVERY)
            await self._apply_revocations()

    async def _keep_up(self) -> None:
        next_sweep = next_purge = 0.0
        while True:
            now = self._clock()
            await self._writes.flush()
            if now >= next_sweep:
                await self.sweep(now)
                next_sweep = now + SWEEP_EVERY
            if now >= next_purge:
                await self._writes.purge(now)
                next_purge = now + PURGE_EVERY
            await asyncio.sleep(WRITE_EVERY)
