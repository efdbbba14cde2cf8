"""What every visit shares: the router, the gate, who is connected, and where numbers and lines go."""

import asyncio
import ipaddress
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from tunnelctl.http1.head import RequestHead
from tunnelrelay.address import PublicAddress
from tunnelrelay.ingress import toolarge
from tunnelrelay.ingress.gate import Gate
from tunnelrelay.ingress.handover import Handover
from tunnelrelay.ingress.inside import Inside
from tunnelrelay.ingress.request import VISITOR_GONE, Request
from tunnelrelay.ingress.route import Routed, Router
from tunnelrelay.ingress.seams import Visitor
from tunnelrelay.model import Peer, Reply
from tunnelrelay.observe.access import AccessLog
from tunnelrelay.observe.audit import NO_AUDIT, Audit
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.pages.catalogue import chosen, speaking
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.pages.page import error_reply
from tunnelrelay.policy.classify import wants_html
from tunnelrelay.registry.memory import Registry

NO_DEADLINE = float("inf")
MAX_VISITORS = 20_000
"""Connections at once. Each costs about 10 KB while idle; the limit keeps a flood from taking the machine with it."""
MAX_NAMES = 4096
"""Hosts whose spelling as bytes is remembered."""
MAX_FORGED = 5
"""Names of forged fields told in one audit event."""
SWEEP_SECONDS = 0.5
"""How often deadlines are looked at: one timer for all is cheaper than one for each request."""

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class AcceptsAgents(Protocol):
    """What the ingress needs of `agents.accept.Acceptor`."""

    async def accept(self, visit: Visitor, head: RequestHead, block: bytes, ahead: bytes) -> None:
        """Shake hands, or answer with a refusal."""


class Ingress:
    """See the module."""

    def __init__(
        self,
        *,
        address: PublicAddress,
        registry: Registry,
        router: Router,
        gate: Gate,
        inside: Inside,
        acceptor: AcceptsAgents,
        handover: Handover,
        access: AccessLog,
        metrics: Metrics,
        hold_seconds: float,
        idle_seconds: float,
        trusted: tuple[IPNetwork, ...] = (),
        audit: Audit = NO_AUDIT,
    ) -> None:
        self.address = address
        self.registry = registry
        self.gate = gate
        self.inside = inside
        self.handover = handover
        self.access = access
        self.metrics = metrics
        self.hold_seconds = hold_seconds
        self.idle_seconds = idle_seconds
        self.trusted = trusted
        self.audit = audit
        self.forged: list[bytes] = []
        self._router = router
        self._acceptor = acceptor
        self._visits: set[Visitor] = set()
        self._public_names: dict[str, tuple[bytes, bytes]] = {}
        self._opaque: dict[bytes, set[Visitor]] = {}
        self._prefix = secrets.token_hex(4)
        self._requests = 0
        loop = asyncio.get_running_loop()
        self.now: Callable[[], float] = loop.time
        self.call_soon = loop.call_soon
        self.call_later = loop.call_later
        self.is_draining = False

    # For visits

    def enter(self, visit: Visitor) -> bool:
        """Count a connection in; False when there are too many."""
        if len(self._visits) >= MAX_VISITORS:
            return False
        self._visits.add(visit)
        return True

    def leave(self, visit: Visitor) -> None:
        """Count it out."""
        self._visits.discard(visit)
        session = visit.request.session
        if session is not None and session.id_digest in self._opaque:
            self._opaque[session.id_digest].discard(visit)
            if not self._opaque[session.id_digest]:
                del self._opaque[session.id_digest]

    def upgraded(self, visit: Visitor) -> None:
        """A connection outlives its request: it ends with the session it was opened under."""
        session = visit.request.session
        if session is not None:
            self._opaque.setdefault(session.id_digest, set()).add(visit)

    def session_ended(self, id_digest: bytes) -> None:
        """Close what was opened under a session that is over."""
        for visit in list(self._opaque.get(id_digest, ())):
            visit.transport.abort()
        for visit in self._visits:
            session = visit.request.session
            if session is not None and session.id_digest == id_digest and not visit.is_idle:
                visit.request.head.keep_alive = False

    def route(self, head: RequestHead, *, sni: str | None, is_secure: bool) -> Routed:
        """See `Router.route`."""
        return self._router.route(head, sni=sni, is_secure=is_secure)

    def accept(self, visit: Visitor, block: bytes, ahead: bytes) -> Coroutine[Any, Any, None]:
        """An agent asks for a link."""
        return self._acceptor.accept(visit, visit.request.head, block, ahead)

    def error(self, code: str, visit: Visitor, *, detail: str = "") -> Reply:
        """An error as this visitor can read it."""
        request = visit.request
        with speaking(chosen(request.head.get(b"accept-language"))):
            return error_reply(
                code,
                request_id=visit.request_id,
                host=request.host,
                wants_html=wants_html(request.head),
                detail=detail,
            )

    def too_large(self, visit: Visitor) -> Reply:
        """The answer to a head that was read in part."""
        request = visit.request
        host = self.address.canonical_host(request.head.host) or ""
        request.host = host if visit.sni in (None, host) else ""
        origin = self.address.url(host).encode()
        with speaking(chosen(request.head.get(b"accept-language"))):
            return toolarge.answer(request.head, host=request.host, origin=origin, request_id=visit.request_id)

    def public_name(self, host: str) -> tuple[bytes, bytes]:
        """An endpoint's host and origin as bytes, remembered."""
        names = self._public_names
        if host not in names:
            if len(names) >= MAX_NAMES:
                names.clear()
            names[host] = host.encode(), self.address.url(host).encode()
        return names[host]

    def note_forged(self, visit: Visitor) -> None:
        """A visitor sent fields that only the relay may set; `forged` has their names. They went no further."""
        names = b" ".join(self.forged[:MAX_FORGED]).decode("latin-1")
        self.forged.clear()
        host = visit.request.host
        self.audit.record("headers.stripped", host=host, peer=visit.peer.host, request_id=visit.request_id, names=names)

    def note_smuggling(self, request: Request, peer: Peer, reason: str) -> None:
        """A request was refused because another server might read it differently."""
        name = self.request_id(request.number)
        self.audit.record("smuggling.refused", reason=reason, host=request.host, peer=peer.host, request_id=name)

    def new_request(self) -> Request:
        """One more request."""
        self._requests += 1
        return Request(self._requests, self.now())

    def account(self, request: Request, peer: Peer, error: str) -> None:
        """A request is over: count it and log it."""
        seconds = self.now() - request.started
        metrics = self.metrics
        metrics.exchange(request.status or VISITOR_GONE, seconds, request.bytes_in, request.bytes_out)
        source = ""
        if error in ERRORS:
            metrics.error(error)
            source = ERRORS[error].source
        request_id = self.request_id(request.number)
        self.access.add(request.record(request_id=request_id, peer=peer, seconds=seconds, error=error, source=source))

    def forwarded_block(self, peer: Peer, host: bytes) -> bytes:
        """The forwarding fields that tell the upstream who asks, and under which address."""
        scheme = self.address.scheme.encode()
        lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n"
        return lines % (peer.host.encode(), scheme, host)

    def request_id(self, number: int) -> str:
        """A request's name, unique over restarts."""
        return f"{self._prefix}-{number:x}"

    def server_name(self, ssl_object: object) -> str | None:
        """The name a TLS client asked for."""
        name = getattr(ssl_object, "server_name_asked", None)
        return name.lower().removesuffix(".") if isinstance(name, str) else None

    def peer_of(self, peer: Peer, head: RequestHead) -> Peer:
        """The visitor behind trusted proxies: the last forwarded address that is not one of them."""
        if not self._trusts(peer.host):
            return peer
        hops = b",".join(head.get_all(b"x-forwarded-for")).split(b",")
        for hop in reversed(hops):
            text = hop.strip().decode("latin-1").strip("[]")
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                return peer
            host = str(getattr(address, "ipv4_mapped", None) or address)
            if not self._trusts(host):
                return Peer(host, 0)
        return peer

    # For the relay

    @property
    def visitor_count(self) -> int:
        """Connections open now."""
        return len(self._visits)

    @property
    def is_busy(self) -> bool:
        """Whether any request is under way."""
        return any(not visit.is_idle for visit in self._visits)

    def sweep(self) -> None:
        """End what has waited too long, and what was opened under a session that has run out."""
        now = self.now()
        for visit in [visit for visit in self._visits if visit.deadline < now]:
            visit.time_out()
        for visit in [visit for visits in self._opaque.values() for visit in visits]:
            session = visit.request.session
            endpoint = visit.request.endpoint
            if session is not None and self.gate.is_over(session, endpoint.policy if endpoint is not None else None):
                visit.transport.abort()

    def drain(self) -> None:
        """Close idle connections, and the others after their response."""
        self.is_draining = True
        for visit in list(self._visits):
            visit.drain()

    def close(self) -> None:
        """Close every connection now."""
        for visit in list(self._visits):
            visit.deadline = NO_DEADLINE
            visit.transport.abort()

    def _trusts(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.trusted)
