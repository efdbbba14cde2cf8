"""Sessions: who is signed in where, remembered on the server and named by an opaque cookie.

Read `Sessions.find` first: it runs for every request to a guarded endpoint, so it is one dict look-up and a few
comparisons, and never waits. What it does not know it leaves to `recall`, which asks the store. Writes that `find`
causes (activity, ends) are queued and written by `run`.

    find -> Session   signed in
         -> None      not signed in here
         -> UNKNOWN   not in memory: await recall(...)
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Literal

import msgspec

from tunnelrelay.address import PublicAddress
from tunnelrelay.oidc.assertion import AssertionSigner
from tunnelrelay.oidc.identity import identity_of
from tunnelrelay.oidc.sealed import KeyRing, sha256
from tunnelrelay.oidc.session import Record, Session
from tunnelrelay.policy.rules import Claims, Connection
from tunnelrelay.store.base import SessionRow, Store, StoreError, Whose

log = logging.getLogger(__name__)

COOKIE_LENGTH = 43
"""Characters of a session id: 32 random bytes as base64url. Nothing else is looked up."""
MAX_SESSIONS = 20_000
"""Sessions in memory (about 2 kB each). Past that the ones recalled longest ago go; the store still has them."""
MAX_ENDED = 20_000
"""Ended sessions remembered, so that a read that was under way when one ended cannot bring it back."""
MAX_SEALED = 64 * 1024
TOUCH_SECONDS = 60.0
"""Activity is written to the store at most this often per session, or each tenth of a shorter idle limit."""
WRITE_EVERY = 1.0
"""Seconds between two rounds of queued writes."""
SWEEP_EVERY = 5.0
"""Seconds between two searches for sessions that ran out: within these, open connections of theirs are closed."""
PURGE_EVERY = 300.0
"""Seconds between two clean-ups of the store."""


class SessionsAway(StoreError):
    """The store cannot say who is signed in. Callers refuse the request (503): never open, never signed out."""


class Lookup(Enum):
    """What `find` says when memory has no answer."""

    UNKNOWN = auto()


UNKNOWN: Final = Lookup.UNKNOWN


Found = Session | Literal[Lookup.UNKNOWN] | None


class Sessions:
    """All sessions of one relay.

    Args:
        on_session_end: Called with a session's `id_digest` when it ends, for whatever reason, so that connections
            opened under it can be closed. Must not raise.
    """

    def __init__(
        self,
        *,
        address: PublicAddress,
        ring: KeyRing,
        store: Store,
        signer: AssertionSigner,
        clock: Callable[[], float],
        on_session_end: Callable[[bytes], None] = lambda _: None,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self.on_session_end = on_session_end
        self._address = address
        self._ring = ring
        self._store = store
        self._signer = signer
        self._clock = clock
        self._max_sessions = max_sessions
        self._sessions: dict[bytes, Session] = {}
        self._ended: dict[bytes, None] = {}
        self._touched: dict[bytes, float] = {}
        self._deletes: dict[bytes, None] = {}

    def find(self, cookie: bytes, host: str, connection: Connection, now: float) -> Found:
        """The session a request's cookie names, if it is good for this host under this configuration.

        Counts as activity. A session whose limits, configuration or rules say no is ended here.
        """
        if len(cookie) != COOKIE_LENGTH:
            return None
        digest = sha256(cookie)
        session = self._sessions.get(digest)
        if session is None:
            return None if digest in self._ended else UNKNOWN
        if session.host != host or session.connection_id != connection.id:
            # Somebody carries the cookie of one endpoint to another. The session itself did nothing wrong.
            return None
        session.adopt(connection)
        if session.is_over(now) or session.epoch != connection.epoch or not _still_admitted(session, connection):
            self._end_soon(digest)
            return None
        self.seen(session, now)
        return session

    def seen(self, session: Session, now: float) -> None:
        """Notes activity: a request, or bytes from the visitor on a connection opened under the session."""
        session.last_seen = now
        if now - session.written_at >= min(TOUCH_SECONDS, session.idle_seconds / 10):
            session.written_at = now
            self._touched[session.id_digest] = now

    async def recall(self, cookie: bytes, host: str, connection: Connection, now: float) -> Session | None:
        """`find` for sessions that are not in memory (after a restart, or pushed out by others).

        Raises:
            SessionsAway: When the store cannot say.
        """
        found = self.find(cookie, host, connection, now)
        if found is not UNKNOWN:
            return found
        digest = sha256(cookie)
        try:
            row = await self._store.load_session(digest)
        except StoreError as error:
            raise SessionsAway(str(error)) from error
        if row is None or digest in self._ended or (row.host, row.connection_id) != (host, connection.id):
            return None
        if digest not in self._sessions:
            session = self._unseal(row, connection)
            if session is None:
                return None
            self._keep(session)
        found = self.find(cookie, host, connection, now)
        return None if found is UNKNOWN else found

    async def create(self, host: str, connection: Connection, *, issuer: str, claims: Claims) -> bytes:
        """Signs a visitor in. Returns the cookie's value, always new: one that was presented never becomes good.

        Raises:
            StoreError: When it cannot be kept; then nobody is signed in.
        """
        now = self._clock()
        cookie = secrets.token_urlsafe(32).encode("ascii")
        record = Record(rules_version=connection.rules_version, claims=msgspec.json.encode(claims))
        identity = identity_of(claims, issuer=issuer)
        row = SessionRow(
            key=sha256(cookie),
            host=host,
            connection_id=connection.id,
            epoch=connection.epoch,
            issuer=issuer,
            subject=identity.subject,
            email=identity.email,
            created_at=now,
            last_seen=now,
            expires_at=now + connection.max_seconds,
            sealed=self._seal(sha256(cookie), record),
        )
        await self._store.save_session(row)
        self._keep(self._session(row, record, connection))
        return cookie

    async def end(self, id_digest: bytes) -> None:
        """Ends a session now, here and in the store, and lets its open connections be closed.

        Raises:
            StoreError: When the store could not forget it yet. It is over for this process all the same, and the
                deletion is tried again by `run`.
        """
        self._end_soon(id_digest)
        await self._store.end_sessions(Whose(key=id_digest), self._clock())
        self._deletes.pop(id_digest, None)

    async def run(self) -> None:
        """Writes what `find` queued, ends what ran out, cleans the store; until its owner cancels the task."""
        next_sweep = next_purge = 0.0
        while True:
            now = self._clock()
            await self.flush()
            if now >= next_sweep:
                self.sweep(now)
                next_sweep = now + SWEEP_EVERY
            if now >= next_purge:
                await self._purge(now)
                next_purge = now + PURGE_EVERY
            await asyncio.sleep(WRITE_EVERY)

    def sweep(self, now: float) -> None:
        """Ends every session in memory that is past a limit."""
        for digest in [digest for digest, session in self._sessions.items() if session.is_over(now)]:
            self._end_soon(digest)

    async def flush(self) -> None:
        """Writes what is queued. What the store does not take now stays queued."""
        try:
            for digest in list(self._deletes):
                await self._store.end_sessions(Whose(key=digest), self._clock())
                self._deletes.pop(digest, None)
            for digest, at in list(self._touched.items()):
                await self._store.touch_session(digest, at)
                if self._touched.get(digest) == at:
                    del self._touched[digest]
        except StoreError as error:
            log.warning("sessions not written, will try again: %s", error)

    async def _purge(self, now: float) -> None:
        try:
            await self._store.delete_expired(now)
        except StoreError as error:
            log.warning("expired sessions not removed, will try again: %s", error)

    def _keep(self, session: Session) -> None:
        while len(self._sessions) >= self._max_sessions:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[session.id_digest] = session

    def _end_soon(self, digest: bytes) -> None:
        self._sessions.pop(digest, None)
        self._touched.pop(digest, None)
        self._deletes[digest] = None
        while len(self._ended) >= MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[digest] = None
        self.on_session_end(digest)

    def _seal(self, digest: bytes, record: Record) -> bytes:
        return self._ring.seal("session", digest.hex(), record).encode("ascii")

    def _unseal(self, row: SessionRow, connection: Connection) -> Session | None:
        """The session in a row, or None when the row was not written by this ring, or for another row."""
        plain = self._ring.open("session", row.key.hex(), row.sealed.decode("latin-1"), MAX_SEALED)
        if plain is None:
            log.warning("a stored session cannot be opened: the key ring was replaced, or the row was changed")
            return None
        return self._session(row, msgspec.msgpack.decode(plain, type=Record), connection)

    def _session(self, row: SessionRow, record: Record, connection: Connection) -> Session:
        return Session(
            row,
            record,
            audience=self._address.url(row.host),
            connection=connection,
            signer=self._signer,
        )


def _still_admitted(session: Session, connection: Connection) -> bool:
    """Judges the stored claims again when the owner changed the rules since."""
    if session.rules_version == connection.rules_version:
        return True
    if not connection.rules.admits(msgspec.json.decode(session.claims)):
        return False
    session.rules_version = connection.rules_version
    return True
