"""What is known of one request while it is under way, and what the access log keeps of it."""

import time

from tunnelctl.http1.head import RequestHead
from tunnelrelay.model import Peer
from tunnelrelay.observe.access import ExchangeRecord
from tunnelrelay.oidc.sessions.access_tokens import Program
from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.endpoint import Endpoint
from tunnelrelay.registry.tunnel import Tunnel

VISITOR_GONE = 499
"""Logged (never sent) for a visitor who left before any answer; nginx's number, which log tools know."""
NO_HEAD = RequestHead()


class Request:
    """One request.

    Attributes:
        number: Of this process; the request's id is made of it when it is asked for.
        started: Loop time of the head's last byte.
        started_at: The same as Unix time.
        head: Empty when it was refused before it was read.
        host: Canonical, "" before it is known.
        endpoint: None for the relay's own pages.
        session: Whom the gate found.
        status: Sent so far, 0 while nothing was.
        tries: How often it waited for a tunnel.
        tunnel: Who was given it last.
        policy: What it was let in by.
        tried: Tunnels that could not take it.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "endpoint",
        "head",
        "host",
        "number",
        "policy",
        "session",
        "started",
        "started_at",
        "status",
        "tried",
        "tries",
        "tunnel",
    )  # fmt: skip

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        self.started = now
        self.started_at = time.time()
        self.head = NO_HEAD
        self.host = ""
        self.endpoint: Endpoint | None = None
        self.session: VisitorSession | Program | None = None
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.tries = 0
        self.tunnel: Tunnel | None = None
        self.policy: Policy | None = None
        self.tried: tuple[Tunnel, ...] = ()

    def record(self, *, request_id: str, peer: Peer, seconds: float, error: str, source: str) -> ExchangeRecord:
        """The line for the access log."""
        head, endpoint = self.head, self.endpoint
        identity = self.session.identity if self.session is not None else None
        return ExchangeRecord(
            at=self.started_at,
            request_id=request_id,
            peer=peer.host,
            method=head.method.decode(),
            host=self.host,
            path=head.target.decode(),
            status=self.status or VISITOR_GONE,
            seconds=seconds,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            error=error,
            source=source,
            user=identity.subject if identity is not None else "",
            email=identity.email if identity is not None else "",
            agent=self.tunnel.label if self.tunnel is not None else endpoint.label if endpoint is not None else "",
            upgrade=head.upgrade.decode(),
        )
