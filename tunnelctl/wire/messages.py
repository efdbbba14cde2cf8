"""The control messages between agent and relay, sent as JSON in CONTROL frames.

The structs here define only the fields; which side sends a message, and when, is in docs/reference/wire-protocol.md. A
receiver skips unknown fields, so that different versions work together. `PolicySpec` and the structs in it are the
exception: they refuse unknown fields, because a relay must never ignore a restriction that it does not know.
`read_message` makes an `UnknownSettings` of such a bind, so that the relay can refuse that one tunnel.

Fields with their default value are not sent, so that an older peer refuses a new setting only where it is used. A
default must therefore never change: the receiver fills a missing field with its own default.
"""

from collections.abc import Iterator
from typing import Final, Literal, get_args

import msgspec

from tunnelctl.wire.problem import MAX_PROBLEMS, Problem

PROTOCOL_VERSION = 1
SUBPROTOCOL = "tunnel.v1"


class Hello(msgspec.Struct, tag="hello", frozen=True, kw_only=True):
    """The agent's first message.

    Attributes:
        agent: Instance id of the agent process, 32 hex digits; it stays the same across reconnects.
        version: The agent's release, for display only.
        platform: Operating system and machine, for display only.
        max_streams: Streams that the agent serves at once on this link.
    """

    agent: str
    version: str
    platform: str = ""
    protocol: int = PROTOCOL_VERSION
    max_streams: int = 1024


class Welcome(msgspec.Struct, tag="welcome", frozen=True, kw_only=True):
    """The relay's answer to `Hello`.

    Attributes:
        owner: Name of the owner of the credential.
        domain: The domain under which endpoints get their names, without scheme or port.
        heartbeat_seconds: How often each side sends a PING.
        max_streams: Maximum number of streams that the relay opens on this link.
    """

    version: str
    owner: str
    domain: str
    heartbeat_seconds: float
    max_streams: int
    protocol: int = PROTOCOL_VERSION


class OidcSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """OpenID Connect login for an endpoint: the provider, and which of its users may enter. Without rules, all may.

    `policy/fields.py` describes each setting. Claims and parameters are (name, value) pairs.
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
        """Leave out the client secret, which would end up in logs and tracebacks."""
        return f"OidcSpec(issuer={self.issuer!r}, client_id={self.client_id!r})"


class JwtSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An issuer whose JWTs are accepted from programs instead of a login.

    Attributes:
        claims: (name, value) pairs. For every name, the token's claim must equal one of the values given for it.
    """

    issuer: str
    audience: str
    claims: tuple[tuple[str, str], ...] = ()


class HeaderEdit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Headers to add, as (name, value) pairs, and names of headers to remove."""

    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Leave out all header values, because any of them may be a secret."""
        return f"HeaderEdit(add={[name for name, _ in self.add]!r}, remove={list(self.remove)!r})"


class RateLimitSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many requests one visitor may send.

    Attributes:
        limit: A rate such as `100/1m:20`, in the format of `policy/rate.py`.
        by: `visitor` counts signed-in visitors and bearers of tokens by identity, and all others by address; `address`
            counts all by address.
    """

    limit: str
    by: str = "visitor"


MIN_PASSWORD = 8
"""Minimum length of a visitor's password in characters. With the relay's limit on wrong passwords per address, trying
all 26**8 passwords is not practical."""


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The access rules that an agent asks the relay to enforce on its endpoint.

    Attributes:
        basic_auth: `user:password` pairs, any of which grants access; a password has at least `MIN_PASSWORD`
            characters.
        cidr_allow: Networks visitors may come from; empty means from anywhere.
        cidr_deny: Networks visitors may not come from; wins over `cidr_allow`.
        host_header: The Host that the upstream receives. None keeps the visitor's, `rewrite` uses the upstream's own,
            any other text is sent as it is.
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
        """Leave out the passwords."""
        return f"PolicySpec(oidc={self.oidc!r}, basic_auth={len(self.basic_auth)} pairs)"


class Bind(msgspec.Struct, tag="bind", frozen=True, kw_only=True):
    """The agent's request to serve an endpoint.

    Attributes:
        tunnel: Number of this tunnel within the link, 1 to 65535, chosen by the agent. OPEN frames carry it.
        name: The agent's name for the tunnel, for display and for the agent's local API.
        subdomain: Label under the relay's domain; None lets the relay choose one.
        host: A full host name instead of `subdomain`; at most one of the two is set.
        upstream: URL of the local service, for display and for `host_header: rewrite`.
        pooling: Share the endpoint with other agents of the same owner that serve the same name.
        weight: Share of a pooled endpoint's requests, relative to the weights of its other agents; 1 to 100.
        metadata: Free text of the owner, returned by the relay's API.
        inspect: Send the agent an ABOUT frame about the visitor of each request. Relays of earlier releases do not.
        run_token_sha256: SHA-256, in hex, of a bearer token that lets its holder in without a login until the tunnel
            ends; "" for none. The agent keeps the token itself. Relays of earlier releases ignore this, and do not
            confirm it in `Bound`.
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
    inspect: bool = False
    run_token_sha256: str = ""


class Join(msgspec.Struct, tag="join", frozen=True, kw_only=True):
    """The agent's request to serve edges (endpoints configured at the relay), chosen by labels.

    The relay keeps their rules.

    This is a separate message and not a field of `Bind`, so that a relay that does not know it publishes no endpoint.

    Attributes:
        labels: (name, value) pairs of the tunnel. It serves each edge whose tunnel group requires only labels among
            them.
        edge: Id, host or name under the relay's domain of a single edge, instead of labels; "" with labels.
        tunnel, name, upstream, weight, metadata, inspect: As in `Bind`.
    """

    tunnel: int
    name: str
    upstream: str
    labels: tuple[tuple[str, str], ...] = ()
    edge: str = ""
    weight: int = 1
    metadata: str = ""
    inspect: bool = False


class Bound(msgspec.Struct, tag="bound", frozen=True, kw_only=True):
    """The relay's confirmation that it serves the tunnel from now on.

    Attributes:
        url: Public address of the endpoint, without a path.
        host: Host name of `url` without a port. The agent requests it again when it reconnects.
        redirect_uri: OpenID Connect redirect URI to register at the provider; None without `oidc`.
        generation: Counter that grows each time an agent claims this name.
        id: The tunnel's id in the relay's API.
        urls: Addresses of the edges that the tunnel serves now, after `Join`; `url` and `host` are those of the first
            one, or "" while there is none.
        run_token_accepted: The endpoint accepts the `run_token_sha256` of the bind.
    """

    tunnel: int
    url: str
    host: str
    generation: int
    redirect_uri: str | None = None
    id: str = ""
    urls: tuple[str, ...] = ()
    run_token_accepted: bool = False


class Refused(msgspec.Struct, tag="refused", frozen=True, kw_only=True):
    """The relay's refusal to serve a tunnel.

    Attributes:
        code: One of `name_taken`, `name_invalid`, `policy_invalid`, `too_many`, `not_allowed`, `edge_unknown`, or
            `try_later`, with which the same request may succeed in a moment.
        message: Description of the error, for display.
        hint: What the user can do about the error.
        problems: The mistakes of `message` by setting, if it is about settings; empty from relays of earlier releases.
    """

    tunnel: int
    code: str
    message: str
    hint: str = ""
    problems: tuple[Problem, ...] = ()


class Unbind(msgspec.Struct, tag="unbind", frozen=True, kw_only=True):
    """The agent's notice that it stops serving this tunnel on purpose."""

    tunnel: int


class AppState(msgspec.Struct, tag="app_state", frozen=True, kw_only=True):
    """The agent's notice that its local service began or ceased to accept connections.

    Attributes:
        reason: Why the service does not accept connections, for display; "" when it does.
    """

    tunnel: int
    reason: str = ""


class Superseded(msgspec.Struct, tag="superseded", frozen=True, kw_only=True):
    """The relay's notice that another agent of the same owner took over the name.

    The receiving agent gives the name up.

    Attributes:
        by: Address from which the other agent connects.
        at: Time of the takeover, RFC 3339 in UTC.
    """

    tunnel: int
    by: str
    at: str


Message = Hello | Welcome | Bind | Join | Bound | Refused | Unbind | AppState | Superseded


class UnknownSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A received bind whose policy has settings that this release does not know. Never sent.

    Attributes:
        tunnel: As in `Bind`.
        settings: Names of these settings, with dots: `oidc.mutual_tls`. At most `MAX_PROBLEMS` of them, each cut to
            `MAX_SETTING` characters.
    """

    tunnel: int
    settings: tuple[str, ...]


ReceivedMessage = Message | UnknownSettings
"""The messages that the user of a session receives."""

MAX_SETTING: Final = 80
"""Maximum characters of the name of an unknown setting."""


class _BindHead(msgspec.Struct):
    type: Literal["bind"]
    tunnel: int
    policy: msgspec.Raw


_decode: Final = msgspec.json.Decoder[Message](Message).decode
_decode_bind_head: Final = msgspec.json.Decoder(_BindHead).decode


def read_message(payload: bytes) -> ReceivedMessage:
    """Decode the payload of a CONTROL frame.

    Raises:
        msgspec.ValidationError: The payload is JSON, but not a message of this release.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: The payload is not JSON, or is JSON that cannot be
            read.
    """
    try:
        message: ReceivedMessage = _decode(payload)
    except msgspec.ValidationError:
        unknown = _unknown_settings(payload)
        if unknown is None:
            raise
        message = unknown
    return message


def _unknown_settings(payload: bytes) -> UnknownSettings | None:
    """Return the settings in a bind's policy that this release does not know; None when there are none, or for another
    message.
    """
    try:
        head = _decode_bind_head(payload)
    except msgspec.ValidationError:
        return None
    names = dict.fromkeys(_unknown_in(msgspec.json.decode(head.policy), PolicySpec))
    settings = tuple(name.encode("ascii", "backslashreplace").decode()[:MAX_SETTING] for name in names)[:MAX_PROBLEMS]
    return UnknownSettings(tunnel=head.tunnel, settings=settings) if settings else None


def _unknown_in(settings: object, spec: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """Yield the names of the settings that `spec` and the structs in it do not have."""
    if not isinstance(settings, dict):
        return
    types = {field.name: field.type for field in msgspec.structs.fields(spec)}
    for name, value in settings.items():
        if name not in types:
            yield prefix + name
            continue
        for inner in (types[name], *get_args(types[name])):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                for each in value if isinstance(value, list) else [value]:
                    yield from _unknown_in(each, inner, f"{prefix}{name}.")
