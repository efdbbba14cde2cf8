"""The second half of a login: checks that the provider's response belongs to this browser, then identifies the visitor.

The order matters for security: the browser is checked before the login is marked as used, the mark is set before the
code is exchanged, and every check is made before the session is created.
"""

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from tunnelctl.eventlog import EventLog
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.metadata import Metadata
from tunnelrelay.address import PublicAddress
from tunnelrelay.keys.keyring import KeyRing, sha256
from tunnelrelay.model import Field
from tunnelrelay.observe.audit import Audit
from tunnelrelay.oidc.login.callback import Endpoints
from tunnelrelay.oidc.login.cookies import CookieJar
from tunnelrelay.oidc.login.declined import classify, is_expired_tab
from tunnelrelay.oidc.login.outcomes import LoginEnd, declined, not_admitted, provider_failed, redirect
from tunnelrelay.oidc.login.query import Params
from tunnelrelay.oidc.login.return_path import return_url
from tunnelrelay.oidc.login.sealed_state import (
    ANY_AGE,
    LOGIN_SECONDS,
    Handoff,
    Switch,
    Transaction,
    open_blob,
    seal_blob,
)
from tunnelrelay.oidc.login.start import LoginOptions, Starter
from tunnelrelay.oidc.login.visitor_request import VisitorRequest
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.providers.token_request import claims_to_keep
from tunnelrelay.oidc.sessions.session import Grant, grant_of
from tunnelrelay.oidc.sessions.sessions import Sessions
from tunnelrelay.oidc.tokens.claims import normalised
from tunnelrelay.oidc.tokens.id_token import SignInTooOld, SignInTooWeak, TokenInvalid
from tunnelrelay.oidc.tokens.identity import identity_of
from tunnelrelay.pages import login as pages
from tunnelrelay.pages.page import FormButton
from tunnelrelay.policy import cookies
from tunnelrelay.policy.rules import Claims
from tunnelrelay.store.base import MarkStore, StoreError

log = EventLog(__name__)

JOIN_SECONDS = 2.0
"""Seconds for which a hand-off (a forwarded provider's response) that arrives again, by a double click, waits for the
reply to the first one."""
USED_SECONDS = LOGIN_SECONDS + 300
"""Seconds for which a used login is remembered: longer than its sealed values are valid, and than the cookie of a
refused login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    """A hand-off (the provider's response, forwarded to the endpoint's host) with the cookie of its login, which proves
    that it arrived in the browser that began the login.
    """

    request: VisitorRequest
    handoff: Handoff
    transaction: Transaction


class Finisher:
    """Finishes logins at the endpoints' hosts."""

    def __init__(
        self,
        *,
        starter: Starter,
        address: PublicAddress,
        ring: KeyRing,
        sessions: Sessions,
        providers: ProviderClient,
        store: MarkStore,
        endpoints: Endpoints,
        clock: Callable[[], float],
        audit: Audit,
    ) -> None:
        self._starter = starter
        self._address = address
        self._ring = ring
        self._sessions = sessions
        self._providers = providers
        self._store = store
        self._endpoints = endpoints
        self._clock = clock
        self._audit = audit
        self._jar = CookieJar(address.is_secure)
        self._under_way: dict[str, asyncio.Future[LoginEnd]] = {}

    async def finish(self, request: VisitorRequest, params: Params) -> LoginEnd:
        """Finish a login whose provider's response the callback host forwarded to the endpoint's host; see
        `Login.finish`.
        """
        blobs = [value for name, value in params if name == "h"]
        # An expired hand-off too: in a restored tab it still shows where the visitor wanted to go.
        handoff = open_blob(self._ring, Handoff, request.host, blobs[0], ANY_AGE) if len(blobs) == 1 else None
        return await self.arrive(request, handoff)

    async def arrive(self, request: VisitorRequest, handoff: Handoff | None) -> LoginEnd:
        """Finish the login for a provider's response. `handoff` is None when the response belongs to no login."""
        try:
            is_fresh = handoff is not None and self._clock() < handoff.expires_at
            transaction = self._transaction_of(handoff, request) if handoff and is_fresh else None
            if not handoff or not transaction:
                return await self._not_ours(request, "not_begun_here", handoff.return_path if handoff else "/")
            return await self._once(_Arrival(request=request, handoff=handoff, transaction=transaction))
        except StoreError as error:
            log.warning(
                "login failed, the store is away", host=request.host, request_id=request.request_id, error=error
            )
            self._audit.record("login.error", reason="store_away", **request.about())
            return LoginEnd(pages.busy(request_id=request.request_id, host=request.host), "failed")

    async def refuse(self, request: VisitorRequest, code: str, path: str) -> LoginEnd:
        """Respond to a callback that belongs to no login of this browser.

        Args:
            path: The path that the visitor wanted to open.
        """
        try:
            return await self._not_ours(request, code, path)
        except StoreError:
            return LoginEnd(pages.busy(request_id=request.request_id, host=request.host), "failed")

    async def is_signed_in(self, request: VisitorRequest) -> bool:
        """Return whether the browser has a valid session here. Raises StoreError when it cannot be read."""
        cookie = self._jar.session_in(request.cookie_values)
        if cookie is None:
            return False
        return await self._sessions.recall(cookie, request.host, request.connection, self._clock()) is not None

    def refused(self, request: VisitorRequest, params: Params) -> tuple[str, bool]:
        """Read the form of an error page. Return the login's return path, and whether this browser began that login.

        A refused visitor has no session to which a CSRF token could be bound; the token is bound to the login's cookie
        instead.
        """
        tokens = [value for name, value in params if name == "token"]
        switch = open_blob(self._ring, Switch, request.host, tokens[0], ANY_AGE) if len(tokens) == 1 else None
        if switch is None:
            return "/", False
        is_fresh = self._clock() < switch.expires_at
        return switch.return_path, is_fresh and self._cookie_of(switch.tx, switch.binding, request) is not None

    def _cookie_of(self, tx: str, binding: bytes, request: VisitorRequest) -> Transaction | None:
        """Return the transaction in this browser's cookie of the login; None without one."""
        cookie = cookies.one(request.cookie_values, self._jar.transaction_name(tx))
        if cookie is None:
            return None
        transaction = open_blob(self._ring, Transaction, request.host, cookie.decode("ascii"), self._clock())
        if transaction is None or not hmac.compare_digest(sha256(transaction.browser_secret), binding):
            return None
        return transaction if transaction.tx == tx else None

    def _transaction_of(self, handoff: Handoff, request: VisitorRequest) -> Transaction | None:
        """Return the transaction of a hand-off's login; None when another browser or endpoint began it, or it has
        expired.
        """
        transaction = self._cookie_of(handoff.tx, handoff.binding, request)
        if transaction is None:
            return None
        connection, host = request.connection, request.host
        expected = (handoff.tx, connection.id, connection.epoch, host, self._endpoints.generation_of(host))
        halves = (handoff, transaction)
        both = {(half.tx, half.connection_id, half.epoch, half.host, half.generation) for half in halves}
        return transaction if both == {expected} else None

    async def _not_ours(self, request: VisitorRequest, reason: str, path: str) -> LoginEnd:
        """Respond to a forwarded provider's response whose login this browser did not begin or has already finished.

        Redirect a signed-in visitor to the path.

        No new login is started, as that could loop. The path was sealed when the login began and belongs to this host,
        so it is as harmless as any link.
        """
        if await self.is_signed_in(request):
            return LoginEnd(redirect(return_url(self._address.url(request.host), path)), "ok")
        log.info(
            "login refused, not started in this browser or used before",
            host=request.host,
            request_id=request.request_id,
        )
        self._audit.record("login.error", reason=reason, **request.about())
        return LoginEnd(pages.start_again(request_id=request.request_id, host=request.host, path=path), "failed")

    async def _once(self, arrival: _Arrival) -> LoginEnd:
        """Handle a forwarded provider's response that a double click may send twice: both requests get the reply to the
        first one.

        Both requests have the login's cookie and so come from this browser. A hand-off that comes later is a replay.
        """
        tx = arrival.handoff.tx
        first = self._under_way.get(tx)
        if first is not None:
            await asyncio.wait([first], timeout=JOIN_SECONDS)
            if first.done() and not first.cancelled():
                return first.result()
            page = pages.start_again(
                request_id=arrival.request.request_id, host=arrival.request.host, path=arrival.handoff.return_path
            )
            return LoginEnd(page, "failed")
        answer = self._under_way[tx] = asyncio.get_running_loop().create_future()
        try:
            ended = await self._consume(arrival)
            answer.set_result(ended)
            return ended
        finally:
            del self._under_way[tx]
            answer.cancel()

    async def _consume(self, arrival: _Arrival) -> LoginEnd:
        """Mark the login as used, then exchange the code. A failed login cannot be repeated."""
        request, handoff = arrival.request, arrival.handoff
        mark = sha256(b"login\0" + handoff.tx.encode("ascii"))
        if not await self._store.use_once(mark, self._clock() + USED_SECONDS):
            return await self._not_ours(request, "used_before", handoff.return_path)
        fields = [(b"Set-Cookie", self._jar.clear(self._jar.transaction_name(handoff.tx)))]
        owner = self._endpoints.owner_of(request.host)
        if handoff.error:
            return await self._declined(arrival, owner, fields)
        try:
            claims, grant = await self._identify(arrival)
            metadata = await self._providers.metadata(request.connection)
        except (SignInTooOld, SignInTooWeak) as error:
            return await self._step_up(arrival, error, fields)
        except ProviderError as error:
            self._audit.record("login.error", reason=f"provider_{error.kind}", owner=owner, **request.about())
            return provider_failed(error, request, handoff.return_path, owner=owner, fields=fields)
        return await self._admit(arrival, metadata, claims, grant, fields)

    async def _declined(self, arrival: _Arrival, owner: str, fields: list[Field]) -> LoginEnd:
        """Respond to a provider's error. If only the login page in this tab had expired, start the login again."""
        request, handoff = arrival.request, arrival.handoff
        if is_expired_tab(handoff.error, handoff.description):
            if await self.is_signed_in(request):
                return LoginEnd(
                    redirect(return_url(self._address.url(request.host), handoff.return_path), fields), "ok"
                )
            if not arrival.transaction.is_repeat:
                options = LoginOptions(return_path=handoff.return_path, is_repeat=True)
                return await self._starter.start(request, options, tuple(fields))
        self._audit.record("login.error", reason="declined", owner=owner, **request.about())
        form = None
        if classify(handoff.error, handoff.description).is_the_persons:
            form, kept = await self._use_another(arrival)
            fields = fields if form is None else [(b"Set-Cookie", kept)]
        return declined(handoff, owner, request.request_id, form, fields)

    async def _use_another(self, arrival: _Arrival) -> tuple[FormButton | None, bytes]:
        """Return the button "use another account" and the Set-Cookie value it needs; no button if the provider is
        unreachable.
        """
        try:
            metadata = await self._providers.metadata(arrival.request.connection)
        except ProviderError:
            return None, b""
        token, kept = self._switch(arrival)
        return pages.use_another(token=token, provider=metadata.authorization_endpoint), kept

    async def _identify(self, arrival: _Arrival) -> tuple[Claims, Grant]:
        """Return the verified claims of the visitor, and the tokens for later re-checks.

        Raises:
            ProviderError: The provider's response does not identify a person.
            SignInTooOld, SignInTooWeak: Only the owner's requirements on age or method of the sign-in are not met.
        """
        transaction, connection = arrival.transaction, arrival.request.connection
        tokens = await self._providers.redeem(
            connection,
            code=arrival.handoff.code,
            verifier=transaction.verifier,
            redirect_uri=transaction.redirect_uri,
        )
        try:
            claims = await self._providers.claims(
                connection, tokens, nonce=transaction.nonce, code=arrival.handoff.code
            )
        except (SignInTooOld, SignInTooWeak):
            raise
        except TokenInvalid as error:
            raise ProviderError("invalid", f"its ID token is not accepted: {error}") from error
        return normalised(claims, connection), grant_of(tokens, nonce=transaction.nonce, now=self._clock())

    async def _step_up(self, arrival: _Arrival, error: SignInTooOld | SignInTooWeak, fields: list[Field]) -> LoginEnd:
        """Ask the provider once more for a fresh sign-in. For a second failure, or a weak sign-in, show a page instead.

        `max_age` was sent before; a provider that ignores it often understands `prompt=login`.
        """
        request, path = arrival.request, arrival.handoff.return_path
        is_old = isinstance(error, SignInTooOld)
        reason: Literal["too_old", "too_weak"] = "too_old" if is_old else "too_weak"
        log.info("login too old or too weak", host=request.host, request_id=request.request_id, reason=error)
        if is_old and not arrival.transaction.is_repeat:
            return await self._starter.start(
                request, LoginOptions(return_path=path, prompt="login", is_repeat=True), tuple(fields)
            )
        self._audit.record("login.error", reason=reason, **request.about())
        page = pages.sign_in_again(
            reason, request_id=request.request_id, host=request.host, path=path, fields=tuple(fields)
        )
        return LoginEnd(page, "failed")

    async def _admit(
        self, arrival: _Arrival, metadata: Metadata, claims: Claims, grant: Grant, fields: list[Field]
    ) -> LoginEnd:
        """Check the owner's rules, and create a session for a visitor who may enter."""
        request, issuer = arrival.request, metadata.issuer
        connection, host = request.connection, request.host
        owner = self._endpoints.owner_of(host)
        identity = identity_of(claims, issuer=issuer)
        who = {"subject": identity.subject, "issuer": issuer, "owner": owner}
        refusal = connection.rules.admits(claims)
        if refusal is not True:
            self._audit.record("login.denied", reason=refusal.reason, **who, **request.about())
            token, cookie_kept = self._switch(arrival)
            form = pages.use_another(token=token, provider=metadata.authorization_endpoint)
            return not_admitted(identity, refusal, request, owner, form, [(b"Set-Cookie", cookie_kept)])
        await self._end_presented(request)
        kept = claims_to_keep(claims, connection)
        cookie = await self._sessions.create(host, connection, issuer=issuer, claims=kept, grant=grant)
        self._audit.record("login.ok", **who, **request.about())
        location = return_url(self._address.url(host), arrival.handoff.return_path)
        fields.append((b"Set-Cookie", self._jar.set(self._jar.session, cookie)))
        return LoginEnd(redirect(location, fields), "ok", identity)

    def _switch(self, arrival: _Arrival) -> tuple[str, bytes]:
        """Return the hidden field of the form "use another account", and the Set-Cookie value that keeps the cookie of
        the login, which the form needs.

        The login remains marked as used; the cookie only identifies its browser and its return path.
        """
        transaction, expires_at = arrival.transaction, self._clock() + LOGIN_SECONDS
        switch = Switch(
            tx=transaction.tx,
            binding=sha256(transaction.browser_secret),
            expires_at=expires_at,
            return_path=arrival.handoff.return_path,
        )
        kept = msgspec.structs.replace(transaction, expires_at=expires_at)
        blob = seal_blob(self._ring, transaction.host, kept).encode("ascii")
        cookie = self._jar.set(self._jar.transaction_name(transaction.tx), blob, max_age=LOGIN_SECONDS)
        return seal_blob(self._ring, transaction.host, switch), cookie

    async def _end_presented(self, request: VisitorRequest) -> None:
        """End the session that the browser had: the newest login wins, even by another person."""
        cookie = self._jar.session_in(request.cookie_values)
        if cookie is None:
            return
        session = await self._sessions.recall(cookie, request.host, request.connection, self._clock())
        if session is not None:
            await self._sessions.end(session.id_digest, "replaced")
