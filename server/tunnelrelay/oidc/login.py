"""A login from the first redirect to the session. START HERE, then `finish.py`.

    endpoint's host              callback host                 provider
    start   ---- 303, state, cookie ---------------------------> signs the visitor in
                                 callback <---- code, state ---- 303
    finish  <--- 303, hand-off --
      cookie matches? used before? redeem the code, check the ID token, judge the rules
    303 to where the visitor wanted to go, with the session cookie

The callback host needs no cookie and never sees a token: the code is redeemed only after the browser has shown the
cookie of the very login it started. Nothing is stored before that, so a flood of visitors costs no memory.
"""

import logging
import secrets
from collections.abc import Callable, Iterable

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from tunnelctl.http1.head import RequestHead
from tunnelctl.oidc.authorize import authorization_url
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.metadata import Metadata
from tunnelrelay.address import PublicAddress
from tunnelrelay.model import Field, Peer, Reply
from tunnelrelay.oidc.answer import Endpoints, read_answer
from tunnelrelay.oidc.blobs import CALLBACK_AUDIENCE, LOGIN_SECONDS, State, Transaction, open_blob, seal_blob
from tunnelrelay.oidc.cookies import MAX_TRANSACTIONS, CookieJar
from tunnelrelay.oidc.finish import Finisher
from tunnelrelay.oidc.outcomes import provider_failed, redirect
from tunnelrelay.oidc.provider import Providers
from tunnelrelay.oidc.sealed import KeyRing, sha256
from tunnelrelay.oidc.sessions import Sessions
from tunnelrelay.oidc.urls import return_path
from tunnelrelay.pages import login as pages
from tunnelrelay.policy import cookies
from tunnelrelay.policy.rules import Connection
from tunnelrelay.store.base import Store

log = logging.getLogger(__name__)

HANDOFF_PATH = "/_tunnel/oidc/cb"
MAX_CLEARED = 20
"""Stray login cookies removed by one answer; a sibling host may have planted more."""


class Login:
    """Signs visitors in. One per relay."""

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
        self._providers = providers
        self._endpoints = endpoints
        self._clock = clock
        self._jar = CookieJar(address.is_secure)
        self._finisher = Finisher(
            address=address,
            ring=ring,
            sessions=sessions,
            providers=providers,
            store=store,
            endpoints=endpoints,
            clock=clock,
        )

    async def start(self, host: str, connection: Connection, head: RequestHead, request_id: str, peer: Peer) -> Reply:
        """The redirect to the provider. Only for requests that `policy.classify` calls a navigation.

        Nothing of the request but its own target gets into the login, so a visitor cannot add parameters.
        """
        try:
            metadata = await self._providers.metadata(connection)
        except ProviderError as error:
            return provider_failed(error, host, request_id, owner=self._endpoints.owner_of(host))
        now = self._clock()
        transaction = _begin(host, connection, head.target, now)
        blob = seal_blob(self._ring, host, transaction).encode("ascii")
        name = self._jar.transaction_name(transaction.tx)
        fields = self._tidied(head.get_all(b"cookie"), host, now)
        fields.append((b"Set-Cookie", self._jar.set(name, blob, max_age=LOGIN_SECONDS)))
        # Anybody can cause one with every request; the access log has the exchange.
        log.debug("login started: host=%s request=%s peer=%s", host, request_id, peer.host)
        return redirect(self._authorization_url(connection, metadata, transaction), fields)

    async def callback(self, params: Iterable[tuple[str, str]], request_id: str) -> Reply:
        """The provider's answer, sent on to the endpoint's host. Makes no calls and reads no cookies.

        Args:
            params: Query or form parameters in order, duplicates included.
        """
        answer = read_answer(params, ring=self._ring, endpoints=self._endpoints, now=self._clock())
        if isinstance(answer, str):
            log.info("login refused at the callback: request=%s reason=%s", request_id, answer)
            return pages.login_page(answer, request_id=request_id)
        blob = seal_blob(self._ring, answer.host, answer)
        return redirect(f"{self._address.url(answer.host)}{HANDOFF_PATH}?h={blob}")

    async def finish(
        self,
        host: str,
        connection: Connection,
        params: Iterable[tuple[str, str]],
        cookie_values: list[bytes],
        request_id: str,
    ) -> Reply:
        """The end of a login at the endpoint's own host: a session and the way back, or a page that says why not.

        Args:
            cookie_values: The request's Cookie fields, raw.
        """
        return await self._finisher.finish(host, connection, params, cookie_values, request_id)

    def _authorization_url(self, connection: Connection, metadata: Metadata, transaction: Transaction) -> str:
        state = State(
            tx=transaction.tx,
            binding=sha256(transaction.browser_secret),
            connection_id=connection.id,
            epoch=connection.epoch,
            host=transaction.host,
            issuer=metadata.issuer,
            needs_iss=metadata.sends_iss,
            expires_at=transaction.expires_at,
        )
        parameters = {
            "response_type": "code",
            "client_id": connection.client_id,
            "redirect_uri": self._address.redirect_uri(connection.callback, connection.id, transaction.host),
            "scope": " ".join(_scopes(connection, metadata)),
            "state": seal_blob(self._ring, CALLBACK_AUDIENCE, state),
            "nonce": transaction.nonce,
            # PKCE, always S256 (RFC 7636 section 4.2): `plain` would show the verifier to whoever sees this address.
            "code_challenge": create_s256_code_challenge(transaction.verifier),
            "code_challenge_method": "S256",
        }
        return authorization_url(metadata.authorization_endpoint, parameters)

    def _tidied(self, cookie_values: list[bytes], host: str, now: float) -> list[Field]:
        """Set-Cookie fields that remove login cookies which are of no use, and the oldest beyond the limit."""
        found = self._jar.transactions_in(cookie_values)
        opened = [(open_blob(self._ring, Transaction, host, blob, now), name) for name, blob in found]
        stray = [name for transaction, name in opened if transaction is None]
        alive = sorted((transaction.started_at, name) for transaction, name in opened if transaction is not None)
        oldest = [name for _, name in alive[: max(0, len(alive) + 1 - MAX_TRANSACTIONS)]]
        if len(cookies.hits(cookie_values, self._jar.session)) > 1:
            # Two session cookies: one was planted, and none is used. Both go.
            stray.append(self._jar.session)
        return [(b"Set-Cookie", self._jar.clear(name)) for name in [*oldest, *stray][:MAX_CLEARED]]


def _scopes(connection: Connection, metadata: Metadata) -> tuple[str, ...]:
    """What to ask for: a rule about groups needs the claim, which several providers (Okta) give for this scope only."""
    if connection.rules.groups and metadata.offers_groups and "groups" not in connection.scopes:
        return (*connection.scopes, "groups")
    return connection.scopes


def _begin(host: str, connection: Connection, target: bytes, now: float) -> Transaction:
    return Transaction(
        tx=secrets.token_hex(16),
        browser_secret=secrets.token_bytes(32),
        verifier=secrets.token_urlsafe(48),
        nonce=secrets.token_urlsafe(32),
        return_path=return_path(target),
        connection_id=connection.id,
        epoch=connection.epoch,
        host=host,
        started_at=now,
        expires_at=now + LOGIN_SECONDS,
    )
