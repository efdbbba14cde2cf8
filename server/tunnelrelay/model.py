"""Values that all parts of the relay share. Contains no logic."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

Field = tuple[bytes, bytes]
"""A header field: name as sent, value without surrounding white space."""


class Peer(NamedTuple):
    """The remote end of a visitor's connection.

    Attributes:
        host: IP address as text; an IPv4-mapped IPv6 address is given as IPv4.
        port: TCP port; 0 when unknown.
    """

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response that the relay itself generates.

    Attributes:
        status: HTTP status.
        fields: Header fields without framing (`Content-Length`, `Connection`, `Date` are added when it is written).
        body: The whole body.
    """

    status: int
    fields: tuple[Field, ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The verified identity of a visitor: issuer and subject.

    All other fields may change and are claims of the provider.

    Attributes:
        email: E-mail address if the provider reports it as verified, else "".
        groups: Groups as the provider listed them.
    """

    issuer: str
    subject: str
    email: str = ""
    name: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An agent's credential. The secret token is shown once and stored only as a digest.

    Attributes:
        id: Public id, for `token list` and `token revoke`.
        owner: Owner that the agent acts for.
        created_at: Unix time, seconds.
        last_used_at: Unix time of the last use; None before it.
        revoked_at: Unix time of the revocation; None while the token is valid.
        expires_at: Unix time at which the token expires; None for never.
        acl: Names that the agent may serve, as rules such as `bind:demo.tun.example`, `bind:pr-*`,
            `bind:edge=edghts_…`; empty for all.
        user_id: User who created the token in the dashboard or by the API; "" for an operator's command.
    """

    id: str
    owner: str
    created_at: float
    last_used_at: float | None = None
    revoked_at: float | None = None
    description: str = ""
    metadata: str = ""
    acl: tuple[str, ...] = ()
    expires_at: float | None = None
    user_id: str = ""


class RequestKind(Enum):
    """The kinds of requests, in the order in which `policy.classify` tests for them."""

    UPGRADE = "upgrade"
    """A websocket or other upgrade, whose client follows no redirects."""
    PREFETCH = "prefetch"
    """A prefetch by the browser, which the user has not asked for."""
    FRAME = "frame"
    """A page inside another page, where no login may be shown (clickjacking)."""
    PASSED_ON = "passed on"
    """A page load that another site started and a service worker forwards. Scripts cannot fake one, but the frame is
    unknown: it cannot start a login, but may end one, as the redirect of another site always leads to it."""
    NAVIGATION = "navigation"
    """A person opens a page. This is the only kind that is sent to a login, if the client is a browser
    (`classify.starts_login`)."""
    FORM = "form"
    """A page is opened by sending a form, whose content would be lost during a login."""
    OTHER = "other"
    """Other requests: by scripts and curl, for images, or with HEAD. Errors are a status code and JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Information from the ingress about a request to one of the relay's own pages.

    Attributes:
        host: Canonical host of the request.
        kind: `endpoint`: the reserved paths of an endpoint's host; `idp`: the callback host; `domain`: the bare domain;
            `dashboard` and `api`: the hosts of these.
        request_kind: Kind of the request, as determined by `policy.classify`.
        is_secure: The visitor uses TLS.
        may_start_login: The client is probably a browser.
    """

    host: str
    kind: Literal["endpoint", "idp", "domain", "dashboard", "api"]
    request_kind: RequestKind
    peer: Peer
    is_secure: bool
    request_id: str
    may_start_login: bool = True
