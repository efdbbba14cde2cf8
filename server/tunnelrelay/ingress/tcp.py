"""TCP ports that agents serve: the listening sockets, and visitors' connections to them.

A port is open while a tunnel serves its endpoint (`tcp://DOMAIN:PORT` in the registry), and for a moment after its link
was lost. The endpoint's network rules are applied before a connection is forwarded, and the connection is read only
when the agent has connected to the local service: until then another tunnel can take it. It counts as a visitor like
one of a web app (`Ingress.visitors`). `tunnelctl/link/pipe.py` moves the bytes; `agents/tcp_addresses.py` chooses the
port of a bind.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelctl.link.pipe import WRITE_HIGH, Pipe
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import BODY_NONE, TYPE_TCP, pack_open
from tunnelctl.wire.scheduler import HIGH_WATER
from tunnelrelay.address import tcp_port
from tunnelrelay.ingress.exchange import MAX_TRIES, VISITOR_GONE
from tunnelrelay.ingress.forward import ERROR_OF
from tunnelrelay.ingress.handshakes import AGAIN_SECONDS, MAX_ACCEPTED
from tunnelrelay.ingress.ingress import MAX_READ, NO_DEADLINE, Ingress
from tunnelrelay.ingress.listen import bind
from tunnelrelay.model import Peer
from tunnelrelay.observe.access import ExchangeRecord
from tunnelrelay.observe.traffic import FinishedExchange
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.policy.limits import fair_share, give_back
from tunnelrelay.policy.rules import Policy
from tunnelrelay.policy.verdict import network_allows
from tunnelrelay.registry.endpoint import Endpoint
from tunnelrelay.registry.registry import Registry
from tunnelrelay.registry.tunnel import Tunnel

log = EventLog("tunnelrelay.ingress")

CONNECT_SECONDS = 15.0
"""Seconds that an agent has to connect to its local service; the agent itself gives up after 10 s."""
IDLE_SECONDS = 3600.0
"""Seconds without a byte in either direction after which a connection is closed: long enough for a shell that waits for
its user."""
HALF_CLOSED_SECONDS = 300.0
"""Seconds without a byte after which a connection is closed when one side has closed its sending half. The other side
may still compute its answer."""
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""Socket options of TCP keep-alive, by which the kernel detects within two minutes that a visitor has vanished."""

BOUNDS = (
    DeclaredBound(
        name="what a visitor of a tcp port has sent and the agent has not taken",
        limit=HIGH_WATER + MAX_READ,
        unit="bytes",
        per="visitor connection",
        when_full="the visitor is not read",
        worst_bytes=HIGH_WATER + MAX_READ + WRITE_HIGH,
    ),
)


class TcpConnection:
    """One visitor's connection to a TCP port: a `Visitor` for the ingress, and the user of a `Pipe`.

    Attributes:
        host: The endpoint's host, `tcp://DOMAIN:PORT`.
        connected_address, address: Key under which limits count the visitor; "" when they do not.
        deadline: Loop time at which waiting ends; `Ingress.sweep` checks it.
    """

    exchange = None
    """Always None: a TCP connection carries no HTTP request."""
    is_busy = True
    """Always True: a relay that stops waits for TCP connections as for requests under way."""
    can_be_closed = False
    """Always False: no TCP connection is closed to make room for another, as its visitor would lose its state."""

    def __init__(self, ingress: Ingress, ports: "TcpPorts", host: str) -> None:
        self._ingress = ingress
        self._ports = ports
        self.pipe = Pipe(ingress.buffer, self)
        self.transport = self.pipe.transport
        self.host = self.last_host = host
        self.peer = Peer("", 0)
        self.connected_address = self.address = ""
        self.deadline = NO_DEADLINE
        self._endpoint: Endpoint | None = None
        self._policy: Policy | None = None
        self._tunnel: Tunnel | None = None
        self._tried: tuple[Tunnel, ...] = ()
        self._tries = 0
        self._owner = ""
        self._share: dict[str, int] | None = None
        self._is_connected = False
        self._waiting: asyncio.Task[None] | None = None
        self._error = ""
        self._started = ingress.now()
        self._started_at = time.time()
        self._number = ingress.next_number()

    # Callbacks of the pipe (`PipeUser`)

    def on_connected(self) -> None:
        """Count a new visitor, apply the endpoint's rules, and ask an agent to connect to its local service."""
        ingress = self._ingress
        self.transport = transport = self.pipe.transport
        _keep_alive(transport.get_extra_info("socket"))
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            self.peer = Peer(name[0].removeprefix("::ffff:"), name[1])
            self.connected_address = self.address = ingress.known.address_of(self.peer)
        self.deadline = ingress.now() + CONNECT_SECONDS
        if not ingress.enter(self):
            self._refuse("relay_busy")
            return
        endpoint = ingress.registry.find(self.host)
        if endpoint is None:
            self._refuse("endpoint_offline")
        elif self._may_pass(endpoint) and self._take_shares(endpoint):
            self._connect(endpoint)

    def on_answer(self, status: int) -> None:
        """Start to move bytes, as the agent has connected to its local service."""
        tunnel = self._tunnel
        assert tunnel is not None
        if status != 200:
            log.warning(
                "bad response", host=self.host, agent=tunnel.label, detail=f"a tcp connection answered {status}"
            )
            tunnel.errors += 1
            self._refuse("agent_bad_response", Code.PROTOCOL)
            return
        self._is_connected = True
        if not tunnel.health.is_good:
            self._ingress.registry.mark_healthy(tunnel)
        self.on_moved()
        self.pipe.start()

    def on_refused(self, code: Code, reason: str) -> None:
        """Try another tunnel, or wait for one, as the agent could not connect to its local service."""
        tunnel, endpoint = self._tunnel, self._endpoint
        assert tunnel is not None
        assert endpoint is not None
        tunnel.errors += 1
        tunnel.open -= 1
        self._tunnel = None
        if code is Code.UPSTREAM_UNREACHABLE:
            self._ingress.registry.mark_unhealthy(tunnel, "upstream_unreachable")
        self._tries += 1
        self._tried += (tunnel,)
        may_wait = code in (Code.REFUSED, Code.HEARTBEAT)
        if self._tries <= MAX_TRIES and (may_wait or endpoint.can_take(self._tried)):
            self._connect(endpoint)
        else:
            self._refuse(ERROR_OF.get(code, "agent_lost"), code)

    def on_moved(self) -> None:
        """Move the deadline, as bytes or an end came from one side."""
        seconds = HALF_CLOSED_SECONDS if self.pipe.is_half_closed else IDLE_SECONDS
        self.deadline = self._ingress.now() + seconds

    def on_over(self, code: Code | None, reason: str) -> None:
        """Stop counting the connection and record it, as it is closed."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._ingress.leave(self)
        if self._share is not None:
            give_back(self._share, self.address)
        if self._owner:
            self._ports.leave(self._owner)
        error = self._error
        if code is not None and not error:
            error = "visitor_gone" if code is Code.CANCELLED else ERROR_OF.get(code, "agent_lost")
        tunnel, endpoint = self._tunnel, self._endpoint
        if tunnel is not None:
            tunnel.open -= 1
        self._account(error)
        if endpoint is not None:
            endpoint.room_was_made()

    # Calls of the ingress (`Visitor`)

    def take_turn(self) -> None:
        """Do nothing. It is never called, as only HTTP requests take turns."""

    def read_turn(self) -> None:
        """Do nothing. It is never called, as only HTTP requests take turns."""

    def time_out(self) -> None:
        """Close the connection: the agent did not answer in time, or no byte came for too long."""
        self.deadline = NO_DEADLINE
        self._refuse("request_timeout" if self._is_connected else "upstream_timeout")

    def drain(self) -> None:
        """Do nothing: a relay that stops lets TCP connections go on until its drain time is over."""

    def look_after(self, policy: Policy) -> None:
        """Close the connection if the endpoint's new rules would not let its visitor in."""
        if not network_allows(policy, self.peer.host):
            self._refuse(policy.refusal)

    # Helpers

    def _may_pass(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint's present network rules let the visitor in; if not, the connection is closed.

        An endpoint has no rules before an agent has bound it, and lets no visitor in.
        """
        self._endpoint, self._policy = endpoint, endpoint.policy
        if endpoint.policy is None:
            self._refuse("endpoint_offline")
        elif not network_allows(endpoint.policy, self.peer.host):
            self._refuse(endpoint.policy.refusal)
        else:
            return True
        return False

    def _take_shares(self, endpoint: Endpoint) -> bool:
        """Count the connection for its address and for the endpoint's owner. False when it is one too many; then it is
        closed."""
        ingress = self._ingress
        if self.address:
            if not ingress.quotas.take(endpoint.open_by, self.address):
                return self._limit("visitor_requests")
            self._share = endpoint.open_by
        if not self._ports.enter(endpoint.owner):
            return self._limit("owner_connections")
        self._owner = endpoint.owner
        return True

    def _limit(self, limit: str) -> bool:
        self._ingress.limited(limit, self.host, self.peer)
        self._refuse("too_many_requests")
        return False

    def _connect(self, endpoint: Endpoint) -> None:
        """Ask one of the endpoint's tunnels for a connection to its local service, or wait until one can take it."""
        tunnel = endpoint.pick(tried=self._tried)
        if tunnel is None:
            self._waiting = asyncio.get_running_loop().create_task(self._hold(endpoint))
            return
        tunnel.requests += 1
        tunnel.open += 1
        self._tunnel = tunnel
        self.deadline = self._ingress.now() + CONNECT_SECONDS
        host, port = self.peer
        line = f"Peer: [{host}]:{port}\r\n" if ":" in host else f"Peer: {host}:{port}\r\n"
        payload = pack_open(tunnel.number, TYPE_TCP, BODY_NONE, line.encode())
        self.pipe.attach(tunnel.link, tunnel.link.open(payload, owner=self.pipe, fin=False))

    async def _hold(self, endpoint: Endpoint) -> None:
        """Wait for a tunnel that has lost its link, then apply the endpoint's rules anew, which may have changed."""
        ingress = self._ingress
        self.deadline = NO_DEADLINE
        ingress.metrics.held()
        is_back = await endpoint.hold(ingress.settings.hold_seconds, self._tried)
        self._waiting = None
        current = ingress.registry.find(self.host)
        if current is None or not is_back or current.owner != self._owner:
            self._refuse("endpoint_busy" if current is not None and current.is_served else "endpoint_offline")
        elif self._may_pass(current):
            self._connect(current)

    def _refuse(self, error: str, code: Code = Code.CANCELLED) -> None:
        self._error = self._error or error
        self.pipe.cut(code)

    def _account(self, error: str) -> None:
        """Record the closed connection in metrics, access log and traffic log."""
        ingress, pipe = self._ingress, self.pipe
        kind = ERRORS.get(error)
        ingress.metrics.tcp(error or "ok", pipe.received, pipe.sent)
        tunnel, endpoint = self._tunnel, self._endpoint
        record = ExchangeRecord(
            at=self._started_at,
            request_id=ingress.request_id(self._number),
            peer=self.peer.host,
            method="TCP",
            host=self.host,
            path="",
            status=200 if not error else VISITOR_GONE if kind is None else kind.status,
            seconds=ingress.now() - self._started,
            bytes_in=pipe.received,
            bytes_out=pipe.sent,
            error=error,
            source=kind.source if kind is not None else "",
            agent=tunnel.label if tunnel is not None else endpoint.label if endpoint is not None else "",
            job=tunnel.job if tunnel is not None else "",
            upgrade="tcp",
        )
        ingress.access.add(record)
        if endpoint is not None:
            served_by = tunnel.id if tunnel is not None else ""
            ingress.traffic.add(FinishedExchange(record, endpoint.owner, served_by, self._policy, None))


@dataclass(slots=True)
class _Door:
    """A TCP port that is open.

    Attributes:
        sock: The listening socket.
        policy: The policy that the port's connections were last checked with.
        empty_since: Loop time since which no tunnel serves the port; None while one does.
    """

    sock: socket.socket
    policy: Policy | None = None
    empty_since: float | None = None


class TcpPorts:
    """Opens and closes the TCP ports that agents serve, and accepts visitors' connections at them.

    Args:
        where: Returns the host to listen on for a port.
        hold_seconds: How long a port stays open after its last link was lost.
        most: Connections of all visitors; the ports of one owner may have a fair share of them.
    """

    def __init__(self, registry: Registry, *, where: Callable[[int], str], hold_seconds: float, most: int) -> None:
        self._registry = registry
        self._where = where
        self._hold_seconds = hold_seconds
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._open: dict[str, _Door] = {}
        self._connections: dict[str, int] = {}
        self._beginning: set[asyncio.Task[None]] = set()
        self._is_look_due = False
        self._is_closed = False
        self.ingress: Ingress

    @property
    def connection_count(self) -> int:
        """The number of open connections to all TCP ports."""
        return sum(self._connections.values())

    def open(self, host: str) -> bool:
        """Listen at an endpoint's port, until no tunnel serves it. False when another program has the port."""
        if host in self._open:
            return True
        port = tcp_port(host)
        assert port is not None
        if self._is_closed:
            return False
        try:
            sock = bind(self._where(port), port)
        except OSError as error:
            log.warning("tcp port not available", port=port, error=error)
            return False
        sock.setblocking(False)
        self._open[host] = _Door(sock)
        self._loop.add_reader(sock, self._accept, host, sock)
        self.look_soon()
        return True

    def look_soon(self) -> None:
        """Call `look` at the end of this turn of the event loop."""
        if self._open and not self._is_look_due:
            self._is_look_due = True
            self._loop.call_soon(self.look)

    def look(self) -> None:
        """Close the ports that no tunnel serves any more, and connections that changed rules would not let in."""
        self._is_look_due = False
        now = self.ingress.now()
        for host, door in tuple(self._open.items()):
            endpoint = self._registry.find(host)
            if endpoint is None:
                self._shut(host)
            elif endpoint.tunnels:
                door.empty_since = None
                if endpoint.policy is not None and endpoint.policy is not door.policy:
                    self._judge_again(host, endpoint.policy)
                    door.policy = endpoint.policy
            elif door.empty_since is None:
                door.empty_since = now
            elif now - door.empty_since >= self._hold_seconds:
                self._shut(host)

    def enter(self, owner: str) -> bool:
        """Count a connection for the owner of its port. False when it is one too many; then it is not counted."""
        held = self._connections.get(owner, 0)
        if not fair_share(held, min(self.ingress.visitor_count, self._most - 1), self._most):
            return False
        self._connections[owner] = held + 1
        return True

    def leave(self, owner: str) -> None:
        """Count a connection of an owner less, as it is closed."""
        give_back(self._connections, owner)

    def close(self) -> None:
        """Close all listening sockets; open connections go on."""
        self._is_closed = True
        for host in tuple(self._open):
            self._shut(host)

    def _shut(self, host: str) -> None:
        door = self._open.pop(host)
        self._loop.remove_reader(door.sock)
        door.sock.close()

    def _judge_again(self, host: str, policy: Policy) -> None:
        for visitor in tuple(self.ingress.visitors):
            if isinstance(visitor, TcpConnection) and visitor.host == host:
                visitor.look_after(policy)

    def _accept(self, host: str, sock: socket.socket) -> None:
        for _ in range(MAX_ACCEPTED):
            try:
                accepted, _ = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # the connection was closed before it could be accepted
            except OSError as error:
                log.warning("no connection can be accepted, retrying", error=error)
                self._loop.remove_reader(sock)
                self._loop.call_later(AGAIN_SECONDS, self._accept_again, host, sock)
                return
            accepted.setblocking(False)
            task = self._loop.create_task(self._begin(host, accepted))
            self._beginning.add(task)  # the event loop keeps only weak references to tasks
            task.add_done_callback(self._beginning.discard)

    def _accept_again(self, host: str, sock: socket.socket) -> None:
        door = self._open.get(host)
        if door is not None and door.sock is sock:
            self._loop.add_reader(sock, self._accept, host, sock)

    async def _begin(self, host: str, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: TcpConnection(self.ingress, self, host).pipe, sock)
        except Exception:  # an error of one visitor must not stop accepting others
            log.exception("connection not accepted")
            sock.close()


def _keep_alive(sock: socket.socket | None) -> None:
    """Set the options of TCP keep-alive on a socket, where the platform has them."""
    if sock is None:
        return
    for name, value in _settable(KEEPALIVE):
        sock.setsockopt(socket.IPPROTO_TCP, name, value)


def _settable(options: Iterable[tuple[str, int]]) -> Iterable[tuple[int, int]]:
    return ((getattr(socket, name), value) for name, value in options if hasattr(socket, name))
