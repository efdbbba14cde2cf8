"""Ends sessions on request of the provider: over the back channel (a signed token from server to server), or over the
front channel (our page in a hidden frame of a provider's page). Neither can sign a visitor in.

Anyone can send requests to the back channel. So a token is examined before any call is made, only connections count
that protect an endpoint here or have sessions of the person in the token, and calls to fetch keys are limited.

A session may outlive its tunnel for a while, and its tunnel may be at another relay that shares the store. Ending it
must not depend on the agent, so the session's row has what checking a token needs: issuer and client id, no secret.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from tunnelctl.eventlog import EventLog
from tunnelctl.oidc.base64url import unb64url
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.strict_json import NotStrictJson, parse_object
from tunnelrelay.keys.keyring import sha256
from tunnelrelay.model import Field, Reply
from tunnelrelay.observe.audit import NO_AUDIT, Audit
from tunnelrelay.oidc.logout.logout_token import LoggedOut, check_logout_token
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.sessions.session import sid_key
from tunnelrelay.oidc.sessions.sessions import Sessions
from tunnelrelay.oidc.tokens.id_token import LEEWAY, TokenInvalid
from tunnelrelay.policy.connections import without_client
from tunnelrelay.policy.rules import Connection
from tunnelrelay.store.base import LoginStore, SessionCriteria, StoreError

log = EventLog(__name__)

FRONT_CHANNEL_PATH = "/_tunnel/frontchannel-logout"
MAX_LOGOUT_TOKEN = 14 * 1024
"""Maximum characters of a logout token, limited by the size of a form. A logout token has a dozen short claims."""
MAX_SID = 512
MAX_AWAY = 20
"""Maximum connections without an endpoint here for which one token is checked. They all belong to one client at which
one person (or, if the token names only a session, any person) is signed in; few owners share a client."""
_NO_STORE: Field = (b"Cache-Control", b"no-store")
_REFUSED = Reply(400, (_NO_STORE, (b"Content-Type", b"application/json")), b'{"error":"invalid_request"}')
_FRAMED: tuple[Field, ...] = (
    _NO_STORE,
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Security-Policy", b"default-src 'none'"),
    (b"X-Content-Type-Options", b"nosniff"),
)
"""Header fields of the only page that any site may frame, as it is empty."""


class Connections(Protocol):
    """Interface to the connections of live endpoints."""

    def connections(self) -> Iterable[Connection]:
        """Return the connections of all endpoints with a login."""


class ProviderLogout:
    """Ends sessions when a provider reports that a person signed out. A relay has one instance."""

    def __init__(
        self,
        *,
        providers: ProviderClient,
        sessions: Sessions,
        store: LoginStore,
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
        """Handle a logout token (Back-Channel Logout 1.0 section 2.8). The response is an empty 200, or a 400.

        Args:
            connection_id: Connection id in the path; "" where one path serves all connections.
            params: Parameters of the form in order, with duplicates.
        """
        tokens = [value for name, value in params if name == "logout_token"]
        claimed = _claimed(tokens[0]) if len(tokens) == 1 else None
        reasons: dict[str, str] = {}
        try:
            if claimed is not None:
                clients = await self._clients(claimed, connection_id)
                reasons = {client.connection_id: await self._end(client, tokens[0], claimed) for client in clients}
        except StoreError as error:
            log.warning("back-channel logout failed, the store is away", request_id=request_id, error=error)
            return Reply(503, (_NO_STORE, (b"Retry-After", b"5")))
        if "" in reasons.values():
            return Reply(200, (_NO_STORE,))
        # Not by the path: the sender must not choose which limit of events it counts against.
        for known_id, reason in reasons.items() or [("", "unknown")]:
            self._audit.record(
                "backchannel.refused", reason=reason, connection=known_id, peer=peer, request_id=request_id
            )
        return _REFUSED

    async def leave_frame(self, host: str, connection: Connection, params: Iterable[tuple[str, str]]) -> Reply:
        """End the session that a provider's hidden frame names, and return the empty page (Front-Channel Logout 1.0).

        Browsers send no Lax cookie in another site's frame, so the session is identified by the provider's session id,
        which only the provider, this relay and the visitor's browser know. Only that session ends; no token is revoked
        at the provider.
        """
        values = list(params)
        issuers = [value for name, value in values if name == "iss"]
        sids = [value for name, value in values if name == "sid"]
        if len(issuers) == len(sids) == 1 and 0 < len(sids[0]) <= MAX_SID:
            try:
                await self._end_framed(host, connection, issuers[0], sids[0])
            except (StoreError, ProviderError) as error:
                log.warning("front-channel logout failed, the store is away", host=host, error=error)
        return Reply(200, _FRAMED)

    async def _end_framed(self, host: str, connection: Connection, issuer: str, sid: str) -> None:
        metadata = await self._providers.metadata(connection)
        criteria = SessionCriteria(host=host, connection_id=connection.id, sid=sid_key(connection.id, sid))
        if issuer == metadata.issuer and await self._sessions.end_where(criteria):
            self._audit.record("logout.frontchannel", host=host, connection=connection.id)

    async def _clients(self, claimed: "_Claimed", connection_id: str) -> "list[_Client]":
        """Return the OpenID clients to which a logout token may be addressed: those of endpoints here, and those with
        sessions in the store.

        Args:
            connection_id: Id of the only client to consider; "" for all.
        """
        here = {
            connection.id: _Client(connection.id, connection.client_id, connection)
            for connection in self._connections.connections()
            if connection.client_id == claimed.audience and connection_id in ("", connection.id)
            # Before any call, so that another owner's slow provider does not delay this logout.
            if connection.issuer.rstrip("/") == claimed.issuer.rstrip("/")
        }
        criteria = SessionCriteria(
            connection_id=connection_id or None,
            issuer=claimed.issuer,
            client_id=claimed.audience,
            subject=claimed.subject,
        )
        signed_in = await self._store.connections(criteria, limit=len(here) + MAX_AWAY)
        away = [_away(known_id, claimed) for known_id in signed_in if known_id not in here]
        return [*here.values(), *away[:MAX_AWAY]]

    async def _end(self, client: "_Client", token: str, claimed: "_Claimed") -> str:
        """End the sessions that a token names at one connection.

        Return the check that refused the token; "" for none.
        """
        try:
            metadata = await self._providers.metadata(client.provider)
            if metadata.issuer != claimed.issuer:
                return "issuer"
            logged_out = await self._providers.verify(
                client.provider,
                lambda metadata, keys: check_logout_token(
                    token, keys, issuer=metadata.issuer, client_id=client.client_id, now=self._clock()
                ),
            )
        except TokenInvalid as error:
            log.info("logout token not accepted", connection=client.connection_id, reason=error)
            return "token"
        except ProviderError as error:
            log.warning("logout token not checked", connection=client.connection_id, reason=error.detail)
            return "provider"
        mark = sha256(f"logout token\0{client.connection_id}\0{logged_out.token_id}".encode())
        if not await self._store.use_once(mark, logged_out.expires_at + LEEWAY):
            return "replayed"
        count = await self._sessions.end_where(_criteria_of(client.connection_id, logged_out))
        self._audit.record(
            "logout.backchannel",
            connection=client.connection_id,
            issuer=metadata.issuer,
            subject=logged_out.subject,
            sessions=str(count),
        )
        return ""


@dataclass(frozen=True, slots=True)
class _Claimed:
    """Claims of a token that is not verified yet, used only to find the connection that can verify it."""

    issuer: str
    audience: str
    subject: str | None


@dataclass(frozen=True, slots=True)
class _Client:
    """An OpenID client to which a logout token may be addressed, and the connection whose provider's keys verify the
    token.
    """

    connection_id: str
    client_id: str
    provider: Connection


def _away(connection_id: str, claimed: _Claimed) -> _Client:
    """Return the client of a connection that no endpoint of this relay has, built from issuer and client id of the
    connection's sessions.
    """
    # It gets its own cache entry; metadata about clients is not checked.
    return _Client(connection_id, claimed.audience, without_client(f"{connection_id} away", claimed.issuer))


def _criteria_of(connection_id: str, logged_out: LoggedOut) -> SessionCriteria:
    """Return the sessions to end: those with the token's session id if it has one, else all of the subject."""
    return SessionCriteria(
        connection_id=connection_id, sid=sid_key(connection_id, logged_out.sid), subject=logged_out.subject or None
    )


def _claimed(token: str) -> _Claimed | None:
    """Return the unverified claims of a token; None when a claim is missing that every logout token has."""
    parts = token.split(".", 3) if len(token) <= MAX_LOGOUT_TOKEN and token.isascii() else []
    try:
        claims = parse_object((unb64url(parts[1]) or b"") if len(parts) == 3 else b"", max_bytes=MAX_LOGOUT_TOKEN)
    except NotStrictJson:
        return None
    issuer, audience, subject = claims.get("iss"), claims.get("aud"), claims.get("sub")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if not isinstance(issuer, str) or not isinstance(audience, str) or not isinstance(subject, str | None):
        return None
    return _Claimed(issuer, audience, subject)
