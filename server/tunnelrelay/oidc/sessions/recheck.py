"""Re-checks: asks the provider periodically, in the background, whether signed-in visitors may stay signed in.

    due -> requests go on with the old data -> 30 s later they wait for the answer
    provider vouches, rules admit       new data, in memory and in the row
    provider or rules say no            the session ends
    provider cannot be asked            the owner's policy: keep | login | 502
    the relay was too busy to ask       later, for as long as claims are believed; then the owner's policy

Each session has at most one re-check at a time: a task in this process, and a lease among relays that share a store.
Results are written by compare-and-set, so that no change made meanwhile (such as a logout) is lost. `refresh.py` has
the requests and interprets the responses.
"""

import asyncio
from collections.abc import Callable
from weakref import WeakValueDictionary

import msgspec

from tunnelctl.eventlog import EventLog
from tunnelrelay.keys.keyring import sha256
from tunnelrelay.observe.audit import Audit
from tunnelrelay.oidc.providers.known_providers import MAX_CALLS
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.providers.token_request import claims_to_keep
from tunnelrelay.oidc.sessions.refresh import Confirmed, NotAsked, NoToken, Outcome, ProviderQuery, Rejected
from tunnelrelay.oidc.sessions.rows import SessionRows, StoredSession
from tunnelrelay.oidc.sessions.session import NEVER, Grant, Record, VisitorSession
from tunnelrelay.oidc.tokens.identity import identity_of
from tunnelrelay.policy.rules import Connection
from tunnelrelay.store.base import MarkStore, StoreError

log = EventLog(__name__)

ASK_SECONDS = 15.0
"""Maximum seconds for all requests of one re-check."""
TURN_SECONDS = 20.0
"""Maximum seconds to wait for earlier re-checks of the same connection. As many run at once as calls are allowed
(`MAX_CALLS`), so that a login waits for at most two of a thousand sessions that are due together."""
LEASE_SECONDS = 30.0
"""Seconds of the lease, longer than a re-check can take. If a relay dies during one, the others cannot re-check this
session for this time."""
LEASE_WAIT_SECONDS = 10.0
LEASE_LOOK_SECONDS = 0.25
RETRY_SECONDS = 30.0
"""Seconds between two tries when the provider, or the store, could not be reached."""
AWAY_SECONDS = 5.0
"""With policy `502`: seconds for which a provider that could not be reached is not called again."""
KEEP_FACTOR = 2
"""Number of re-check intervals after which claims are not trusted any longer; applies to policy `keep`, and to all
policies if the relay itself was too busy to ask."""


class Rechecks:
    """All re-checks of a relay. Each runs in a task of its own, until it ends or `finish` abandons it.

    Args:
        weigh: Called with a session whose size in bytes has changed.
        end: Function that ends a session, with a reason for the audit log.
        close: Function that closes the connections opened under a session, by its `id_digest`.
    """

    def __init__(
        self,
        *,
        rows: SessionRows,
        store: MarkStore,
        providers: ProviderClient,
        audit: Audit,
        clock: Callable[[], float],
        weigh: Callable[[VisitorSession], None],
        end: Callable[[VisitorSession, str], None],
        close: Callable[[bytes], None],
    ) -> None:
        self._rows = rows
        self._store = store
        self._providers = providers
        self._audit = audit
        self._clock = clock
        self._weigh = weigh
        self._end = end
        self._close = close
        self._running: dict[bytes, asyncio.Task[None]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def begin(self, session: VisitorSession) -> "asyncio.Task[None]":
        """Return the task of the session's re-check, which is started if none is running."""
        session.recheck_began()
        task = self._running.get(session.id_digest)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._guarded(session))
            self._running[session.id_digest] = task
            task.add_done_callback(lambda _: self._running.pop(session.id_digest, None))
        return task

    async def wait(self, session: VisitorSession) -> None:
        """Wait until the session has been re-checked. Cancelling the wait does not stop the re-check."""
        await asyncio.wait([self.begin(session)])

    async def finish(self, seconds: float) -> None:
        """Wait for running re-checks for some seconds, as an interrupted refresh costs the visitor the session."""
        tasks = list(self._running.values())
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(self, session: VisitorSession) -> None:
        """Run a re-check. Any unexpected error counts as if the provider could not be reached."""
        try:
            await self._take_turn(session)
        except StoreError as error:
            # Cached sessions continue without the store, but only while their claims are trusted: a full disk must not
            # keep a visitor signed in whom the provider has dropped.
            log.warning("session not re-checked, the store is away", host=session.host, error=error)
            self._not_now(session, "store_away")
        except Exception:
            log.exception("session re-check failed", host=session.host)
            self._not_asked(session, "internal error")

    async def _take_turn(self, session: VisitorSession) -> None:
        turn = self._turns.setdefault(session.connection.share, asyncio.Semaphore(MAX_CALLS))
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await turn.acquire()
        except TimeoutError:
            self._not_now(session, "busy")
            return
        try:
            await self._lead(session)
        finally:
            turn.release()

    async def _lead(self, session: VisitorSession) -> None:
        """Re-check a session, unless another relay is already doing so."""
        lease = sha256(b"recheck\0" + session.id_digest)
        if not await self._is_leased(lease):
            self._not_now(session, "elsewhere")
            return
        try:
            await self._recheck(session)
        finally:
            await self._store.give_back(lease)

    async def _is_leased(self, lease: bytes) -> bool:
        for _ in range(round(LEASE_WAIT_SECONDS / LEASE_LOOK_SECONDS)):
            now = self._clock()
            if await self._store.lease(lease, now, now + LEASE_SECONDS):
                return True
            await asyncio.sleep(LEASE_LOOK_SECONDS)
        return False

    async def _recheck(self, session: VisitorSession) -> None:
        kept = await self._rows.load(session.id_digest)
        if kept is None:
            self._end(session, "revoked")
        elif kept.row.version > session.version and (kept.record.checked_at or 0) > session.checked_at:
            session.renew(kept.row, kept.record)  # another relay has asked
            self._weigh(session)
            self._judge(session, session.connection)
        elif kept.record.refreshing_since is not None:
            self._end(session, "refresh_interrupted")
        else:
            await self._ask(session, session.connection, kept)

    async def _ask(self, session: VisitorSession, connection: Connection, kept: StoredSession) -> None:
        grant = kept.record.grant
        if grant.refresh_token:
            mark = msgspec.structs.replace(kept.record, refreshing_since=self._clock())
            marked = await self._rows.change(kept, mark, last_seen=session.last_seen)
            if marked is None:
                self._end(session, "revoked")
                return
            kept = marked
        outcome = await self._answer(connection, kept)
        match outcome:
            case Confirmed(claims, grant):
                await self._renew(session, connection, kept, claims, grant)
            case Rejected(reason):
                self._end(session, reason)
            case NoToken():
                session.is_askable = False
                session.put_off(NEVER, NEVER)
            case NotAsked(detail, grant, is_ours):
                if grant.refresh_token:
                    unmarked = msgspec.structs.replace(kept.record, grant=grant, refreshing_since=None)
                    await self._rows.change(kept, unmarked, last_seen=session.last_seen)
                if is_ours:
                    self._not_now(session, "busy")
                else:
                    self._not_asked(session, detail)

    async def _answer(self, connection: Connection, kept: StoredSession) -> Outcome:
        row, grant = kept.row, kept.record.grant
        query = ProviderQuery(
            self._providers, connection, grant=grant, issuer=row.issuer, subject=row.subject, clock=self._clock
        )
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await query.run()
        except TimeoutError:
            # Keep the token that was sent, or the new one: `refresh.py` explains why the old one may be sent again.
            return NotAsked("it took too long", query.grant)

    async def _renew(
        self,
        session: VisitorSession,
        connection: Connection,
        kept: StoredSession,
        claims: dict[str, object] | None,
        grant: Grant,
    ) -> None:
        refusal = True if claims is None else connection.rules.admits(claims)
        if refusal is not True:
            self._end(session, f"rules_{refusal.reason}")
            return
        record = Record(
            rules_version=kept.record.rules_version if claims is None else connection.rules_version,
            claims=kept.record.claims if claims is None else msgspec.json.encode(claims_to_keep(claims, connection)),
            grant=grant,
            checked_at=self._clock(),
        )
        identity = identity_of(msgspec.json.decode(record.claims), issuer=kept.row.issuer)
        renewed = await self._rows.change(kept, record, last_seen=session.last_seen, email=identity.email)
        if renewed is None:
            self._end(session, "revoked")
            return
        session.renew(renewed.row, renewed.record)
        self._weigh(session)
        self._judge(session, session.connection)  # the owner may have changed it meanwhile
        self._audit.record("session.refresh", reason="ok", **session.about())

    def _judge(self, session: VisitorSession, connection: Connection) -> None:
        """End a session that this relay's present rules refuse. Another relay may have applied older rules."""
        if refusal := session.refusal(connection):
            self._end(session, refusal)

    def _not_asked(self, session: VisitorSession, detail: str) -> None:
        """Apply the owner's `on_recheck_error`, as the provider could not be reached."""
        log.warning("session not re-checked, provider unavailable", host=session.host, reason=detail)
        self._audit.record("session.refresh", reason="unreachable", **session.about())
        self._go_by_policy(session, "provider_unreachable")

    def _not_now(self, session: VisitorSession, reason: str) -> None:
        """Skip a re-check for the relay's own reasons. The session continues while its claims are still trusted."""
        log.info("session re-check postponed", host=session.host, reason=reason)
        self._audit.record("session.refresh", reason=reason, **session.about())
        limit = _believed_until(session)
        if self._clock() < limit:
            self._put_off(session, wait_at=limit)
        else:
            self._go_by_policy(session, "not_rechecked")

    def _go_by_policy(self, session: VisitorSession, reason: str) -> None:
        """Do with the session what the owner chose for a provider that cannot be reached.

        Args:
            reason: Reason for the audit log if the session ends.
        """
        now, policy, limit = self._clock(), session.connection.on_recheck_error, _believed_until(session)
        if policy == "502":
            session.away_until = now + AWAY_SECONDS
            session.put_off(session.away_until, now)
            self._close(session.id_digest)
        elif policy == "login" or now >= limit:
            self._end(session, reason)
        else:
            self._put_off(session, wait_at=limit)

    def _put_off(self, session: VisitorSession, *, wait_at: float) -> None:
        session.put_off(min(self._clock() + RETRY_SECONDS, wait_at), wait_at)


def _believed_until(session: VisitorSession) -> float:
    return session.checked_at + KEEP_FACTOR * session.connection.recheck_seconds
