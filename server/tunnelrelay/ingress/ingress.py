"""What every visit shares: the router, the gate, who is connected, and where numbers and lines go."""

import asyncio
import ipaddress
import secrets
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any, Protocol

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelctl.http1.head import RequestHead
from tunnelctl.memo import MAX_BYTES, MAX_ENTRIES, Memo
from tunnelrelay.address import OWN_HSTS_SECONDS, PublicAddress
from tunnelrelay.ingress import oversized_head
from tunnelrelay.ingress.asgi_bridge import AsgiBridge
from tunnelrelay.ingress.clear_site_data import ClearSiteData
from tunnelrelay.ingress.freed_memory import FreedMemory
from tunnelrelay.ingress.gate import Gate
from tunnelrelay.ingress.interfaces import HasRequest, Visitor
from tunnelrelay.ingress.proxies import Route, read_route
from tunnelrelay.ingress.quotas import VisitorQuotas
from tunnelrelay.ingress.request import VISITOR_GONE, Request
from tunnelrelay.ingress.route import Routed, Router
from tunnelrelay.ingress.sticky import Sticky
from tunnelrelay.ingress.turns import Turns
from tunnelrelay.model import Peer, Reply
from tunnelrelay.observe.access import AccessLog
from tunnelrelay.observe.audit import NO_AUDIT, Audit
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.observe.traffic import Seen, TrafficLog
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.pages.page import error_reply
from tunnelrelay.policy.classify import wants_html
from tunnelrelay.policy.limits import Buckets, address_key
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
MAX_NAME = 300
"""Longest host whose spelling as bytes, and longest address whose key for limits, are remembered."""
MAX_FORGED = 5
"""Names of forged fields told in one audit event."""
LOOK_SECONDS = 2.0
"""How often it is judged anew what let in the exchanges under way. They end within 5 s of a revocation."""
SWEEP_SECONDS = 0.5
"""How often deadlines are looked at: one timer for all is cheaper than one for each request."""

UNREADABLE_SECONDS, MAX_PROXIES = 600.0, 64
"""How often it is logged that a proxy's word on its visitors cannot be read, and for how many proxies that is counted;
of more, the ones not heard for longest are logged again. 64 of some 300 bytes are 20 KB."""

_CORS_LINES = (
    b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Allow-Credentials: true\r\n"
    b"Access-Control-Expose-Headers: WWW-Authenticate, Tunnel-Error, Retry-After\r\nVary: Origin\r\n"
)

BOUNDS = (
    DeclaredBound(
        name="visitors' connections",
        limit=MAX_VISITORS,
        unit="connections",
        per="relay",
        when_full="it is refused where its address has its share; else an idle one is closed for it, if there is one",
        worst_bytes=MAX_VISITORS * 10_000,
        holds=("Ingress._visits",),
    ),
    DeclaredBound(
        name="hosts in bytes, and addresses as limits count them",
        limit=MAX_ENTRIES,
        unit="entries",
        per="relay",
        when_full="all are forgotten, and worked out again",
        worst_bytes=2 * MAX_BYTES,
        holds=("Ingress._public_names", "Ingress._addresses"),
    ),
    DeclaredBound(
        name="proxies whose unreadable words on visitors were logged lately",
        limit=MAX_PROXIES,
        unit="entries",
        per="relay",
        when_full="the one not heard for longest is forgotten, and may be logged again",
        worst_bytes=20_000,
        holds=("Ingress._unreadable",),
    ),
)

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class AcceptsAgents(Protocol):
    """What the ingress needs of `agents.accept.Acceptor`."""

    async def accept(self, visit: Visitor, head: RequestHead, block: bytes, ahead: bytes) -> None:
        """Shake hands, or answer with a refusal."""


class Ingress:
    """See the module.

    Args:
        redirects: Plain http leads to https; what comes over it came without TLS.
        endpoint_hsts_seconds: For how long browsers open endpoints over https only; 0 for what the apps say.

    Attributes:
        own_hsts, endpoint_hsts: Ready HSTS lines for the relay's own answers and the apps', b"" for none.
    """

    def __init__(
        self,
        *,
        address: PublicAddress,
        registry: Registry,
        router: Router,
        gate: Gate,
        asgi_bridge: AsgiBridge,
        acceptor: AcceptsAgents,
        clear_site_data: ClearSiteData,
        access: AccessLog,
        traffic: TrafficLog,
        metrics: Metrics,
        hold_seconds: float,
        idle_seconds: float,
        visitor_requests: int,
        max_visitors: int = MAX_VISITORS,
        trusted: tuple[IPNetwork, ...] = (),
        redirects: bool = False,
        endpoint_hsts_seconds: int = 0,
        audit: Audit = NO_AUDIT,
    ) -> None:
        self.address = address
        self.registry = registry
        self.gate = gate
        self.asgi_bridge = asgi_bridge
        self.clear_site_data = clear_site_data
        self.access = access
        self.traffic = traffic
        self.metrics = metrics
        self.hold_seconds = hold_seconds
        self.idle_seconds = idle_seconds
        self.trusted = trusted
        self.redirects = redirects
        self.own_hsts = _hsts_line(address, OWN_HSTS_SECONDS)
        self.endpoint_hsts = _hsts_line(address, endpoint_hsts_seconds)
        self.quotas = VisitorQuotas(visitor_requests)
        self.sticky = Sticky(is_secure=address.is_secure)
        self.buffer = memoryview(bytearray(MAX_READ))
        self._addresses = Memo[str, str](
            lambda host: "" if self._trusts(host) else address_key(host), max_bytes=MAX_NAME
        )
        self.audit = audit
        self.forged: list[bytes] = []
        self._router = router
        self._acceptor = acceptor
        self._max_visitors = max_visitors
        self._visits: dict[Visitor, None] = {}  # the oldest first
        self._next_full_log = 0.0
        self._public_names = Memo[str, tuple[bytes, bytes]](
            lambda host: (host.encode(), address.url(host).encode()), max_bytes=MAX_NAME
        )
        self._over: set[bytes] = set()
        self._next_look = 0.0
        self._unreadable = Buckets(1, 1 / UNREADABLE_SECONDS, max_keys=MAX_PROXIES)
        self._prefix = secrets.token_hex(4)
        self._requests = 0
        loop = asyncio.get_running_loop()
        self.now: Callable[[], float] = loop.time
        self.call_soon = loop.call_soon
        self.call_later = loop.call_later
        self.turns = Turns(loop.call_soon, loop.call_later, loop.time, self.quotas.connections)
        self._freed = FreedMemory(loop.call_later)
        self.is_draining = False

    # For visits

    def enter(self, visit: Visitor) -> bool:
        """Count a connection in; False when its address has too many, or nothing makes room for it."""
        if not self._has_room(visit):
            self.limited("visitor_connections", visit)
            return False
        self._visits[visit] = None
        self._freed.came(len(self._visits))
        return True

    def leave(self, visit: Visitor) -> None:
        """Count it out."""
        if visit in self._visits:
            del self._visits[visit]
            self._freed.left(len(self._visits))
            self.quotas.leave(visit.connected_address)

    def _has_room(self, visit: Visitor) -> bool:
        most = min(MAX_VISITORS, self._max_visitors)
        if not self.quotas.admits(visit.connected_address, min(len(self._visits), most - 1), most):
            return False
        if len(self._visits) >= most:
            self._note_full()
            if not self._close_an_idle_one():
                return False
        self.quotas.enter(visit.connected_address)
        return True

    def _close_an_idle_one(self) -> bool:
        """Make room for a new connection, as nginx does: the visitor opens another one for its next request."""
        for visit in list(islice(self._visits, MAX_LOOKED_AT)):
            if visit.can_be_closed:
                self.leave(visit)
                visit.transport.abort()
                return True
            self._visits[visit] = self._visits.pop(visit)
        return False

    def _note_full(self) -> None:
        if self.now() >= self._next_full_log:
            self._next_full_log = self.now() + FULL_SECONDS
            log.warning(
                "all visitor connections are taken, closing idle ones for new ones",
                connections=len(self._visits),
                hint="raise the limit of open files, or look in the audit log for an address that floods",
            )

    def session_ended(self, id_digest: bytes) -> None:
        """Close what was opened under a session that is over: one look for all that end in this turn of the loop."""
        if not self._over:
            self.call_soon(self._close_over)
        self._over.add(id_digest)

    def route(self, head: RequestHead, *, sni: str | None, is_secure: bool) -> Routed:
        """See `Router.route`."""
        return self._router.route(head, sni=sni, is_secure=is_secure)

    def accept(self, visit: Visitor, block: bytes, ahead: bytes) -> Coroutine[Any, Any, None]:
        """An agent asks for a link."""
        return self._acceptor.accept(visit, visit.request.head, block, ahead)

    def error(self, code: str, request: Request, *, detail: str = "", retry_after: int = 0) -> Reply:
        """An error as the sender of the request can read it."""
        return error_reply(
            code,
            request_id=self.request_id(request.number),
            host=request.host,
            wants_html=wants_html(request.head),
            detail=detail,
            retry_after=retry_after,
        )

    def too_large(self, request: Request, sni: str | None) -> Reply:
        """The answer to a head that was read in part."""
        host = self.address.canonical_host(request.head.host) or ""
        request.host = host if sni in (None, host) else ""
        origin, request_id = self.address.url(host).encode(), self.request_id(request.number)
        return oversized_head.reply(request.head, host=request.host, origin=origin, request_id=request_id)

    def public_name(self, host: str) -> tuple[bytes, bytes]:
        """An endpoint's host and origin as bytes, remembered."""
        return self._public_names[host]

    def cors_lines(self, request: Request) -> bytes:
        """The lines by which a page of another origin, which the owner named, may read an answer of the relay's own.

        Else its script learns no more of a 401 than "Failed to fetch", and cannot tell its visitor to sign in.
        """
        endpoint = request.endpoint or self.registry.find(request.host)
        policy = request.policy or (endpoint.policy if endpoint is not None else None)
        if policy is None or not policy.origins:
            return b""
        origin = request.head.get(b"origin")
        return _CORS_LINES % origin if origin in policy.origins else b"Vary: Origin\r\n"

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
        exchange = request.record(request_id=request_id, peer=peer, seconds=seconds, error=error, source=source)
        self.access.add(exchange)
        # The relay's own pages on an owner's host are that owner's traffic too; without an owner it is not kept.
        endpoint, tunnel = request.endpoint or self.registry.find(request.host), request.tunnel
        if endpoint is not None:
            served_by = tunnel.id if tunnel is not None else ""
            policy = request.policy or endpoint.policy
            self.traffic.add(Seen(exchange, endpoint.owner, served_by, policy, request.session))

    def forwarded_block(self, peer: Peer, host: bytes) -> bytes:
        """The forwarding fields that tell the upstream who asks, and under which address."""
        scheme = self.address.scheme.encode()
        lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n"
        return lines % (peer.host.encode(), scheme, host)

    def request_id(self, number: int) -> str:
        """A request's name, unique over restarts."""
        return f"{self._prefix}-{number:x}"

    def limited(self, limit: str, visit: HasRequest) -> None:
        """A visitor was refused for taking more than a fair share."""
        self.metrics.limited(limit)
        self.audit.record("rate.limited", reason=limit, host=visit.request.host, peer=visit.peer.host)

    def address_of(self, peer: Peer) -> str:
        """Whom limits count a connection as; "" for not at all: this machine, and proxies that stand for many."""
        return self._addresses[peer.host]

    def server_name(self, ssl_object: object) -> str | None:
        """The name a TLS client asked for."""
        name = getattr(ssl_object, "server_name_asked", None)
        return name.lower().removesuffix(".") if isinstance(name, str) else None

    def told_by_proxies(self, peer: Peer, head: RequestHead) -> tuple[Peer, bool]:
        """The visitor behind trusted proxies, and whether it came to them over TLS."""
        if not self._trusts(peer.host):
            return peer, False
        route = read_route(head)
        found = route.visitor(self._trusts)
        if found is None:
            return peer, route.is_secure
        if not found:
            self._note_unreadable(peer, route)
            return peer, route.is_secure
        return Peer(found, 0), route.is_secure

    def _note_unreadable(self, peer: Peer, route: Route) -> None:
        if not self._unreadable.wait(peer.host, self.now()):
            log.warning(
                "trusted proxy names no visitor address, its own is used",
                proxy=peer.host,
                field=route.field,
                value=route.shown,
                hint="let it set X-Forwarded-For to the visitor's address",
            )

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
        """End what has waited too long, and now and then what would not be let in any more."""
        now = self.now()
        for visit in [visit for visit in self._visits if visit.deadline < now]:
            visit.time_out()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look_after_exchanges()

    def drain(self) -> None:
        """Close idle connections, and the others after their response."""
        self.is_draining = True
        for visit in list(self._visits):
            visit.drain()
        self.asgi_bridge.drain()

    def close(self) -> None:
        """Close every connection now."""
        for visit in list(self._visits):
            visit.deadline = NO_DEADLINE
            visit.transport.abort()

    def _look_after_exchanges(self) -> None:
        """End those that would not be let in now: a session ran out, or its owner changed who is, or by whom."""
        judged: dict[int, bool] = {}
        for visit in list(self._visits):
            session = visit.request.session
            if visit.is_idle or self._ended_with_edge(visit) or session is None:
                continue
            if id(session) not in judged:
                endpoint = self.registry.find(visit.request.host)
                policy = None if endpoint is None else endpoint.policy
                # Without a policy no tunnel serves the name, and what is under way ends with its link.
                judged[id(session)] = policy is None or self.gate.look_after(session, policy)
            if not judged[id(session)]:
                visit.session_over()

    def _ended_with_edge(self, visit: Visitor) -> bool:
        """Ends an exchange whose edge is gone, or has rules now by which it would not be let in; True when it did.

        An edge's rules are changed under its tunnels, which go on: nothing else would end what is open.
        """
        request, endpoint = visit.request, visit.request.endpoint
        if endpoint is None or not endpoint.edge or request.policy is None:
            return False
        if endpoint.is_dropped:
            visit.endpoint_over()
            return True
        policy = endpoint.policy
        if policy is None or policy is request.policy:
            return False
        if not request.status and self.now() - request.started < LOOK_SECONDS:
            return False  # let in by the rules of its time, and most likely over before anybody looks again
        if policy != request.policy and not self._still_passes(visit, policy):
            visit.session_over()
            return True
        request.policy = policy
        return False

    def _still_passes(self, visit: Visitor, policy: Policy) -> bool:
        """Whether new rules let a request in, apart from its session, which is judged with all the others."""
        request, peer = visit.request, visit.peer.host
        if request.session is not None:
            return self.gate.may_see_pages(policy, peer)
        return self.gate.check(policy, request.head, request.host, peer) is not None

    def _close_over(self) -> None:
        over, self._over = self._over, set()
        for visit in list(self._visits):
            session = visit.request.session
            if session is not None and session.id_digest in over and not visit.is_idle:
                visit.session_over()

    def _trusts(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.trusted)


def _hsts_line(address: PublicAddress, seconds: int) -> bytes:
    value = address.strict_transport(seconds)
    return f"Strict-Transport-Security: {value}\r\n".encode() if value else b""
