"""The policy of an endpoint as values: who may come in, and the changes of headers.

A `Policy` is made by compile.py from an agent's settings, judged by verdict.py, and applied to headers by headers.py.
Nothing here reads a request.
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
"""No rule on networks."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A visitor signed in and is not let in. It is false, so that `if rules.admits(...)` cannot fail open.

    Attributes:
        reason: Which kind of rule was not met, for the log and the page: `email_unverified`, `email`, `group`, `claim`.
    """

    reason: str

    def __bool__(self) -> Literal[False]:
        """A refusal never counts as a yes."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Who of a provider's users is let in. Without any rule: all of them.

    Within a kind one match is enough (e-mail addresses and domains are one kind); every kind that is used must match,
    so that adding a kind of rule can only ever narrow who comes in.

    Attributes:
        emails: Whole addresses, lower-case.
        domains: E-mail domains, lower-case; `a@sub.acme.com` does not match `acme.com`.
        groups: Compared exactly with the strings of the `groups` claim.
        claims: (name, value) pairs; a claim that is a list matches when it holds the value.
    """

    emails: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    claims: frozenset[tuple[str, str]] = frozenset()

    def admits(self, claims: Claims) -> Literal[True] | Refusal:
        """Whether the holder of these verified claims may come in."""
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
    """One owner's client at one OpenID provider.

    Attributes:
        id: Stable over restarts, different for every owner, issuer and client; 26 characters of lower-case base32.
        issuer: As the owner wrote it; the provider's metadata may differ by one trailing slash.
        scopes: What to ask for, `openid` first.
        idle_seconds: A session unused for this long is over.
        max_seconds: A session this old is over.
        epoch: Changes with issuer, client, secret, scopes or what a login must be like: sessions of another epoch are
            over.
        rules_version: Changes with the rules: the claims of older sessions are judged again.
        recheck_seconds: The provider is asked again this often; 0 for never.
        on_recheck_error: `keep`, `login` or `502`, when it cannot be asked.
        groups_claim: Which claim lists groups; dots lead into nested objects.
        email_verified: `claim`, `text` or `assumed`; see `OidcSpec`.
        request_params: Added to the authorization request. Never one of ours.
        required_acr: One of these must be the login's `acr`; empty for any.
        max_age: Seconds since the visitor last signed in at the provider (`auth_time`); None for any time.
        callback: `relay`, `shared` or `host`; see `OidcSpec`.
        bearer: Audiences of access tokens that are taken instead of a login; empty for none.
        owner: Its owner, for limits by owner.
        provider: Id of the named provider; "" for an owner's own.
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
        """The key of its limits: owners that name one provider share its id, but not its limits."""
        return f"{self.id} {self.owner}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """An issuer whose JWTs programs may show instead of a login.

    Attributes:
        connection: Where its keys are found: the login's own, or one without a client.
        audiences: A token must be made for one of these.
        claims: (name, values). Of every name one value must match. Tokens of the login's own issuer have none of
            these: they go by the rules for people.
    """

    connection: Connection
    audiences: frozenset[str]
    claims: tuple[tuple[str, frozenset[str]], ...] = ()

    @property
    def is_of_login(self) -> bool:
        """Whether people sign in there too."""
        return bool(self.connection.client_id)


@dataclass(frozen=True, slots=True)
class Bearer:
    """Which tokens open an endpoint without a login.

    Attributes:
        version: Changes with everything that decides about a token; results under another version are dropped.
    """

    issuers: tuple[TokenIssuer, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Edit:
    """The owner's changes to a list of header fields.

    Attributes:
        remove: Names, lower-case with `_` as `-`. Removed before anything is added.
        add: Ready field lines, each with its CRLF.
        adds: The names in `add`, spelt as in `remove`.
    """

    remove: frozenset[bytes] = frozenset()
    add: bytes = field(default=b"", repr=False)
    adds: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that guards one endpoint.

    Attributes:
        cidr_allow: Networks visitors may come from; empty means from anywhere.
        cidr_deny: Wins over `cidr_allow`.
        basic: Keyed digests of `user:password`; one match opens.
        basic_key: Key of those digests.
        connection: Who signs visitors in; None for no login.
        bearer: Whose tokens are taken instead of a login; None for none.
        origins: Other origins whose pages may use a visitor's login here, as browsers write them.
        exemptions: Which requests pass without the login; None for none.
        rate_limit: How often one visitor may ask; None for as often as they like.
        host_header: Host to send to the upstream; None keeps the visitor's.
        own: The address an upstream that gets this Host takes for its own; None with `host_header` None. Not compared:
            tunnels that share an endpoint may have different ports.
        words: Who is let in, for people. Not compared.
        size: Bytes of the settings as JSON. Not compared.
        refusal: Error code for whom `cidr_deny` and `cidr_allow` keep out.
        is_open: Nothing to judge or to count: every request may pass.
        vary: Ready `Vary` line: what the answer depends on, so that nothing between here and the visitor keeps one
            visitor's answer for another. b"" when all visitors get the same.
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
        """What says who may visit, apart from where people sign in. Its `repr` differs where the rules do."""
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

    def providers(self) -> tuple[Connection, ...]:
        """The connections whose providers the relay must be able to call."""
        of_people = (self.connection,) if self.connection is not None else ()
        issuers = self.bearer.issuers if self.bearer is not None else ()
        return (*of_people, *(issuer.connection for issuer in issuers if not issuer.is_of_login))


CLOSED = Policy(
    cidr_deny=Networks((ip_network("0.0.0.0/0"), ip_network("::/0"))), words="nobody", refusal="endpoint_closed"
)
"""Stands in for rules that cannot be compiled at the moment: every visitor is refused."""


def verified_email(claims: Claims) -> str:
    """Returns the e-mail address the provider vouches for, lower-case; "" when there is none.

    `email_verified` must be JSON true: providers that let users type any address into their profile leave it out or
    set it to false ("nOAuth", Microsoft Entra ID and others, 2023).
    """
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return ""
    return email.lower() if is_email(email) else ""


def groups_of(claims: Claims) -> tuple[str, ...]:
    """Returns the groups in the claims. A list with anything but strings in it, or a mere pointer to one, is none."""
    groups = claims.get("groups")
    if isinstance(groups, str):
        return (groups,)
    if isinstance(groups, list | tuple) and all(isinstance(group, str) for group in groups):
        return tuple(groups)
    return ()


def claim_texts(claim: object) -> tuple[str, ...]:
    """Returns the texts a claim rule may match; booleans as JSON writes them, nothing for objects and null."""
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
