"""Signing out because the provider says so: over the back channel (a signed token, from server to server), or over the
front channel (a page of ours in a hidden frame of its own). Neither ever signs anybody in.

Anyone can send to the back channel. So a token is examined before any call, only connections count that guard an
endpoint here or have sessions of the person it names, and the calls that it can cause (for keys) have a budget.

A session outlives its tunnel for a while, and its tunnel may be at another relay of the store. Its end must not wait
for the agent, so the session's row has what the check of a token needs: issuer and client id, no secret.
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
"""Characters: what fits a form. A logout token holds a dozen short claims."""
MAX_SID = 512
MAX_AWAY = 20
"""Connections without an endpoint here that one token is checked for. All are of one client at which one person (or
anybody, for a token that names a session only) is signed in; owners who share a client share it with few."""
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
    """The connections of live endpoints."""

    def connections(self) -> Iterable[Connection]:
        """One for each endpoint with a login."""


class ProviderLogout:
    """Ends sessions when a provider says that a person signed out. One per relay."""

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
        """The answer to a logout token (Back-Channel Logout 1.0 section 2.8): 200 with nothing, or 400.

        Args:
            connection_id: From the path; "" where one path serves all.
            params: Of the form, in order, duplicates included.
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
        # Not by the path: the sender must not choose whose limit of events it counts towards.
        for known_id, reason in reasons.items() or [("", "unknown")]:
            self._audit.record(
                "backchannel.refused", reason=reason, connection=known_id, peer=peer, request_id=request_id
            )
        return _REFUSED

    async def leave_frame(self, host: str, connection: Connection, params: Iterable[tuple[str, str]]) -> Reply:
        """The empty page for a provider's hidden frame, once the session it names has ended (Front-Channel Logout 1.0).

        Browsers send no Lax cookie into another site's frame, so the provider's session id identifies the session: only
        the provider, this relay and the visitor's browser have seen it. It can end that one session and nothing more;
        no token is revoked at the provider.
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
        """The connections that a token may be for: those of endpoints here, and those with sessions in the store.

        Args:
            connection_id: The only one that may be; "" for any.
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
        """End the sessions that a token names at one connection. Returns the check that refused it, "" for none."""
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
    """Unchecked claims of a token, used only to find the connection that can check it. `subject` is None without
    one."""

    issuer: str
    audience: str
    subject: str | None


@dataclass(frozen=True, slots=True)
class _Client:
    """A connection that a token may be for, and the connection whose provider's keys check it."""

    connection_id: str
    client_id: str
    provider: Connection


def _away(connection_id: str, claimed: _Claimed) -> _Client:
    """A client for a connection that has no endpoint here, built from the issuer and client id in its session rows."""
    # A cache entry of its own; metadata about clients is not checked.
    return _Client(connection_id, claimed.audience, without_client(f"{connection_id} away", claimed.issuer))


def _criteria_of(connection_id: str, logged_out: LoggedOut) -> SessionCriteria:
    """The sessions to end: those of the provider's session id when the token has one, else all of the subject."""
    return SessionCriteria(
        connection_id=connection_id, sid=sid_key(connection_id, logged_out.sid), subject=logged_out.subject or None
    )


def _claimed(token: str) -> _Claimed | None:
    """The unchecked claims of a token; None when it lacks what every logout token has."""
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
