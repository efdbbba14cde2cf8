"""What the two ends say to each other in CONTROL frames, as JSON.

Structs here are nouns only: who sends which, and when, is told in docs/reference/wire-protocol.md. Unknown fields are
skipped, so that versions can meet, except inside a policy: a restriction the relay does not know must never be lost,
so `PolicySpec` and what it holds refuse unknown fields. They leave out what is as by default, so that a peer of an
earlier release refuses a new setting only where it is used. So a default here never changes: a peer would read what is
left out with its own.
"""

import msgspec

from tunnelctl.wire.problem import Problem

PROTOCOL_VERSION = 1
SUBPROTOCOL = "tunnel.v1"


class Hello(msgspec.Struct, tag="hello", frozen=True, kw_only=True):
    """The agent's first message.

    Attributes:
        agent: Instance id of the agent process, 32 hex digits; the same over all its reconnects.
        version: The agent's release, for people.
        platform: Operating system and machine, for people.
        max_streams: Streams the agent is ready to serve at once on this link.
    """

    agent: str
    version: str
    platform: str = ""
    protocol: int = PROTOCOL_VERSION
    max_streams: int = 1024


class Welcome(msgspec.Struct, tag="welcome", frozen=True, kw_only=True):
    """The relay's answer to `Hello`.

    Attributes:
        owner: Whose the credential is.
        domain: The domain endpoints live under, without scheme or port.
        heartbeat_seconds: How often each side sends a PING.
        max_streams: Streams the relay opens at most on this link.
    """

    version: str
    owner: str
    domain: str
    heartbeat_seconds: float
    max_streams: int
    protocol: int = PROTOCOL_VERSION


class OidcSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who signs visitors in, and who of them is let in. Empty rules let in every user of the provider.

    What each setting does, and what it may be, is in `policy/fields.py`. Claims and parameters are (name, value) pairs.
    """

    issuer: str
    client_id: str
    client_secret: str
    scopes: tuple[str, ...] = ()
    allow_emails: tuple[str, ...] = ()
    allow_domains: tuple[str, ...] = ()
    allow_groups: tuple[str, ...] = ()
    allow_claims: tuple[tuple[str, str], ...] = ()
    idle_seconds: int = 3600
    max_seconds: int = 8 * 3600
    recheck_seconds: int = 900
    on_recheck_error: str = "keep"
    groups_claim: str = "groups"
    email_verified: str = "claim"
    request_params: tuple[tuple[str, str], ...] = ()
    require_acr: tuple[str, ...] = ()
    callback: str = "relay"
    bearer: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    allow_preflight: bool = False
    audience: str = ""
    public_paths: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Never the secret (it would end up in logs and tracebacks)."""
        return f"OidcSpec(issuer={self.issuer!r}, client_id={self.client_id!r})"


class JwtSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An issuer whose JWTs programs may show instead of a login.

    Attributes:
        claims: (name, value) pairs. Every name must match one of its values.
    """

    issuer: str
    audience: str
    claims: tuple[tuple[str, str], ...] = ()


class HeaderEdit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Headers to add (name, value) and to remove (name)."""

    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Never a value: any may be a secret, whatever the field is called."""
        return f"HeaderEdit(add={[name for name, _ in self.add]!r}, remove={list(self.remove)!r})"


class RateLimitSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often one visitor may ask.

    Attributes:
        limit: As `policy/rate.py` reads it: `100/1m:20`.
        by: `visitor` counts who is signed in, or shows a token, by who they are, and all others by address; `address`
            counts everyone by address.
    """

    limit: str
    by: str = "visitor"


MIN_PASSWORD = 8
"""Characters of a visitors' password at least: with the relay's limit on guesses from one address, 26**8 tries take
longer than anybody waits."""


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The rules an agent asks the relay to guard its endpoint with.

    Attributes:
        basic_auth: `user:password` pairs, any of which opens; a password has at least `MIN_PASSWORD` characters.
        cidr_allow: Networks visitors may come from; empty means from anywhere.
        cidr_deny: Networks visitors may not come from; wins over `cidr_allow`.
        host_header: None keeps the visitor's Host, `rewrite` sends the upstream's, anything else is sent as it is.
    """

    oidc: OidcSpec | None = None
    jwt: tuple[JwtSpec, ...] = ()
    basic_auth: tuple[str, ...] = ()
    cidr_allow: tuple[str, ...] = ()
    cidr_deny: tuple[str, ...] = ()
    host_header: str | None = None
    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()
    rate_limit: RateLimitSpec | None = None

    def __repr__(self) -> str:
        """Never the passwords."""
        return f"PolicySpec(oidc={self.oidc!r}, basic_auth={len(self.basic_auth)} pairs)"


class Bind(msgspec.Struct, tag="bind", frozen=True, kw_only=True):
    """The agent offers to serve an endpoint.

    Attributes:
        tunnel: Number of this tunnel within the link, chosen by the agent, 1 to 65535. OPEN frames carry it.
        name: The agent's name for it, for people and for its local API.
        subdomain: Label under the relay's domain; None lets the relay choose.
        host: Whole host name instead; at most one of the two.
        upstream: The local service as a URL, for people and for `host_header: rewrite`.
        pooling: Share the address with other agents of the same owner that have it too.
        weight: How much of a shared address's requests it takes, beside the others' weights; 1 to 100.
        metadata: The owner's own words about it, for the relay's API.
    """

    tunnel: int
    name: str
    upstream: str
    subdomain: str | None = None
    host: str | None = None
    policy: PolicySpec = PolicySpec()
    pooling: bool = False
    weight: int = 1
    metadata: str = ""


class Join(msgspec.Struct, tag="join", frozen=True, kw_only=True):
    """The agent offers to serve the owner's edges that look for these labels; their rules are kept at the relay.

    A message of its own, not a field of `Bind`: a relay that does not know it must not publish the tunnel elsewhere.

    Attributes:
        labels: (name, value) pairs; an edge is joined when every label its tunnel group asks for is among them.
        edge: Id, host or name under the domain of one edge instead; "" with labels.
        tunnel, name, upstream, weight, metadata: As in `Bind`.
    """

    tunnel: int
    name: str
    upstream: str
    labels: tuple[tuple[str, str], ...] = ()
    edge: str = ""
    weight: int = 1
    metadata: str = ""


class Bound(msgspec.Struct, tag="bound", frozen=True, kw_only=True):
    """The endpoint is served from now on.

    Attributes:
        url: The public address, without a path.
        host: Its host name, without a port: what an agent asks for when it comes back.
        redirect_uri: What to register at the OpenID provider; None without `oidc`.
        generation: Grows with every claim of this name.
        id: The tunnel's id in the relay's API.
        urls: Addresses of the edges it serves now, after `Join`; `url` and `host` are the first one's, or "" while
            there is none.
    """

    tunnel: int
    url: str
    host: str
    generation: int
    redirect_uri: str | None = None
    id: str = ""
    urls: tuple[str, ...] = ()


class Refused(msgspec.Struct, tag="refused", frozen=True, kw_only=True):
    """The relay will not serve this tunnel.

    Attributes:
        code: One of `name_taken`, `name_invalid`, `policy_invalid`, `too_many`, `not_allowed`, `edge_unknown`, or
            `try_later`: the same wish may be granted in a moment.
        message: What is wrong, for people.
        hint: What to do about it.
        problems: What `message` says, by setting, where it is about settings; none from relays of earlier releases.
    """

    tunnel: int
    code: str
    message: str
    hint: str = ""
    problems: tuple[Problem, ...] = ()


class Unbind(msgspec.Struct, tag="unbind", frozen=True, kw_only=True):
    """The agent stops serving this tunnel, on purpose."""

    tunnel: int


class AppState(msgspec.Struct, tag="app_state", frozen=True, kw_only=True):
    """The agent saw its local service begin or cease to take connections.

    Attributes:
        reason: Why it does not, for people; "" when it does.
    """

    tunnel: int
    reason: str = ""


class Superseded(msgspec.Struct, tag="superseded", frozen=True, kw_only=True):
    """Another agent of the same owner has taken the name. Terminal for the agent that hears it.

    Attributes:
        by: Where the other agent connects from.
        at: When, RFC 3339 in UTC.
    """

    tunnel: int
    by: str
    at: str


Message = Hello | Welcome | Bind | Join | Bound | Refused | Unbind | AppState | Superseded
