"""The shared part of all visitors' connections: router, gate, the set of connections, limits, metrics and logs."""

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
from tunnelrelay.ingress.about import AboutVisitors
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
"""Visitors' connections that one relay has open at once. One costs about 10 KB while idle, and buffers at most 32 KiB
of what the visitor sends and 160 KiB of what it does not read. At the limit, a new connection is refused when its
address has its fair share; for others an idle connection is closed."""
MAX_LOOKED_AT = 32
"""Connections that are searched for an idle one when the limit is reached, from the front of the queue; busy ones move
to its end."""
FULL_SECONDS = 60.0
"""Seconds between two log records that the limit of connections is reached."""
MAX_READ = 64 * 1024
"""Bytes of one read from a visitor's connection. One buffer of this size serves all visitors of a relay."""
LOOK_SECONDS = 2.0
"""Seconds between two checks of whether running exchanges would still be let in, so that they end within 5 s of a
revocation."""
SWEEP_SECONDS = 0.5
"""Seconds between two checks of all connections' deadlines: one timer for all is cheaper than one per request."""

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
    """The part of `agents.accept.Acceptor` that the ingress uses: accepting an agent's request for a link."""

    async def accept(self, exchange: Connecting, head: RequestHead, block: bytes, ahead: bytes) -> None:
        """Do the websocket handshake with an agent, or answer with an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressSettings:
    """The operator's settings for visitors' connections.

    Attributes:
        hold_seconds: How long a request waits for a tunnel that has lost its link.
        idle_seconds: How long a connection may stay open without a request.
        visitor_requests: How many requests one address may have open at one endpoint.
        max_visitors: How many connections visitors may have in all.
        trusted: Networks of the proxies whose forwarding fields are trusted.
        redirects: Whether plain http redirects to https; then no proxy that terminates TLS is in front of it.
        endpoint_hsts_seconds: HSTS max-age on endpoints; 0 leaves HSTS to the apps.
    """

    hold_seconds: float
    idle_seconds: float
    visitor_requests: int
    max_visitors: int = MAX_VISITORS
    trusted: tuple[IPNetwork, ...] = ()
    redirects: bool = False
    endpoint_hsts_seconds: int = 0


class Ingress:
    """The shared state of all visitors' connections of one relay.

    Attributes:
        visitors: All open connections, as the keys of a dict.
        buffer: The buffer into which all connections read.
        forged: Names of the forged header fields of the request that is being forwarded.
        own_hsts, endpoint_hsts: HSTS header lines for responses of the relay and of apps; b"" for none.
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
        self.about_visitors = AboutVisitors()
        self.buffer = memoryview(bytearray(MAX_READ))
        self.known = KnownVisitors(settings.trusted, lambda: self.now())
        self.audit = audit
        self.forged: list[bytes] = []
        self._router = router
        self._acceptor = acceptor
        self.visitors: dict[Visitor, None] = {}  # the oldest first; `_close_an_idle_one` moves busy ones to the end
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
        """Count a new connection. False when its address has too many, or the limit is reached and none is idle."""
        if not self._has_room(visitor):
            self.limited("visitor_connections", "", visitor.peer)
            return False
        self.visitors[visitor] = None
        self._freed.came(len(self.visitors))
        return True

    def leave(self, visitor: Visitor) -> None:
        """Stop counting a connection, which is closed."""
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
        """Close an idle connection to make room for a new one, as nginx does. False when none is idle."""
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
        """End the exchanges of an ended session, in one search for all sessions that end in this turn of the loop."""
        if not self._over:
            self.call_soon(self._close_over)
        self._over.add(id_digest)

    def route(self, head: RequestHead, *, sni: str | None, is_secure: bool) -> Routed:
        """Decide where a request goes. `Router.route` describes arguments and result."""
        return self._router.route(head, sni=sni, is_secure=is_secure)

    def accept(self, exchange: Connecting, head: RequestHead, block: bytes, ahead: bytes) -> Coroutine[Any, Any, None]:
        """Return the coroutine with which the acceptor handles an agent's request for a link."""
        return self._acceptor.accept(exchange, head, block, ahead)

    def next_number(self) -> int:
        """Count a request, and return its number in this process."""
        self._requests += 1
        return self._requests

    def forwarded_block(self, peer: Peer, host: bytes) -> bytes:
        """Return the `X-Forwarded-*` lines for the upstream: the visitor's address, the public scheme, and the host."""
        scheme = self.address.scheme.encode()
        lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n"
        return lines % (peer.host.encode(), scheme, host)

    def request_id(self, number: int) -> str:
        """Return the id of the request with this number, which is unique across restarts."""
        return f"{self._prefix}-{number:x}"

    def limited(self, limit: str, host: str, peer: Peer) -> None:
        """Record in metrics and audit log that a limit has refused a visitor."""
        self.metrics.limited(limit)
        self.audit.record("rate.limited", reason=limit, host=host, peer=peer.host)

    def server_name(self, ssl_object: object) -> str | None:
        """Return the server name (SNI) that a TLS client sent in its handshake, in lower case; None without one."""
        name = getattr(ssl_object, "server_name_asked", None)
        return name.lower().removesuffix(".") if isinstance(name, str) else None

    # For the relay

    @property
    def visitor_count(self) -> int:
        """The number of visitors' connections that are open now."""
        return len(self.visitors)

    @property
    def is_busy(self) -> bool:
        """Whether any visitor's request is under way, or waits for its turn."""
        return any(visitor.is_busy for visitor in self.visitors)

    def sweep(self) -> None:
        """End connections past their deadline, and every `LOOK_SECONDS` exchanges that would not be let in any more."""
        now = self.now()
        for visitor in [visitor for visitor in self.visitors if visitor.deadline < now]:
            visitor.time_out()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self.look_after_exchanges()

    def look_after_exchanges(self) -> None:
        """End running exchanges that would not be let in now: the session expired, or the owner changed the policy."""
        judged: dict[int, bool] = {}
        for visitor in list(self.visitors):
            exchange = visitor.exchange
            if exchange is None or self._ended_with_edge(exchange) or exchange.session is None:
                continue
            session = exchange.session
            if id(session) not in judged:
                endpoint = self.registry.find(exchange.host)
                policy = None if endpoint is None else endpoint.policy
                # Without a policy no tunnel serves the name, and the exchange ends with its link.
                judged[id(session)] = policy is None or self.gate.look_after(session, policy)
            if not judged[id(session)]:
                exchange.session_over()

    def drain(self) -> None:
        """Close idle connections now and busy ones after their response, as the relay stops."""
        self.is_draining = True
        for visitor in list(self.visitors):
            visitor.drain()
        self.asgi_bridge.drain()

    def close(self) -> None:
        """Close every visitor's connection at once."""
        for visitor in list(self.visitors):
            visitor.deadline = NO_DEADLINE
            visitor.transport.abort()

    def _ended_with_edge(self, exchange: UnderWay) -> bool:
        """End an exchange whose edge was removed, or whose edge has new rules that would not let it in.

        An edge's rules change while its tunnels stay connected, so no closing link ends the exchange.

        Returns:
            Whether the exchange was ended.
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
            return False  # the former rules let it in, and it will most likely have ended at the next check
        if policy != exchange.policy and not self._still_passes(exchange, policy):
            exchange.session_over()
            return True
        exchange.policy = policy
        return False

    def _still_passes(self, exchange: UnderWay, policy: Policy) -> bool:
        """Whether an edge's new rules let a running exchange in; its session is checked by `look_after_exchanges`."""
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
