"""The sessions of a relay: who is signed in where. They are stored on the server and identified by an opaque cookie.

Read `Sessions.find` first: it runs for every request to an endpoint with a login, so it is one dict look-up and a few
comparisons, and never waits. Cases that it cannot decide go to `current`, which asks the store and the provider
(`recheck.py`). Changes that `find` causes (activity, ends) are queued and written by `upkeep` (`cleanup.py`), which
also polls for sessions that another relay, or a command, has ended.

    find -> Session   signed in
         -> None      not signed in here
         -> UNKNOWN   await current(...)
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from typing import Final, Literal

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.address import PublicAddress
from tunnelrelay.keys.assertion import AssertionSigner
from tunnelrelay.keys.keyring import KeyRing, sha256
from tunnelrelay.observe.audit import NO_AUDIT, Audit
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.sessions.cleanup import SessionCleanup
from tunnelrelay.oidc.sessions.recheck import Rechecks
from tunnelrelay.oidc.sessions.revocations import SessionRevocations
from tunnelrelay.oidc.sessions.rows import SessionRows, StoredSession
from tunnelrelay.oidc.sessions.session import Grant, VisitorSession
from tunnelrelay.oidc.sessions.write_behind import WriteBehind
from tunnelrelay.policy.fair_cache import FairCache
from tunnelrelay.policy.rules import Claims, Connection
from tunnelrelay.store.base import LoginStore, SessionCriteria, StoreError

COOKIE_LENGTH = 43
"""Characters of a session id: 32 random bytes as base64url. Cookies of another length are not looked up."""
MAX_SESSIONS = 20_000
"""Maximum sessions in memory. When there are more, the owner with the most loses the least recently loaded ones; they
remain in the store."""
MAX_SESSION_BYTES = 96 * 1024 * 1024
"""Maximum bytes of all sessions in memory, by `VisitorSession.weight`. Most take 3 to 5 kB, so that 20,000 fit; one
takes up to 80 kB when its provider sends the maximum of claims. A provider that invents such users pushes out only
sessions of its own owner."""
MAX_OF_PERSON = 100
"""Maximum sessions of one person at one connection, in the store. A browser has one at each endpoint; a script that
signs in again and again without a cookie ends its own least recently used ones."""
MAX_TOGETHER = 20_000
"""Maximum sessions of one connection, and of one host, in the store: a hostile owner's provider, which invents users,
can fill at most 0.8 GB of the shared disk, even if its clients or endpoints change names."""


BOUNDS = (
    DeclaredBound(
        name="visitors' logins in memory",
        limit=MAX_SESSIONS,
        unit="logins",
        per="relay",
        when_full="of the owner who has the most, the one recalled the longest ago is asked of the store again",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="memory of visitors' logins",
        limit=MAX_SESSION_BYTES,
        unit="bytes",
        per="relay",
        when_full="of the owner who has the most, the one recalled the longest ago is asked of the store again",
        worst_bytes=MAX_SESSION_BYTES,
        holds=("Sessions.in_memory",),
    ),
    DeclaredBound(
        name="logins of one person in the store",
        limit=MAX_OF_PERSON,
        unit="logins",
        per="connection",
        when_full="the one used the longest ago is ended",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="logins of one connection, and of one endpoint, in the store",
        limit=MAX_TOGETHER,
        unit="logins",
        per="connection",
        when_full="the one used the longest ago is ended",
        worst_bytes=0,
    ),
)


class SessionsAway(StoreError):
    """The store is unavailable, so sessions are unknown.

    Callers must refuse the request (503) and never treat it as signed out.
    """


class ProviderAway(Exception):
    """The re-check failed, and the owner's policy is to refuse visitors until it works (502)."""


class Lookup(Enum):
    """Result of `Sessions.find` when the session is not in memory, so that the store must be asked."""

    UNKNOWN = auto()


UNKNOWN: Final = Lookup.UNKNOWN
Found = VisitorSession | Literal[Lookup.UNKNOWN] | None


class Sessions:
    """All sessions of a relay.

    Args:
        providers: Makes the re-checks; None for no re-checks.
        on_session_end: Called with a session's `id_digest` when the connections opened under it must be closed, as it
            has ended or may not be used for now. Must not raise.

    Attributes:
        in_memory: Sessions by `id_digest`. A missing one is read from the store when needed.
        upkeep: The background work, which the owner of this object runs.
    """

    def __init__(
        self,
        *,
        address: PublicAddress,
        ring: KeyRing,
        store: LoginStore,
        signer: AssertionSigner,
        clock: Callable[[], float],
        providers: ProviderClient | None = None,
        audit: Audit = NO_AUDIT,
        on_session_end: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self.on_session_end = on_session_end
        self._address = address
        self._store = store
        self._writes = WriteBehind(store, clock)
        self._ended = SessionRevocations(store, clock)
        self._rows = SessionRows(store, ring)
        self._signer = signer
        self._clock = clock
        self._audit = audit
        self.in_memory = FairCache[bytes, VisitorSession](max_count=MAX_SESSIONS, max_bytes=MAX_SESSION_BYTES)
        self.upkeep = SessionCleanup(
            sessions=self.in_memory,
            store=store,
            writes=self._writes,
            clock=clock,
            end=self._end_soon,
            apply_revocations=self.apply_revocations,
        )
        self._rechecks: Rechecks | None = None
        if providers is not None:
            self._rechecks = Rechecks(
                rows=self._rows,
                store=store,
                providers=providers,
                audit=audit,
                clock=clock,
                weigh=lambda session: self.in_memory.weigh(session.id_digest, session.weight),
                end=self._end_soon,
                close=lambda id_digest: self.on_session_end(id_digest),
            )

    def find(self, cookie: bytes, host: str, connection: Connection, now: float) -> Found:
        """Return the session of a request's cookie, if it is valid for this host under this connection.

        This does not count as activity; `seen` records it once the request was let in. A session that has passed a
        limit, or that the connection or rules refuse, is ended here.
        """
        if len(cookie) != COOKIE_LENGTH:
            return None
        session = self.in_memory.get(sha256(cookie))
        if session is None:
            return None if sha256(cookie) in self._ended else UNKNOWN
        if (
            session.judged_by is connection
            and now < session.next_due
            and now - session.last_seen <= session.idle_seconds
            and session.host == host
        ):
            return session
        return self._look_closer(session, host, connection, now)

    def seen(self, session: VisitorSession, now: float) -> None:
        """Record activity: a request that was let in, or a visitor's bytes on a connection opened under the session."""
        session.last_seen = now
        if now - session.written_at >= session.touch_seconds:
            session.written_at = now
            self._writes.touch(session.id_digest, now)

    async def recall(self, cookie: bytes, host: str, connection: Connection, now: float) -> VisitorSession | None:
        """Return the session of a cookie like `find`, but read it from the store if it is not in memory.

        Also returns a session whose re-check is overdue, for the relay's own pages such as signing out.

        Raises:
            SessionsAway: The store is unavailable.
        """
        digest = sha256(cookie)
        if len(cookie) != COOKIE_LENGTH or digest in self._ended:
            return None
        session = self.in_memory.get(digest)
        if session is None or session.is_idle(now):
            session = await self._read(digest, session, host, connection)
        if session is None or not self._is_good(session, host, connection, now):
            return None
        if session.is_idle(now):
            self._end_soon(session, "idle")
            return None
        return session

    async def current(self, cookie: bytes, host: str, connection: Connection, now: float) -> VisitorSession | None:
        """Return the session like `recall`, for requests to the endpoint, but wait for an overdue re-check first.

        Raises:
            SessionsAway: The store is unavailable.
            ProviderAway: The re-check failed and the owner's policy is `502`.
        """
        session = await self.recall(cookie, host, connection, now)
        if session is None or now < session.wait_at or self._rechecks is None:
            return session
        if now >= session.away_until:
            await self._rechecks.wait(session)
        if session.id_digest in self._ended:
            return None
        if self._clock() < session.away_until:
            raise ProviderAway
        if self._clock() >= session.wait_at:
            raise SessionsAway("a session could not be checked")
        return await self.recall(cookie, host, connection, self._clock())

    def look_after(self, session: VisitorSession, connection: Connection, now: float) -> bool:
        """Check a session that has open connections. Return False when these must be closed.

        An expired session is ended, which also closes its connections.
        """
        if session.id_digest in self._ended or not self._is_good(session, session.host, connection, now):
            return False
        if session.is_idle(now) or self.in_memory.get(session.id_digest) is not session:
            self.upkeep.doubt(session)
        if now >= session.recheck_at and now >= session.away_until and self._rechecks is not None:
            self._rechecks.begin(session)
        return True

    async def create(
        self, host: str, connection: Connection, *, issuer: str, claims: Claims, grant: Grant | None = None
    ) -> bytes:
        """Sign a visitor in and return the cookie's value, which is always new: a presented one never becomes valid.

        Args:
            grant: The provider's tokens, for re-checks.

        Raises:
            StoreError: The session was not stored; the visitor is not signed in.
        """
        await self._make_room(host, connection, issuer, str(claims["sub"]))
        cookie = secrets.token_urlsafe(32).encode("ascii")
        kept = await self._rows.add(
            sha256(cookie), host, connection, issuer=issuer, claims=claims, grant=grant or Grant(), now=self._clock()
        )
        self._keep(self._session(kept, connection))
        return cookie

    async def grant_of(self, session: VisitorSession) -> Grant | None:
        """Return the grant of the session's login, for its logout at the provider; None when it is no longer known.

        Raises:
            StoreError: The store is unavailable.
        """
        kept = await self._rows.load(session.id_digest)
        return None if kept is None else kept.record.grant

    async def end(self, id_digest: bytes, reason: str = "") -> None:
        """End a session now, here and in the store, and have its connections closed.

        Args:
            reason: Reason for the audit log; "" when the caller records the event.

        Raises:
            StoreError: The session was not deleted from the store. It has ended in this process nevertheless, and
                `upkeep` retries.
        """
        session = self.in_memory.get(id_digest)
        if session is not None and reason:
            self._audit.record("session.end", reason=reason, **session.about())
        self._forget(id_digest)
        await self._writes.end_now(id_digest)

    async def end_where(self, criteria: SessionCriteria) -> int:
        """End every session that matches, here and in the store, where other relays find it. Return their number.

        The caller records the audit event.

        Raises:
            StoreError: The store is unavailable; no session has ended.
        """
        ended = await self._store.end_sessions(criteria, self._clock())
        for id_digest in ended:
            self._forget(id_digest)
        return len(ended)

    async def finish(self, seconds: float) -> None:
        """Wait for running re-checks and write queued changes, because the relay stops."""
        if self._rechecks is not None:
            await self._rechecks.finish(seconds)
        await self.flush()

    async def apply_revocations(self) -> int:
        """End the sessions here that other relays and commands ended in the store. Return their number."""
        new = await self._ended.poll()
        for id_digest in new:
            self._forget(id_digest)
        if self._ended.has_missed_some:
            # The next request looks the session up again.
            self._ended.has_missed_some = False
            self.in_memory.clear()
        return len(new)

    async def reread(self) -> None:
        """Drop all sessions from memory, as the store may have been replaced.

        Connections of sessions that are not in the store any more are closed; the others are loaded when they are used.
        """
        for session in self.in_memory.values():
            self.upkeep.doubt(session)
        self.in_memory.clear()
        await self.upkeep.sweep(self._clock())

    async def flush(self) -> None:
        """Write queued changes. Those that the store does not accept stay queued."""
        await self._writes.flush()

    # Judging

    def _look_closer(self, session: VisitorSession, host: str, connection: Connection, now: float) -> Found:
        if not self._is_good(session, host, connection, now):
            return None
        if session.is_idle(now):
            return UNKNOWN  # another relay may have seen activity since
        if self._rechecks is not None and now >= session.wait_at:
            return UNKNOWN
        if self._rechecks is not None and now >= session.recheck_at:
            self._rechecks.begin(session)
        return session

    def _is_good(self, session: VisitorSession, host: str, connection: Connection, now: float) -> bool:
        """Return whether a session is for this host and configuration and still admitted. Ends one that is not."""
        if session.host != host or session.connection_id != connection.id:
            # The cookie was sent to another endpoint. The session itself stays valid.
            return False
        if session.judged_by is not connection:
            session.adopt(connection)
            reason = "configuration" if session.epoch != connection.epoch else session.refusal(connection)
            if reason:
                self._end_soon(session, reason)
                return False
            session.judged_by = connection
        if reason := session.ended_by(now):
            self._end_soon(session, reason)
        return not reason

    async def _read(
        self, digest: bytes, known: VisitorSession | None, host: str, connection: Connection
    ) -> VisitorSession | None:
        """Read the session from the store and keep it in memory."""
        try:
            kept = await self._rows.load(digest)
        except StoreError as error:
            raise SessionsAway(str(error)) from error
        if kept is None or digest in self._ended or (kept.row.host, kept.row.connection_id) != (host, connection.id):
            return None
        session = self.in_memory.get(digest) or known
        if session is None:
            session = self._session(kept, connection)
            self._keep(session)
        else:
            session.last_seen = max(session.last_seen, kept.row.last_seen)
        return session

    # Memory

    def _session(self, kept: StoredSession, connection: Connection) -> VisitorSession:
        url = self._address.url(kept.row.host)
        return VisitorSession(kept.row, kept.record, audience=url, connection=connection, signer=self._signer)

    def _keep(self, session: VisitorSession) -> None:
        self.in_memory.put(session.id_digest, session, owner=session.connection.owner, weight=session.weight)

    async def _make_room(self, host: str, connection: Connection, issuer: str, subject: str) -> None:
        """Make room for one more session: where a limit is reached, end the least recently used ones."""
        of_connection = SessionCriteria(connection_id=connection.id)
        of_person = replace(of_connection, issuer=issuer, subject=subject)
        limits = ((of_person, MAX_OF_PERSON), (of_connection, MAX_TOGETHER), (SessionCriteria(host=host), MAX_TOGETHER))
        for criteria, limit in limits:
            for id_digest in await self._store.end_oldest(criteria, limit - 1, self._clock()):
                session = self.in_memory.get(id_digest)
                known = {"host": criteria.host or "", "connection": criteria.connection_id or ""}
                self._audit.record("session.end", reason="too_many", **(session.about() if session else known))
                self._forget(id_digest)

    def _end_soon(self, session: VisitorSession, reason: str) -> None:
        if session.id_digest in self._ended:
            return
        self._audit.record("session.end", reason=reason, **session.about())
        self._writes.end(session.id_digest)
        self._forget(session.id_digest)

    def _forget(self, digest: bytes) -> None:
        self.in_memory.pop(digest)
        self.upkeep.forget(digest)
        self._ended.add(digest)
        self.on_session_end(digest)
