"""Sessions: who is signed in where, remembered on the server and named by an opaque cookie.

Read `Sessions.find` first: it runs for every request to a guarded endpoint, so it is one dict look-up and a few
comparisons, and never waits. What it does not know, or may not decide alone, it leaves to `current`, which asks the
store and the provider (`recheck.py`). Writes that `find` causes (activity, ends) are queued and written by `upkeep`
(`cleanup.py`), which also hears of sessions that another relay, or a command, has ended.

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
from tunnelrelay.store.base import LoginStore, StoreError, Whose

COOKIE_LENGTH = 43
"""Characters of a session id: 32 random bytes as base64url. Nothing else is looked up."""
MAX_SESSIONS = 20_000
"""Sessions in memory. Past that the owner who has the most loses the ones recalled longest ago; the store still has
them."""
MAX_SESSION_BYTES = 96 * 1024 * 1024
"""Memory of all sessions, by `VisitorSession.weight`. Most take 3 to 5 kB, so that there is room for 20,000; one takes
up to 80 kB when its provider sends as many claims as are kept. A provider that invents such people pushes out sessions
of its own owner only."""
MAX_OF_PERSON = 100
"""Sessions of one person at one connection, in the store. A browser has one at each endpoint; whoever signs in again
and again without a cookie, as scripts do, ends their own that was used longest ago."""
MAX_TOGETHER = 20_000
"""Sessions of one connection, and of one host, in the store: a provider of somebody's own, which invents people, fills
up to 0.8 GB of the disk that all share, also when its clients or its endpoints change names."""


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
        holds=("Sessions._sessions",),
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
    """The store cannot say who is signed in. Callers refuse the request (503): never open, never signed out."""


class ProviderAway(Exception):
    """The provider cannot be asked again, and the owner wants no visitor let in until it can (502)."""


class Lookup(Enum):
    """What `find` returns when only the store can tell."""

    UNKNOWN = auto()


UNKNOWN: Final = Lookup.UNKNOWN
Found = VisitorSession | Literal[Lookup.UNKNOWN] | None


class Sessions:
    """All sessions of one relay.

    Args:
        providers: Asked again about visitors who are signed in; None for never.
        on_session_end: Called with a session's `id_digest` when the connections opened under it must be closed: when
            it ends, for whatever reason, or no visitor may come in for now. Must not raise.

    Attributes:
        upkeep: The background work; its owner runs it.
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
        self._sessions = FairCache[bytes, VisitorSession](max_count=MAX_SESSIONS, max_bytes=MAX_SESSION_BYTES)
        self.upkeep = SessionCleanup(
            sessions=self._sessions,
            store=store,
            writes=self._writes,
            clock=clock,
            end=self._end_soon,
            hear=self.hear,
        )
        self._rechecks: Rechecks | None = None
        if providers is not None:
            self._rechecks = Rechecks(
                rows=self._rows,
                store=store,
                providers=providers,
                audit=audit,
                clock=clock,
                weigh=lambda session: self._sessions.weigh(session.id_digest, session.weight),
                end=self._end_soon,
                close=lambda id_digest: self.on_session_end(id_digest),
            )

    def find(self, cookie: bytes, host: str, connection: Connection, now: float) -> Found:
        """The session a request's cookie names, if it is good for this host under this configuration.

        Does not count as activity: that is for `seen`, once the request was let in. A session whose limits,
        configuration or rules say no is ended here.
        """
        if len(cookie) != COOKIE_LENGTH:
            return None
        session = self._sessions.get(sha256(cookie))
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
        """Notes activity: a request that was let in, or a visitor's bytes on a connection opened under the session."""
        session.last_seen = now
        if now - session.written_at >= session.touch_seconds:
            session.written_at = now
            self._writes.touch(session.id_digest, now)

    async def recall(self, cookie: bytes, host: str, connection: Connection, now: float) -> VisitorSession | None:
        """`find` with the store's help: after a restart, or for one pushed out by others, or used at another relay.

        A session is found here also while a re-check is due: for the relay's own pages, as signing out.

        Raises:
            SessionsAway: When the store cannot say.
        """
        digest = sha256(cookie)
        if len(cookie) != COOKIE_LENGTH or digest in self._ended:
            return None
        session = self._sessions.get(digest)
        if session is None or session.is_idle(now):
            session = await self._read(digest, session, host, connection)
        if session is None or not self._is_good(session, host, connection, now):
            return None
        if session.is_idle(now):
            self._end_soon(session, "idle")
            return None
        return session

    async def current(self, cookie: bytes, host: str, connection: Connection, now: float) -> VisitorSession | None:
        """`recall` for requests to the endpoint: waits for a re-check that is overdue.

        Raises:
            SessionsAway: When the store cannot say.
            ProviderAway: When the provider cannot, and the owner's policy is `502`.
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
        """Judges a session that has connections open, as a request would. False when these must be closed.

        A session that is over is ended, which closes them too.
        """
        if session.id_digest in self._ended or not self._is_good(session, session.host, connection, now):
            return False
        if session.is_idle(now) or self._sessions.get(session.id_digest) is not session:
            self.upkeep.doubt(session)
        if now >= session.recheck_at and now >= session.away_until and self._rechecks is not None:
            self._rechecks.begin(session)
        return True

    async def create(
        self, host: str, connection: Connection, *, issuer: str, claims: Claims, grant: Grant | None = None
    ) -> bytes:
        """Signs a visitor in. Returns the cookie's value, always new: one that was presented never becomes good.

        Args:
            grant: What the provider gave to ask it again.

        Raises:
            StoreError: When it cannot be kept; then the visitor is not signed in.
        """
        await self._make_room(host, connection, issuer, str(claims["sub"]))
        cookie = secrets.token_urlsafe(32).encode("ascii")
        kept = await self._rows.add(
            sha256(cookie), host, connection, issuer=issuer, claims=claims, grant=grant or Grant(), now=self._clock()
        )
        self._keep(self._session(kept, connection))
        return cookie

    async def grant_of(self, session: VisitorSession) -> Grant | None:
        """What the provider gave at the session's login, for its logout there; None when it is no longer known.

        Raises:
            StoreError: When the store cannot say.
        """
        kept = await self._rows.load(session.id_digest)
        return None if kept is None else kept.record.grant

    async def end(self, id_digest: bytes, reason: str = "") -> None:
        """Ends a session now, here and in the store, and lets its open connections be closed.

        Args:
            reason: A word for the audit log; "" when the caller has told it there.

        Raises:
            StoreError: When the store could not forget it yet. It is over for this process all the same, and the
                deletion is tried again by `upkeep`.
        """
        session = self._sessions.get(id_digest)
        if session is not None and reason:
            self._audit.record("session.end", reason=reason, **session.about())
        self._forget(id_digest)
        await self._writes.end_now(id_digest)

    async def end_where(self, whose: Whose) -> int:
        """Ends every session that is meant, here and in the store; other relays hear of it. Returns how many.

        Who asked for it, and why, the caller tells the audit log.

        Raises:
            StoreError: When the store could not; then none has ended.
        """
        ended = await self._store.end_sessions(whose, self._clock())
        for id_digest in ended:
            self._forget(id_digest)
        return len(ended)

    async def finish(self, seconds: float) -> None:
        """Wait for re-checks under way and write what is queued, because the relay stops."""
        if self._rechecks is not None:
            await self._rechecks.finish(seconds)
        await self.flush()

    async def hear(self) -> int:
        """Ends here what other relays and commands have ended in the store. Returns how many were new."""
        new = await self._ended.heard()
        for id_digest in new:
            self._forget(id_digest)
        if self._ended.has_missed_some:
            # The next visitor is looked up anew.
            self._ended.has_missed_some = False
            self._sessions.clear()
        return len(new)

    async def reread(self) -> None:
        """Goes by what the store says now of everybody: it may have become another one.

        Who has connections open and is not in it any more loses them; the others are looked up when they come.
        """
        for session in self._sessions.values():
            self.upkeep.doubt(session)
        self._sessions.clear()
        await self.upkeep.sweep(self._clock())

    async def flush(self) -> None:
        """Write what is queued. What the store does not take stays queued."""
        await self._writes.flush()

    # Judging

    def _look_closer(self, session: VisitorSession, host: str, connection: Connection, now: float) -> Found:
        if not self._is_good(session, host, connection, now):
            return None
        if session.is_idle(now):
            return UNKNOWN  # another relay may have seen them since
        if self._rechecks is not None and now >= session.wait_at:
            return UNKNOWN
        if self._rechecks is not None and now >= session.recheck_at:
            self._rechecks.begin(session)
        return session

    def _is_good(self, session: VisitorSession, host: str, connection: Connection, now: float) -> bool:
        """Whether a session is for this host and configuration and still admitted. Ends one that is not."""
        if session.host != host or session.connection_id != connection.id:
            # The cookie of one endpoint was carried to another. The session itself did nothing wrong.
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
        """The session as the store has it, in memory from now on."""
        try:
            kept = await self._rows.load(digest)
        except StoreError as error:
            raise SessionsAway(str(error)) from error
        if kept is None or digest in self._ended or (kept.row.host, kept.row.connection_id) != (host, connection.id):
            return None
        session = self._sessions.get(digest) or known
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
        self._sessions.put(session.id_digest, session, owner=session.connection.owner, weight=session.weight)

    async def _make_room(self, host: str, connection: Connection, issuer: str, subject: str) -> None:
        """For one more session: where there are too many, those that were used longest ago end."""
        of_connection = Whose(connection_id=connection.id)
        of_person = replace(of_connection, issuer=issuer, subject=subject)
        limits = ((of_person, MAX_OF_PERSON), (of_connection, MAX_TOGETHER), (Whose(host=host), MAX_TOGETHER))
        for whose, limit in limits:
            for id_digest in await self._store.end_oldest(whose, limit - 1, self._clock()):
                session = self._sessions.get(id_digest)
                known = {"host": whose.host or "", "connection": whose.connection_id or ""}
                self._audit.record("session.end", reason="too_many", **(session.about() if session else known))
                self._forget(id_digest)

    def _end_soon(self, session: VisitorSession, reason: str) -> None:
        if session.id_digest in self._ended:
            return
        self._audit.record("session.end", reason=reason, **session.about())
        self._writes.end(session.id_digest)
        self._forget(session.id_digest)

    def _forget(self, digest: bytes) -> None:
        self._sessions.pop(digest)
        self.upkeep.forget(digest)
        self._ended.add(digest)
        self.on_session_end(digest)
