"""Signing out of one endpoint: a confirmation page, its form, and the redirect to the provider's own logout.

Opening a URL never signs a visitor out (an `<img>` on any page could do that); only the form of our own page does, with
a CSRF token bound to the session. A visitor who wants to be signed out at the provider too is redirected there (OpenID
Connect RP-Initiated Logout 1.0) and comes back with a sealed state. Logouts by the provider are in
`provider_logout.py`.
"""

import hmac
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from tunnelctl.eventlog import EventLog
from tunnelctl.oidc.authorize import authorization_url
from tunnelctl.oidc.base64url import b64url
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.metadata import Metadata
from tunnelrelay.address import PublicAddress
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.model import Field, Reply
from tunnelrelay.observe.audit import NO_AUDIT, Audit
from tunnelrelay.oidc.login.cookies import CookieJar
from tunnelrelay.oidc.login.outcomes import redirect
from tunnelrelay.oidc.login.sealed_state import (
    CALLBACK_AUDIENCE,
    HANDOFF_SECONDS,
    LOGIN_SECONDS,
    LogoutState,
    open_blob,
    seal_blob,
)
from tunnelrelay.oidc.login.visitor_request import VisitorRequest
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.sessions.session import Grant, VisitorSession
from tunnelrelay.oidc.sessions.sessions import Sessions
from tunnelrelay.pages import login as pages
from tunnelrelay.pages.page import error_reply
from tunnelrelay.policy.rules import Connection
from tunnelrelay.store.base import StoreError

log = EventLog(__name__)

LOGOUT_PATH = "/_tunnel/logout"
SIGNED_OUT_PATH = "/_tunnel/signed-out"
EVERYWHERE = "everywhere"
"""Name of the button that also signs out at the provider."""


class Logout:
    """Signs visitors out. A relay has one instance.

    Args:
        spawn: Function that runs the revocation of a refresh token in the background.
    """

    def __init__(
        self,
        *,
        address: PublicAddress,
        ring: KeyRing,
        sessions: Sessions,
        providers: ProviderClient,
        clock: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        audit: Audit = NO_AUDIT,
    ) -> None:
        self._address = address
        self._ring = ring
        self._sessions = sessions
        self._providers = providers
        self._clock = clock
        self._spawn = spawn
        self._audit = audit
        self._jar = CookieJar(address.is_secure)

    async def confirmation_page(self, request: VisitorRequest) -> Reply:
        """Return the page with the sign-out button, or a redirect to "signed out" when the visitor is not signed in."""
        try:
            session = await self._session(request)
        except StoreError:
            return pages.busy(request_id=request.request_id, host=request.host)
        if session is None:
            return self._signed_out(request.host)
        identity = session.identity
        metadata = await self._metadata(request.connection)
        form = pages.sign_out(
            action=LOGOUT_PATH,
            token=self._token(session),
            everywhere=EVERYWHERE if metadata is not None and metadata.end_session_endpoint else "",
            leads_to=(metadata.end_session_endpoint,) if metadata is not None else (),
        )
        return pages.logout_confirmation(
            host=request.host, who=identity.email or identity.name or identity.subject, form=form
        )

    async def submit(self, request: VisitorRequest, form: Iterable[tuple[str, str]]) -> Reply:
        """Sign out if the form is from our page for this session. Works while the store is unavailable."""
        fields = list(form)
        try:
            session = await self._session(request)
        except StoreError as error:
            log.warning(
                "logout failed, the store is away", host=request.host, request_id=request.request_id, error=error
            )
            return pages.busy(request_id=request.request_id, host=request.host)
        if session is None:
            return self._signed_out(request.host)
        tokens = [value for name, value in fields if name == "token"]
        if len(tokens) != 1 or not hmac.compare_digest(tokens[0].encode(), self._token(session).encode()):
            log.warning("logout refused, wrong form token", host=request.host)
            return error_reply("form_refused", request_id=request.request_id, host=request.host, wants_html=True)
        grant = await self._end(request, session)
        return await self._leave(request, session, grant, is_everywhere=any(name == EVERYWHERE for name, _ in fields))

    def returned(self, params: Iterable[tuple[str, str]], connection_id: str, request_id: str) -> Reply:
        """Handle the browser's return from the provider's logout: redirect to the endpoint in the sealed state.

        Args:
            connection_id: Connection id in the path; "" where one path serves all connections.
        """
        states = [value for name, value in params if name == "state"]
        leaving = (
            open_blob(self._ring, LogoutState, CALLBACK_AUDIENCE, states[0], self._clock())
            if len(states) == 1
            else None
        )
        if leaving is None or connection_id not in ("", leaving.connection_id):
            domain = self._address.domain
            return pages.state_invalid(request_id=request_id, host=domain, home=self._address.url(domain))
        done = LogoutState(
            host=leaving.host, connection_id=leaving.connection_id, expires_at=self._clock() + HANDOFF_SECONDS
        )
        return redirect(
            f"{self._address.url(leaving.host)}{SIGNED_OUT_PATH}?h={seal_blob(self._ring, leaving.host, done)}"
        )

    async def signed_out_page(
        self, host: str, connection: Connection | None, params: Iterable[tuple[str, str]]
    ) -> Reply:
        """Return the "signed out" page.

        With a sealed proof it confirms the sign-out at the provider; otherwise it links to it.
        """
        words = [value for name, value in params if name == "h"]
        if len(words) == 1 and open_blob(self._ring, LogoutState, host, words[0], self._clock()) is not None:
            return pages.logged_out(host=host, is_everywhere=True)
        metadata = await self._metadata(connection) if connection is not None else None
        if connection is None or metadata is None or not metadata.end_session_endpoint:
            return pages.logged_out(host=host)
        logout_url = authorization_url(metadata.end_session_endpoint, {"client_id": connection.client_id})
        return pages.logged_out(host=host, provider_sign_out=logout_url)

    async def _end(self, request: VisitorRequest, session: VisitorSession) -> Grant:
        """End the session, even while the store is unavailable. Return the tokens of the login, empty if unknown."""
        grant = None
        try:
            grant = await self._sessions.grant_of(session)
        except StoreError as error:
            log.warning(
                "tokens of a session not read, the store is away",
                host=request.host,
                request_id=request.request_id,
                error=error,
            )
        try:
            await self._sessions.end(session.id_digest)
        except StoreError as error:
            # The session has ended here and its cookie is deleted; the store is written when it is available again.
            log.warning(
                "logout not written yet, the store is away",
                host=request.host,
                request_id=request.request_id,
                error=error,
            )
        return grant or Grant()

    async def _leave(
        self, request: VisitorRequest, session: VisitorSession, grant: Grant, *, is_everywhere: bool
    ) -> Reply:
        metadata = await self._metadata(request.connection)
        leads_on = is_everywhere and metadata is not None and bool(metadata.end_session_endpoint)
        self._audit.record(
            "logout.rp" if leads_on else "logout.local",
            subject=session.identity.subject,
            issuer=session.identity.issuer,
            **request.about(),
        )
        if metadata is None:
            return self._signed_out(request.host)
        if grant.refresh_token and metadata.revocation_endpoint:
            self._spawn(self._give_back(request.connection, metadata, grant.refresh_token))
        if not leads_on:
            return self._signed_out(request.host)
        return redirect(self._provider_logout(request, metadata, grant), self._fields())

    def _provider_logout(self, request: VisitorRequest, metadata: Metadata, grant: Grant) -> str:
        """Return the URL of the provider's logout (RP-Initiated Logout 1.0 section 2).

        Only the relay decides where it leads back to.
        """
        connection = request.connection
        state = LogoutState(host=request.host, connection_id=connection.id, expires_at=self._clock() + LOGIN_SECONDS)
        parameters = {
            "client_id": connection.client_id,
            "post_logout_redirect_uri": self._address.logged_out_uri(connection.id),
            "state": seal_blob(self._ring, CALLBACK_AUDIENCE, state),
        }
        if grant.id_token:
            parameters["id_token_hint"] = grant.id_token
        return authorization_url(metadata.end_session_endpoint, parameters)

    async def _give_back(self, connection: Connection, metadata: Metadata, refresh_token: str) -> None:
        """Revoke a refresh token that is not needed any more. If that fails, the token expires by itself."""
        try:
            await self._providers.revoke(connection, metadata, refresh_token)
        except ProviderError as error:
            if error.kind == "unreachable":
                log.info("refresh token not revoked at the provider", connection=connection.id, reason=error.detail)

    async def _metadata(self, connection: Connection) -> Metadata | None:
        """Return the provider's metadata; None when it is unavailable, as signing out here does not need it."""
        try:
            return await self._providers.metadata(connection)
        except ProviderError:
            return None

    async def _session(self, request: VisitorRequest) -> VisitorSession | None:
        cookie = self._jar.session_in(request.cookie_values)
        if cookie is None:
            return None
        return await self._sessions.recall(cookie, request.host, request.connection, self._clock())

    def _signed_out(self, host: str) -> Reply:
        return redirect(f"{self._address.url(host)}{SIGNED_OUT_PATH}", self._fields())

    def _fields(self) -> list[Field]:
        """Return header fields that clear the browser's cache.

        Clearing cookies would also clear those of sibling hosts.
        """
        return [(b"Set-Cookie", self._jar.clear(self._jar.session)), (b"Clear-Site-Data", b'"cache"')]

    def _token(self, session: VisitorSession) -> str:
        """Return the form's CSRF token, which is bound to the session, so that no other page can create it."""
        return b64url(self._ring.digest("csrf", session.id_digest))
