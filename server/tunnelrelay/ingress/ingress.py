"""What all visitors' connections share: router, gate, the set of connections, metrics and access log."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelctl.http1.head import RequestHead
from tunnelrelay.address import OWN_HSTS_SECONDS, PublicAddress
from tunnelrelay.ingress.asgi_bridge import AsgiBridge
from tunnelrelay.ingress.clear_site_data import ClearSiteData
from tunnelrelay.ingress.freed_memory import FreedMemory
from tunnelrelay.ingress.gate import Gate
from tunnelrelay.ingress.interfaces import Connecting, UnderWay, Visitor
from tunnelrelay.ingress.quotas import VisitorQuotas
from tunnelrelay.ingress.route import Routed, Router
from tunnelrelay.ingress.sticky import Sticky
from tunnelrelay.ingress.turns import Turns
from tunnelrelay.ingress.visitors import IPNetwork, KnownHosts, KnownVisitors
from tunnelrelay.model import Peer
from tunnelrelay.observe.access import AccessLog
from tunnelrelay.observe.audit import NO_AUDIT, Audit
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.observe.traffic import TrafficLog
from tunnelrelay.policy.rate_limit import RateLimits
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.registry import Registry

log = EventLog("tunnelrelay.ingress")

NO_DEADLINE = float("inf")
MAX_VISITORS = 20_000
"""Visitors' connections of one relay. Each costs about 10 KB while idle, and at most 32 KiB of what it sends and
160 KiB of what it does not read; the limit keeps a flood from taking the machine with it. When all are taken, new
ones of an address that has its share are refused, and for others an idle one is closed."""
MAX_LOOKED_AT = 32
"""Connections that are looked at for an idle one when all are taken, the oldest first; busy ones go to the end."""
FULL_SECONDS = 60.0
"""How often it is logged that all connections are taken."""
MAX_READ = 64 * 1024
"""Bytes of one read of one visitor's connection. One buffer of this size serves all visitors of a relay."""
LOOK_SECONDS = 2.0
"""How often it is judged anew what let in the exchanges under way. They end within 5 s of a revocation."""
SWEEP_SECONDS = 0.5
"""How often deadlines are looked at: one timer for all is cheaper than one for each request."""

BOUNDS = (
    DeclaredBound(
        name="visitors' connections",
        limit=MAX_VISITORS,
        unit="connections",
        per="relay",
        when_full="it is refused where its address has its share; else an idle one is closed for it, if there is one",
        worst_bytes=MAX_VISITORS * 10_000,
        holds=("Ingress.visitors",),
    ),
)


class AcceptsAgents(Protocol):
    """What the ingress needs of `agents.accept.Acceptor`."""

    async def accept(self, exchange: Connecting, head: RequestHead, block: bytes, ahead: bytes) -> None:
        """Shake hands, or answer with a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressSettings:
    """The operator's settings for visitors.

    Attributes:
        hold_seconds: How long a request waits for a tunnel that is away.
        idle_seconds: How long a connection may stay without a request.
        visitor_requests: How many requests one address may have open at one endpoint.
        max_visitors: How many connections visitors may have.
        trusted: Networks of the proxies that are believed.
        redirects: Plain http redirects to https, so that no proxy with TLS is in front of it.
        endpoint_hsts_seconds: HSTS max-age on endpoints; 0 leaves the apps' own field.
    """

    hold_seconds: float
    idle_seconds: float
    visitor_requests: int
    max_visitors: int = MAX_VISITORS
    trusted: tuple[IPNetwork, ...] = ()
    redirects: bool = False
    endpoint_hsts_seconds: int = 0


class Ingress:
    """Everything that the visitors' connections of one relay share.

    Attributes:
        own_hsts, endpoint_hsts: Ready HSTS lines for the relay's own answers and the apps', b"" for none.
    """

    def __init__(
        self,
        *,
        address: PublicAddress,
        registry: Registry,
        hosts: KnownHosts,
        router: Router,
        gate: Gate,
        asgi_bridge: AsgiBridge,
        acceptor: AcceptsAgents,
        clear_site_data: ClearSiteData,
        access: AccessLog,
        traffic: TrafficLog,
        metrics: Metrics,
        settings: IngressSettings,
        audit: Audit = NO_AUDIT,
    ) -> None:
        self.address = address
        self.registry = registry
        self.hosts = hosts
        self.gate = gate
        self.asgi_bridge = asgi_bridge
        self.clear_site_data = clear_site_data
        self.access = access
        self.traffic = traffic
        self.metrics = metrics
        self.settings = settings
        self.own_hsts = _hsts_line(address, OWN_HSTS_SECONDS)
        self.endpoint_hsts = _hsts_line(address, settings.endpoint_hsts_seconds)
        self.quotas = VisitorQuotas(settings.visitor_requests)
        self.rate_limits = RateLimits()
        self.sticky = Sticky(is_secure=address.is_secure)
        self.buffer = memoryview(bytearray(MAX_READ))
        self.known = KnownVisitors(settings.trusted, lambda: self.now())
        self.audit = audit
        self.forged: list[bytes] = []
        self._router = router
        self._acceptor = acceptor
        self.visitors: dict[Visitor, None] = {}  # the oldest first
        self._next_full_log = 0.0
        self._over: set[bytes] = set()
        self._next_look = 0.0
        self._prefix = secrets.token_hex(4)
        self._requests = 0
        loop = asyncio.get_running_loop()
        self.now: Callable[[], float] = loop.time
        self.call_soon = loop.call_soon
        self.call_later = loop.call_later
        self.turns = Turns(loop.call_soon, loop.call_later, loop.time, self.quotas.connections)
        self._freed = FreedMemory(loop.call_later)
        self.is_draining = False

    # For connections and exchanges

    def enter(self, visitor: Visitor) -> bool:
        """Count a new connection. False when its address has too many, or all places are taken."""
        if not self._has_room(visitor):
            self.limited("visitor_connections", "", visitor.peer)
            return False
        self.visitors[visitor] = None
        self._freed.came(len(self.visitors))
        return True

    def leave(self, visitor: Visitor) -> None:
        """Count a closed connection."""
        if visitor in self.visitors:
            del self.visitors[visitor]
            self._freed.left(len(self.visitors))
            self.quotas.leave(visitor.connected_address)

    def _has_room(self, visitor: Visitor) -> bool:
        most = min(MAX_VISITORS, self.settings.max_visitors)
        if not self.quotas.admits(visitor.connected_address, min(len(self.visitors), most - 1), most):
            return False
        if len(self.visitors) >= most:
            self._note_full()
            if not self._close_an_idle_one():
                return False
        self.quotas.enter(visitor.connected_address)
        return True

    def _close_an_idle_one(self) -> bool:
        """Close an idle connection to make room, as nginx does: its visitor opens another one for the next request."""
        for visitor in list(islice(self.visitors, MAX_LOOKED_AT)):
            if visitor.can_be_closed:
                self.leave(visitor)
                visitor.transport.abort()
                return True
            self.visitors[visitor] = self.visitors.pop(visitor)
        return False

    def _note_full(self) -> None:
        if self.now() >= self._next_full_log:
            self._next_full_log = self.now() + FULL_SECONDS
            log.warning(
                "all visitor connections are taken, closing idle ones for new ones",
                connections=len(self.visitors),
                hint="raise the limit of open files, or look in the audit log for an address that floods",
            )

    def session_ended(self, id_digest: bytes) -> None:
        """Close connections opened under an ended session; one search for all that end in this turn of the loop."""
        if not self._over:
            self.call_soon(self._close_over)
        self._over.add(id_digest)

    def route(self, head: RequestHead, *, sni: str | None, is_secure: bool) -> Routed:
        """Decide where a request goes; arguments as for `Router.route`."""
        return self._router.route(head, sni=sni, is_secure=is_secure)

    def accept(self, exchange: Connecting, head: RequestHead, block: bytes, ahead: bytes) -> Coroutine[Any, Any, None]:
        """Pass an agent's request for a link to the acceptor."""
        return self._acceptor.accept(exchange, head, block, ahead)

    def next_number(self) -> int:
        """The number of the next request."""
        self._requests += 1
        return self._requests

    def forwarded_block(self, peer: Peer, host: bytes) -> bytes:
        """The `X-Forwarded-*` lines for the upstream: the visitor's address, scheme and host."""
        scheme = self.address.scheme.encode()
        lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n"
        return lines % (peer.host.encode(), scheme, host)

    def request_id(self, number: int) -> str:
        """A request's name, unique over restarts."""
        return f"{self._prefix}-{number:x}"

    def limited(self, limit: str, host: str, peer: Peer) -> None:
        """Count and record the refusal of a visitor by a limit."""
        self.metrics.limited(limit)
        self.audit.record("rate.limited", reason=limit, host=host, peer=peer.host)

    def server_name(self, ssl_object: object) -> str | None:
        """The name a TLS client asked for."""
        name = getattr(ssl_object, "server_name_asked", None)
        return name.lower().removesuffix(".") if isinstance(name, str) else None

    # For the relay

    @property
    def visitor_count(self) -> int:
        """Connections open now."""
        return len(self.visitors)

    @property
    def is_busy(self) -> bool:
        """Whether any request is under way, or waits for its turn."""
        return any(visitor.is_busy for visitor in self.visitors)

    def sweep(self) -> None:
        """End what is past its deadline, and every so often exchanges that would not be let in any more."""
        now = self.now()
        for visitor in [visitor for visitor in self.visitors if visitor.deadline < now]:
            visitor.time_out()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self.look_after_exchanges()

    def look_after_exchanges(self) -> None:
        """End exchanges that would not be let in now: a session expired, or the owner changed rules or provider."""
        judged: dict[int, bool] = {}
        for visitor in list(self.visitors):
            exchange = visitor.exchange
            if exchange is None or self._ended_with_edge(exchange) or exchange.session is None:
                continue
            session = exchange.session
            if id(session) not in judged:
                endpoint = self.registry.find(exchange.host)
                policy = None if endpoint is None else endpoint.policy
                # Without a policy no tunnel serves the name, and what is under way ends with its link.
                judged[id(session)] = policy is None or self.gate.look_after(session, policy)
            if not judged[id(session)]:
                exchange.session_over()

    def drain(self) -> None:
        """Close idle connections, and the others after their response."""
        self.is_draining = True
        for visitor in list(self.visitors):
            visitor.drain()
        self.asgi_bridge.drain()

    def close(self) -> None:
        """Close every connection now."""
        for visitor in list(self.visitors):
            visitor.deadline = NO_DEADLINE
            visitor.transport.abort()

    def _ended_with_edge(self, exchange: UnderWay) -> bool:
        """Ends an exchange whose edge is gone, or has rules now by which it would not be let in; True when it did.

        An edge's rules are changed under its tunnels, which go on: nothing else would end what is open.
        """
        endpoint = exchange.endpoint
        if endpoint is None or not endpoint.edge or exchange.policy is None:
            return False
        if endpoint.is_dropped:
            exchange.endpoint_over()
            return True
        policy = endpoint.policy
        if policy is None or policy is exchange.policy:
            return False
        if not exchange.status and self.now() - exchange.started < LOOK_SECONDS:
            return False  # let in by the former rules, and most likely over before the next check
        if policy != exchange.policy and not self._still_passes(exchange, policy):
            exchange.session_over()
            return True
        exchange.policy = policy
        return False

    def _still_passes(self, exchange: UnderWay, policy: Policy) -> bool:
        """Whether new rules let a request in, apart from its session, which is judged with all the others."""
        peer = exchange.peer.host
        if exchange.session is not None:
            return self.gate.may_see_pages(policy, peer)
        return self.gate.check(policy, exchange.head, exchange.host, peer) is not None

    def _close_over(self) -> None:
        over, self._over = self._over, set()
        for visitor in list(self.visitors):
            exchange = visitor.exchange
            session = exchange.session if exchange is not None else None
            if exchange is not None and session is not None and session.id_digest in over:
                exchange.session_over()


def _hsts_line(address: PublicAddress, seconds: int) -> bytes:
    value = address.strict_transport(seconds)
    return f"Strict-Transport-Security: {value}\r\n".encode() if value else b""
