"""Begins a login: redirects to the provider, and stores what the login needs later in a cookie.

Nothing is stored at the relay, so a flood of visitors costs no memory. The parameters of the authorization request come
from the endpoint's owner and from this module, never from a visitor's request.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from tunnelctl.eventlog import EventLog
from tunnelctl.oidc.authorize import authorization_url
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.metadata import Metadata
from tunnelrelay.address import PublicAddress
from tunnelrelay.keys.keyring import KeyRing, sha256
from tunnelrelay.model import Field
from tunnelrelay.observe.audit import Audit
from tunnelrelay.oidc.login.callback import Endpoints
from tunnelrelay.oidc.login.cookies import MAX_TRANSACTIONS, CookieJar
from tunnelrelay.oidc.login.limits import LoginLimits
from tunnelrelay.oidc.login.outcomes import LoginEnd, provider_failed, redirect
from tunnelrelay.oidc.login.sealed_state import (
    CALLBACK_AUDIENCE,
    LOGIN_SECONDS,
    State,
    Transaction,
    open_blob,
    seal_blob,
)
from tunnelrelay.oidc.login.visitor_request import VisitorRequest
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.policy import cookies
from tunnelrelay.policy.rules import Connection

log = EventLog(__name__)

MAX_CLEARED = 20
"""Maximum unusable login cookies that one response removes; a sibling host may have set more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginOptions:
    """Options of a single login, beside the owner's settings for every login.

    Attributes:
        return_path: Path to redirect to after the login; a result of `return_path.return_path`.
        prompt: `login` or `select_account` (OpenID Connect Core 3.1.2.1); "" for the owner's setting.
        login_hint: Hint about the account; only a provider that starts a login itself may give one.
        is_repeat: This is the second try, after the provider's first response was too old.
    """

    return_path: str
    prompt: str = ""
    login_hint: str = ""
    is_repeat: bool = False


class Starter:
    """Begins logins at endpoints.

    Args:
        shared_owners: Owners whose connections may use the shared callback on a multi-tenant relay, configured by the
            operator.
    """

    def __init__(
        self,
        *,
        address: PublicAddress,
        ring: KeyRing,
        providers: ProviderClient,
        endpoints: Endpoints,
        clock: Callable[[], float],
        audit: Audit,
        limits: LoginLimits | None,
        shared_owners: frozenset[str],
    ) -> None:
        self._address = address
        self._ring = ring
        self._providers = providers
        self._endpoints = endpoints
        self._clock = clock
        self._audit = audit
        self._limits = limits
        self._shared_owners = shared_owners
        self._jar = CookieJar(address.is_secure)

    async def start(self, request: VisitorRequest, options: LoginOptions, fields: tuple[Field, ...] = ()) -> LoginEnd:
        """Return the redirect to the provider, or an error page.

        Args:
            fields: Further header fields for the response.
        """
        host, connection = request.host, request.connection
        owner = self._endpoints.owner_of(host)
        if self._limits is not None and (refusal := self._limits.refuse(request)) is not None:
            return LoginEnd(refusal, "failed")
        try:
            metadata = await self._providers.metadata(connection)
            self._check_callback(connection, metadata, owner)
        except ProviderError as error:
            self._audit.record("login.error", reason=f"provider_{error.kind}", owner=owner, **request.about())
            return provider_failed(error, request, options.return_path, owner=owner, fields=list(fields))
        now = self._clock()
        transaction = self._transaction(request, options, now)
        cookie = self._jar.set(
            self._jar.transaction_name(transaction.tx),
            seal_blob(self._ring, host, transaction).encode("ascii"),
            max_age=LOGIN_SECONDS,
        )
        self._audit.record("login.start", owner=owner, issuer=metadata.issuer, **request.about())
        # Not audited, as any request can cause one; the access log has the exchange.
        log.debug("login started", host=host, request_id=request.request_id, peer=request.peer.host)
        location = self._authorization_url(connection, metadata, transaction, options)
        tidied = self._tidied(request.cookie_values, host, now)
        return LoginEnd(redirect(location, [*tidied, (b"Set-Cookie", cookie), *fields]), "started")

    def _check_callback(self, connection: Connection, metadata: Metadata, owner: str) -> None:
        """Check whether the connection may use the callback that all owners share. Raises ProviderError when not.

        A provider that names itself in every response is safe from having its codes taken for another's (RFC 9207). A
        client without a secret is refused, as any owner could use it: one who copies its id would receive its users'
        logins.
        """
        if not self._address.is_multi_tenant or self._address.callback_kind(connection.callback) != "shared":
            return
        if not connection.client_secret:
            raise ProviderError("invalid", "a client without a secret cannot use the shared redirect URI")
        if not metadata.sends_iss and owner not in self._shared_owners:
            raise ProviderError(
                "invalid",
                "the provider does not promise `iss` in its answers (RFC 9207), which the shared redirect URI needs; "
                "hint: leave --oidc-callback at `relay`, and register the redirect URI that is printed then",
            )

    def _transaction(self, request: VisitorRequest, options: LoginOptions, now: float) -> Transaction:
        connection, host = request.connection, request.host
        return Transaction(
            tx=secrets.token_hex(16),
            browser_secret=secrets.token_bytes(32),
            redirect_uri=self._address.redirect_uri(connection.callback, connection.id, host),
            connection_id=connection.id,
            epoch=connection.epoch,
            host=host,
            generation=self._endpoints.generation_of(host),
            started_at=now,
            expires_at=now + LOGIN_SECONDS,
            is_repeat=options.is_repeat,
        )

    def _authorization_url(
        self, connection: Connection, metadata: Metadata, transaction: Transaction, options: LoginOptions
    ) -> str:
        state = State(
            tx=transaction.tx,
            binding=sha256(transaction.browser_secret),
            connection_id=connection.id,
            epoch=connection.epoch,
            host=transaction.host,
            issuer=metadata.issuer,
            needs_iss=metadata.sends_iss,
            callback=self._address.callback_kind(connection.callback),
            generation=transaction.generation,
            expires_at=transaction.expires_at,
            return_path=options.return_path,
        )
        parameters = {
            **_request_params(connection, metadata, options),
            # Last, so that a parameter of the owner cannot replace one of ours.
            "response_type": "code",
            "client_id": connection.client_id,
            "redirect_uri": transaction.redirect_uri,
            "scope": " ".join(_scopes(connection, metadata)),
            "state": seal_blob(self._ring, CALLBACK_AUDIENCE, state),
            "nonce": transaction.nonce,
            # PKCE, always S256 (RFC 7636 section 4.2): `plain` would reveal the verifier to anyone who sees this URL.
            "code_challenge": create_s256_code_challenge(transaction.verifier),
            "code_challenge_method": "S256",
        }
        return authorization_url(metadata.authorization_endpoint, parameters)

    def _tidied(self, cookie_values: list[bytes], host: str, now: float) -> list[Field]:
        """Return Set-Cookie fields that remove unusable login cookies, and the oldest ones beyond the limit."""
        found = self._jar.transactions_in(cookie_values)
        opened = [(open_blob(self._ring, Transaction, host, blob, now), name) for name, blob in found]
        stray = [name for transaction, name in opened if transaction is None]
        alive = sorted((transaction.started_at, name) for transaction, name in opened if transaction is not None)
        oldest = [name for _, name in alive[: max(0, len(alive) + 1 - MAX_TRANSACTIONS)]]
        if len(cookies.hits(cookie_values, self._jar.session)) > 1:
            # Of two session cookies one was set by an attacker. Neither is used; delete both.
            stray.append(self._jar.session)
        return [(b"Set-Cookie", self._jar.clear(name)) for name in [*oldest, *stray][:MAX_CLEARED]]


def _request_params(connection: Connection, metadata: Metadata, options: LoginOptions) -> dict[str, str]:
    """Return the owner's parameters, overridden by those of this login."""
    wished = dict(connection.request_params)
    if connection.required_acr:
        wished.setdefault("acr_values", " ".join(sorted(connection.required_acr)))
    if options.login_hint:
        wished["login_hint"] = options.login_hint
    if options.prompt:
        knows_it = not metadata.prompts or options.prompt in metadata.prompts
        # A provider without account selection can at least ask for a new sign-in.
        wished["prompt"] = options.prompt if knows_it else "login"
    return wished


def _scopes(connection: Connection, metadata: Metadata) -> tuple[str, ...]:
    """Return the scopes to request.

    For a rule about groups, `groups` is added if the provider has that scope, as some (Okta) send the claim only then.
    """
    if connection.rules.groups and metadata.offers_groups and "groups" not in connection.scopes:
        return (*connection.scopes, "groups")
    return connection.scopes
