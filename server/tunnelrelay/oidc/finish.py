"""The second half of a login: bind the provider's answer to this browser, then find out who it is.

The order is the security: binding before anything is consumed, consuming before the code is spent, every check before
the session.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.metadata import Metadata
from tunnelrelay.address import PublicAddress
from tunnelrelay.model import Field, Reply
from tunnelrelay.oidc.answer import Endpoints
from tunnelrelay.oidc.blobs import LOGIN_SECONDS, Handoff, Transaction, open_blob
from tunnelrelay.oidc.claims import normalised
from tunnelrelay.oidc.cookies import CookieJar
from tunnelrelay.oidc.identity import identity_of
from tunnelrelay.oidc.outcomes import declined, not_admitted, provider_failed, redirect
from tunnelrelay.oidc.provider import Providers
from tunnelrelay.oidc.redeem import claims_to_keep
from tunnelrelay.oidc.sealed import KeyRing, sha256
from tunnelrelay.oidc.sessions import Sessions
from tunnelrelay.oidc.tokens import TokenInvalid
from tunnelrelay.oidc.urls import return_url
from tunnelrelay.pages import login as pages
from tunnelrelay.policy import cookies
from tunnelrelay.policy.rules import Claims, Connection
from tunnelrelay.store.base import Store, StoreError

log = logging.getLogger(__name__)

JOIN_SECONDS = 2.0
"""How long a second submit of the same hand-off (a double click) waits for the first one's answer."""
USED_SECONDS = LOGIN_SECONDS + 300
"""How long a used login is remembered: longer than its blobs are good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    """A hand-off that arrived with the cookie of the same login, so in the browser that began it."""

    handoff: Handoff
    transaction: Transaction
    connection: Connection
    cookie_values: list[bytes]
    request_id: str

    @property
    def host(self) -> str:
        return self.handoff.host


class Finisher:
    """Ends logins at the endpoints' hosts."""

    def __init__(
        self,
        *,
        address: PublicAddress,
        ring: KeyRing,
        sessions: Sessions,
        providers: Providers,
        store: Store,
        endpoints: Endpoints,
        clock: Callable[[], float],
    ) -> None:
        self._address = address
        self._ring = ring
        self._sessions = sessions
        self._providers = providers
        self._store = store
        self._endpoints = endpoints
        self._clock = clock
        self._jar = CookieJar(address.is_secure)
        self._under_way: dict[str, asyncio.Future[Reply]] = {}

    async def finish(
        self,
        host: str,
        connection: Connection,
        params: Iterable[tuple[str, str]],
        cookie_values: list[bytes],
        request_id: str,
    ) -> Reply:
        """See `Login.finish`."""
        try:
            blobs = [value for name, value in params if name == "h"]
            handoff = open_blob(self._ring, Handoff, host, blobs[0], self._clock()) if len(blobs) == 1 else None
            transaction = handoff and self._transaction_of(handoff, host, connection, cookie_values)
            if not handoff or not transaction:
                return await self._not_ours(host, connection, cookie_values, request_id)
            return await self._once(
                _Arrival(
                    handoff=handoff,
                    transaction=transaction,
                    connection=connection,
                    cookie_values=cookie_values,
                    request_id=request_id,
                )
            )
        except StoreError as error:
            log.warning("login failed, the store is away: host=%s request=%s: %s", host, request_id, error)
            return pages.busy(request_id=request_id, host=host)

    def _transaction_of(
        self, handoff: Handoff, host: str, connection: Connection, cookie_values: list[bytes]
    ) -> Transaction | None:
        """The browser's own half of the hand-off's login; None when this browser did not begin it, here and now."""
        cookie = cookies.one(cookie_values, self._jar.transaction_name(handoff.tx))
        if cookie is None:
            return None
        transaction = open_blob(self._ring, Transaction, host, cookie.decode("ascii"), self._clock())
        if transaction is None or not hmac.compare_digest(sha256(transaction.browser_secret), handoff.binding):
            return None
        expected = (handoff.tx, connection.id, connection.epoch, host)
        both = {(half.tx, half.connection_id, half.epoch, half.host) for half in (handoff, transaction)}
        return transaction if both == {expected} else None

    async def _not_ours(self, host: str, connection: Connection, cookie_values: list[bytes], request_id: str) -> Reply:
        """Signed in already (the back button): on to the app. Else a page; it starts no login by itself (loops)."""
        cookie = self._jar.session_in(cookie_values)
        if cookie is not None and await self._sessions.recall(cookie, host, connection, self._clock()):
            return redirect(return_url(self._address.url(host), "/"))
        log.info("login refused, not begun in this browser or used before: host=%s request=%s", host, request_id)
        return pages.start_again(request_id=request_id, host=host)

    async def _once(self, arrival: _Arrival) -> Reply:
        """A double click sends the same hand-off twice, and a browser shows the second answer: it gets the first one's.

        Both came with the login's own cookie, so both are this browser. What comes after the answer is a replay.
        """
        first = self._under_way.get(arrival.handoff.tx)
        if first is not None:
            await asyncio.wait([first], timeout=JOIN_SECONDS)
            if first.done() and not first.cancelled():
                return first.result()
            return pages.start_again(request_id=arrival.request_id, host=arrival.host)
        answer = self._under_way[arrival.handoff.tx] = asyncio.get_running_loop().create_future()
        try:
            reply = await self._consume(arrival)
            answer.set_result(reply)
            return reply
        finally:
            del self._under_way[arrival.handoff.tx]
            answer.cancel()

    async def _consume(self, arrival: _Arrival) -> Reply:
        """Marks the login as used, whatever becomes of it, and only then spends the code."""
        mark = sha256(b"login\0" + arrival.handoff.tx.encode("ascii"))
        if not await self._store.use_once(mark, self._clock() + USED_SECONDS):
            return await self._not_ours(arrival.host, arrival.connection, arrival.cookie_values, arrival.request_id)
        fields = [(b"Set-Cookie", self._jar.clear(self._jar.transaction_name(arrival.handoff.tx)))]
        owner = self._endpoints.owner_of(arrival.host)
        if arrival.handoff.error:
            return declined(arrival.handoff, owner, arrival.request_id, fields)
        try:
            metadata = await self._providers.metadata(arrival.connection)
            claims = await self._identify(arrival, metadata)
        except ProviderError as error:
            return provider_failed(error, arrival.host, arrival.request_id, owner=owner, fields=fields)
        return await self._admit(arrival, metadata.issuer, claims, fields)

    async def _identify(self, arrival: _Arrival, metadata: Metadata) -> Claims:
        """The checked claims of whoever the code stands for. Raises ProviderError."""
        handoff, transaction, connection = arrival.handoff, arrival.transaction, arrival.connection
        tokens = await self._providers.redeem(
            connection,
            metadata,
            code=handoff.code,
            verifier=transaction.verifier,
            redirect_uri=self._address.redirect_uri(connection.callback, connection.id, arrival.host),
        )
        try:
            claims = await self._providers.claims(
                connection, metadata, tokens, nonce=transaction.nonce, code=handoff.code
            )
        except TokenInvalid as error:
            raise ProviderError("invalid", f"its ID token is not accepted: {error}") from error
        return normalised(claims, connection)

    async def _admit(self, arrival: _Arrival, issuer: str, claims: Claims, fields: list[Field]) -> Reply:
        """Judges the rules; whoever they let in gets a session, always a new one."""
        connection, host = arrival.connection, arrival.host
        refusal = connection.rules.admits(claims)
        if refusal is not True:
            identity = identity_of(claims, issuer=issuer)
            owner = self._endpoints.owner_of(host)
            return not_admitted(identity, refusal, host, owner, arrival.request_id, fields)
        await self._end_presented(arrival)
        kept = claims_to_keep(claims, connection)
        cookie = await self._sessions.create(host, connection, issuer=issuer, claims=kept)
        log.info("login done: host=%s request=%s issuer=%s", host, arrival.request_id, issuer)
        location = return_url(self._address.url(host), arrival.transaction.return_path)
        return redirect(location, [*fields, (b"Set-Cookie", self._jar.set(self._jar.session, cookie))])

    async def _end_presented(self, arrival: _Arrival) -> None:
        """Ends the session the browser came with: the newest login wins, also when it is another person's."""
        cookie = self._jar.session_in(arrival.cookie_values)
        if cookie is None:
            return
        session = await self._sessions.recall(cookie, arrival.host, arrival.connection, self._clock())
        if session is not None:
            await self._sessions.end(session.id_digest)
