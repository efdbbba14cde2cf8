"""Signing out because the provider says so: over the back channel (a signed token, from server to server), or over the
front channel (a page of ours in a hidden frame of its own). Neither ever signs anybody in.

The back channel is a door without a password: anybody can send. So a token is looked at before anything is called,
only connections that guard an endpoint here count, and the one call that it can cause (for newer keys) has a budget.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from tunnelctl.oidc.base64url import unb64url
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.strict_json import NotStrictJson, parse_object
from tunnelrelay.model import Field, Reply
from tunnelrelay.observe.audit import NO_AUDIT, Audit
from tunnelrelay.oidc.logout_token import LoggedOut, check_logout_token
from tunnelrelay.oidc.provider import Providers
from tunnelrelay.oidc.sealed import sha256
from tunnelrelay.oidc.session import sid_key
from tunnelrelay.oidc.sessions import Sessions
from tunnelrelay.oidc.tokens import LEEWAY, TokenInvalid
from tunnelrelay.policy.rules import Connection
from tunnelrelay.store.base import Store, StoreError, Whose

log = logging.getLogger(__name__)

FRONT_CHANNEL_PATH = "/_tunnel/frontchannel-logout"
MAX_LOGOUT_TOKEN = 14 * 1024
"""Characters: what fits a form. A logout token holds a dozen short claims."""
MAX_SID = 512
_NO_STORE: Field = (b"Cache-Control", b"no-store")
_REFUSED = Reply(400, (_NO_STORE, (b"Content-Type", b"application/json")), b'{"error":"invalid_request"}')
_FRAMED: tuple[Field, ...] = (
    _NO_STORE,
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Security-Policy", b"default-src 'none'"),
    (b"X-Content-Type-Options", b"nosniff"),
)
"""The one page that any site may frame: it shows nothing."""


class Connections(Protocol):
    """Which connections guard endpoints now."""

    def connections(self) -> Iterable[Connection]:
        """One for each endpoint with a login."""


class ProviderLogout:
    """Takes providers' word that somebody signed out. One per relay."""

    def __init__(
        self,
        *,
        providers: Providers,
        sessions: Sessions,
        store: Store,
        connections: Connections,
        clock: Callable[[], float],
        audit: Audit = NO_AUDIT,
    ) -> None:
        self._providers = providers
        self._sessions = sessions
        self._store = store
        self._connections = connections
        self._clock = clock
        self._audit = audit

    async def receive(
        self, connection_id: str, params: Iterable[tuple[str, str]], *, peer: str, request_id: str
    ) -> Reply:
        """The answer to a logout token (Back-Channel Logout 1.0 section 2.8): 200 with nothing, or 400.

        Args:
            connection_id: From the path; "" where one path serves all.
            params: Of the form, in order, duplicates included.
        """
        tokens = [value for name, value in params if name == "logout_token"]
        issuer, audience = _addressed(tokens[0]) if len(tokens) == 1 else ("", "")
        meant = {
            connection.id: connection
            for connection in self._connections.connections()
            if connection.client_id == audience and connection_id in ("", connection.id)
        }
        try:
            reasons = [await self._end(connection, tokens[0], issuer) for connection in meant.values()]
        except StoreError as error:
            log.warning("back-channel logout not written: request_id=%s: %s", request_id, error)
            return Reply(503, (_NO_STORE, (b"Retry-After", b"5")))
        if "" not in reasons:
            reason = reasons[-1] if reasons else "unknown"
            log.info("back-channel logout refused: request_id=%s reason=%s", request_id, reason)
            self._audit.record(
                "backchannel.refused", reason=reason, connection=connection_id, peer=peer, request_id=request_id
            )
            return _REFUSED
        return Reply(200, (_NO_STORE,))

    async def leave_frame(self, host: str, connection: Connection, params: Iterable[tuple[str, str]]) -> Reply:
        """The empty page for a provider's hidden frame, once the session it names has ended (Front-Channel Logout 1.0).

        A browser sends no Lax cookie into another site's frame, so it is the provider's session id that says whose:
        a value that only the provider, this relay and the visitor's own browser have seen. Whoever knows it can end
        that one session and nothing more; nothing is given back to the provider because of it.
        """
        values = list(params)
        issuers = [value for name, value in values if name == "iss"]
        sids = [value for name, value in values if name == "sid"]
        if len(issuers) == len(sids) == 1 and 0 < len(sids[0]) <= MAX_SID:
            try:
                await self._end_framed(host, connection, issuers[0], sids[0])
            except (StoreError, ProviderError) as error:
                log.warning("front-channel logout not done: host=%s: %s", host, error)
        return Reply(200, _FRAMED)

    async def _end_framed(self, host: str, connection: Connection, issuer: str, sid: str) -> None:
        metadata = await self._providers.metadata(connection)
        whose = Whose(host=host, connection_id=connection.id, sid=sid_key(connection.id, sid))
        if issuer == metadata.issuer and await self._sessions.end_where(whose):
            self._audit.record("logout.frontchannel", host=host, connection=connection.id)

    async def _end(self, connection: Connection, token: str, issuer: str) -> str:
        """Ends what a token names at one connection. Returns which check refused it, "" when none did."""
        try:
            metadata = await self._providers.metadata(connection)
            if metadata.issuer != issuer:
                return "issuer"
            said = await self._providers.verify(
                connection,
                lambda metadata, keys: check_logout_token(
                    token, keys, issuer=metadata.issuer, client_id=connection.client_id, now=self._clock()
                ),
            )
        except TokenInvalid as error:
            log.info("logout token not accepted: connection=%s reason=%s", connection.id, error)
            return "token"
        except ProviderError as error:
            log.warning("logout token not checked: connection=%s reason=%s", connection.id, error.detail)
            return "provider"
        mark = sha256(f"logout token\0{connection.id}\0{said.token_id}".encode())
        if not await self._store.use_once(mark, said.expires_at + LEEWAY):
            return "replayed"
        count = await self._sessions.end_where(_meant(connection, said))
        self._audit.record(
            "logout.backchannel",
            connection=connection.id,
            issuer=metadata.issuer,
            subject=said.subject,
            sessions=str(count),
        )
        return ""


def _meant(connection: Connection, said: LoggedOut) -> Whose:
    """With a session id that one session of the provider, without it all of the subject's."""
    return Whose(connection_id=connection.id, sid=sid_key(connection.id, said.sid), subject=said.subject or None)


def _addressed(token: str) -> tuple[str, str]:
    """Issuer and audience a token claims, unchecked: only to find who can check it. Two "" when there are none."""
    parts = token.split(".", 3) if len(token) <= MAX_LOGOUT_TOKEN and token.isascii() else []
    try:
        claims = parse_object((unb64url(parts[1]) or b"") if len(parts) == 3 else b"", max_bytes=MAX_LOGOUT_TOKEN)
    except NotStrictJson:
        return "", ""
    issuer, audience = claims.get("iss"), claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    return (issuer, audience) if isinstance(issuer, str) and isinstance(audience, str) else ("", "")
