"""Values that all parts of the relay share. No logic here."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

Field = tuple[bytes, bytes]
"""One header field: name as it was sent, value without surrounding white space."""


class Peer(NamedTuple):
    """The far end of a visitor's connection.

    Attributes:
        host: IP address as text; an IPv4-mapped IPv6 address is given as IPv4.
        port: TCP port, 0 when unknown.
    """

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer that the relay writes itself.

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
    """A visitor's proven identity: (issuer, subject). All other fields may change, and are the provider's word.

    Attributes:
        email: Only when the provider says it is verified, else "".
        groups: As the provider listed them.
    """

    issuer: str
    subject: str
    email: str = ""
    name: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An agent's credential. The token itself is shown once and kept only as a digest.

    Attributes:
        id: Public handle, for `token list` and `token revoke`.
        owner: Who the agent acts for.
        created_at: Unix time, seconds.
        last_used_at: Unix time or None.
        revoked_at: Unix time or None while it is good.
        expires_at: Unix time from which on it is no longer good; None for never.
        acl: What it may bind: rules as `bind:demo.tun.example`, `bind:pr-*`, `bind:edge=edghts_…`; empty for
            everything.
        user_id: Who made it in the dashboard or by the API; "" for an operator's command.
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
    """A websocket or other upgrade: its client follows no redirect."""
    PREFETCH = "prefetch"
    """The browser guesses ahead; its user has not asked for it."""
    FRAME = "frame"
    """A page inside another page, where no login may show (clickjacking)."""
    PASSED_ON = "passed on"
    """A page load that another site began and a service worker passes on. No script can say that it is one, but whether
    its frame is not known: it starts no login, but may end one, where another site's redirect always leads."""
    NAVIGATION = "navigation"
    """A person opens a page: the only kind that is sent to a login, if it is a browser (`classify.starts_login`)."""
    FORM = "form"
    """A page is opened by sending something, which would be lost on the way through a login."""
    OTHER = "other"
    """Scripts, images, curl, HEAD: a status they understand, and JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What the ingress has found out about a request to one of the relay's own pages.

    Attributes:
        host: Canonical host that was asked for.
        kind: `endpoint`: the reserved paths of an endpoint's host; `idp`: the callback; `domain`: the bare domain;
            `dashboard` and `api`: those hosts.
        request_kind: How the request was sent, as `policy.classify` tells.
        is_secure: The visitor came over TLS.
        may_start_login: The client is probably a browser.
    """

    host: str
    kind: Literal["endpoint", "idp", "domain", "dashboard", "api"]
    request_kind: RequestKind
    peer: Peer
    is_secure: bool
    request_id: str
    may_start_login: bool = True
