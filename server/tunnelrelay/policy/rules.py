"""The compiled policy of an endpoint, as values: access rules and header changes.

compile.py creates a `Policy` from settings, verdict.py decides about requests by it, and headers.py applies its header
changes. No code here reads a request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Literal

from tunnelctl.policy.values import is_email
from tunnelctl.secret import Secret
from tunnelrelay.policy.exemptions import Exemptions
from tunnelrelay.policy.networks import Networks
from tunnelrelay.policy.own_address import OwnAddress
from tunnelrelay.policy.rate_limit import RateLimit

Claims = Mapping[str, object]

NO_NETWORKS = Networks()
"""An empty set of networks, which means that there is no rule about networks."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A visitor signed in but may not enter. The value is false, so that `if rules.admits(...)` cannot fail open.

    Attributes:
        reason: Kind of rule that did not match, for log and page: `email_unverified`, `email`, `group`, `claim`.
    """

    reason: str

    def __bool__(self) -> Literal[False]:
        """Return False, so that a refusal never counts as permission."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Rules about which of a provider's users may enter. Without any rule, all may.

    One match within a kind is enough (e-mail addresses and domains are one kind), but every kind in use must match, so
    that adding a kind of rule can only reduce who may enter.

    Attributes:
        emails: E-mail addresses in lower case.
        domains: E-mail domains in lower case; `a@sub.acme.com` does not match `acme.com`.
        groups: Group names, compared exactly with the strings of the `groups` claim.
        claims: (name, value) pairs; a claim that is a list matches if it contains the value.
    """

    emails: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    claims: frozenset[tuple[str, str]] = frozenset()

    def admits(self, claims: Claims) -> Literal[True] | Refusal:
        """Return whether a user with these verified claims may enter."""
        if self.emails or self.domains:
            email = verified_email(claims)
            if not email:
                return Refusal("email_unverified")
            if email not in self.emails and email.rpartition("@")[2] not in self.domains:
                return Refusal("email")
        if self.groups and self.groups.isdisjoint(groups_of(claims)):
            return Refusal("group")
        if self.claims and not any(value in claim_texts(claims.get(name)) for name, value in self.claims):
            return Refusal("claim")
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An owner's client at an OpenID provider, with all settings of the login.

    Attributes:
        id: Stays the same across restarts and differs for every owner, issuer and client; 26 characters of lower-case
            base32.
        issuer: Issuer as the owner wrote it; the provider's metadata may differ by one trailing slash.
        scopes: Scopes to request, `openid` first.
        idle_seconds: Seconds without use after which a session ends.
        max_seconds: Maximum age of a session in seconds.
        epoch: Changes with issuer, client, secret, scopes, or requirements on the login; sessions with another epoch
            end.
        rules_version: Changes with the rules; the claims of sessions with another version are checked again.
        recheck_seconds: Seconds between checks of a session at the provider; 0 for never.
        on_recheck_error: What to do when the check fails: `keep`, `login` or `502`.
        groups_claim: Name of the claim that lists groups; dots lead into nested objects.
        email_verified: When an e-mail address counts as verified: `claim`, `text` or `assumed`; see `OidcSpec`.
        request_params: Parameters added to the authorization request, apart from the relay's own.
        required_acr: Allowed values of `acr` of a login; empty for any.
        max_age: Maximum seconds since the visitor signed in at the provider (`auth_time`); None for any time.
        callback: Kind of callback: `relay`, `shared` or `host`; see `OidcSpec`.
        bearer: Audiences of access tokens that are accepted instead of a login; empty for none.
        owner: Owner of the connection, for limits per owner.
        provider: Id of the named provider; "" for an owner's own provider.
    """

    id: str
    issuer: str
    client_id: str
    client_secret: Secret
    scopes: tuple[str, ...]
    rules: Rules
    idle_seconds: int
    max_seconds: int
    epoch: str
    rules_version: str
    recheck_seconds: int = 900
    on_recheck_error: str = "keep"
    groups_claim: str = "groups"
    email_verified: str = "claim"
    request_params: tuple[tuple[str, str], ...] = ()
    required_acr: frozenset[str] = frozenset()
    max_age: int | None = None
    callback: str = "relay"
    bearer: frozenset[str] = frozenset()
    owner: str = ""
    provider: str = ""

    @property
    def share(self) -> str:
        """Key under which limits count this connection: owners that use one named provider share its id, but not its
        limits.
        """
        return f"{self.id} {self.owner}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """An issuer whose JWTs are accepted from programs instead of a login.

    Attributes:
        connection: Connection whose provider has the keys: the login's own, or one without a client.
        audiences: Accepted audiences of tokens.
        claims: (name, values) pairs. For every name, one value must match. Empty for the login's own issuer, whose
            tokens are checked by the rules for users.
    """

    connection: Connection
    audiences: frozenset[str]
    claims: tuple[tuple[str, frozenset[str]], ...] = ()

    @property
    def is_of_login(self) -> bool:
        """Whether users sign in at this issuer too."""
        return bool(self.connection.client_id)


@dataclass(frozen=True, slots=True)
class Bearer:
    """The rules about which tokens give access to an endpoint without a login.

    Attributes:
        version: Changes with every setting that decides about tokens; results cached under another version are invalid.
        run_token_sha256: SHA-256 of the token that the endpoint's agent has made for its own run; b"" for none. The
            token's holder enters, and only the rules about networks apply.
    """

    issuers: tuple[TokenIssuer, ...]
    version: str
    run_token_sha256: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Edit:
    """An owner's changes to the header fields of requests or responses.

    Attributes:
        remove: Names of fields to remove, in lower case with `_` as `-`. Removal precedes adding.
        add: Complete field lines to add, each with its CRLF.
        adds: The names in `add`, in the form of `remove`.
    """

    remove: frozenset[bytes] = frozenset()
    add: bytes = field(default=b"", repr=False)
    adds: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All rules of an endpoint, compiled.

    Attributes:
        cidr_allow: Networks that visitors may come from; empty for all.
        cidr_deny: Networks that visitors may not come from; wins over `cidr_allow`.
        basic: Keyed digests of `user:password`; any match gives access.
        basic_key: Key of the digests in `basic`.
        connection: OpenID connection for the login; None for no login.
        bearer: Rules about tokens that are accepted instead of a login; None for none.
        origins: Other origins whose pages may use a visitor's login here, as browsers write them.
        exemptions: Requests that pass without the login; None for none.
        rate_limit: Rate limit of each visitor; None for no limit.
        host_header: Host to send to the upstream; None for the visitor's.
        own: Address that the upstream believes to be its own; None if `host_header` is None. Not compared: tunnels that
            share an endpoint may have different ports.
        words: Description of who may enter, for display. Not compared.
        size: Bytes of the settings as JSON. Not compared.
        refusal: Error code for visitors whom `cidr_deny` and `cidr_allow` refuse.
        is_open: There are no rules to check or requests to count: every request may pass.
        vary: Complete `Vary` line with the fields that responses depend on, so that no cache gives one visitor's
            response to another. b"" when all visitors get equal responses.
    """

    cidr_allow: Networks = NO_NETWORKS
    cidr_deny: Networks = NO_NETWORKS
    basic: frozenset[bytes] = field(default=frozenset(), repr=False)
    basic_key: bytes = field(default=b"", repr=False)
    connection: Connection | None = None
    bearer: Bearer | None = None
    origins: frozenset[bytes] = frozenset()
    exemptions: Exemptions | None = None
    rate_limit: RateLimit | None = None
    host_header: bytes | None = None
    own: OwnAddress | None = field(default=None, compare=False)
    request_edit: Edit = Edit()
    response_edit: Edit = Edit()
    words: str = field(default="", compare=False)
    size: int = field(default=0, compare=False)
    refusal: str = "network_denied"
    is_open: bool = field(init=False)
    vary: bytes = field(init=False)

    def __post_init__(self) -> None:
        guards = self.cidr_allow or self.cidr_deny or self.basic or self.connection or self.bearer or self.rate_limit
        object.__setattr__(self, "is_open", not guards)
        names = [b"Cookie"] * (self.connection is not None) + [b"Authorization"] * (self.bearer is not None)
        object.__setattr__(self, "vary", b"Vary: %b\r\n" % b", ".join(names) if names else b"")

    @property
    def access(self) -> tuple[object, ...]:
        """The rules about who may visit, apart from the provider of the login.

        Different rules have a different `repr`.
        """
        return (
            self.cidr_allow,
            self.cidr_deny,
            sorted(self.basic),
            self.connection.rules_version if self.connection is not None else "",
            self.bearer.version if self.bearer is not None else "",
            sorted(self.origins),
            self.exemptions,
            self.rate_limit,
        )

    @property
    def asks_for_tokens(self) -> bool:
        """Whether tokens of an issuer give access. The token of the agent's own run alone does not count."""
        return self.bearer is not None and bool(self.bearer.issuers)

    def providers(self) -> tuple[Connection, ...]:
        """Return the connections whose providers the relay must be able to call."""
        of_people = (self.connection,) if self.connection is not None else ()
        issuers = self.bearer.issuers if self.bearer is not None else ()
        return (*of_people, *(issuer.connection for issuer in issuers if not issuer.is_of_login))


CLOSED = Policy(
    cidr_deny=Networks((ip_network("0.0.0.0/0"), ip_network("::/0"))), words="nobody", refusal="endpoint_closed"
)
"""Replaces rules that cannot be compiled at the moment: every visitor is refused."""


def verified_email(claims: Claims) -> str:
    """Return the verified e-mail address in the claims, in lower case; "" when there is none.

    `email_verified` must be JSON true: providers that let users enter any address in their profile leave it out or set
    it to false ("nOAuth", Microsoft Entra ID and others, 2023).
    """
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return ""
    return email.lower() if is_email(email) else ""


def groups_of(claims: Claims) -> tuple[str, ...]:
    """Return the groups in the claims; none if the list contains anything but strings, or is only referenced."""
    groups = claims.get("groups")
    if isinstance(groups, str):
        return (groups,)
    if isinstance(groups, list | tuple) and all(isinstance(group, str) for group in groups):
        return tuple(groups)
    return ()


def claim_texts(claim: object) -> tuple[str, ...]:
    """Return the texts that a claim rule may match: booleans as in JSON, nothing for objects and null."""
    match claim:
        case bool():
            return ("true" if claim else "false",)
        case str():
            return (claim,)
        case int():
            return (str(claim),)
        case list() | tuple():
            return tuple(text for item in claim if not isinstance(item, list | tuple) for text in claim_texts(item))
        case _:
            return ()
