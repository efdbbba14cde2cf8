"""One tunnel of an agent, across all links of the agent: its settings, addresses, local service and counters."""

import asyncio
import ssl
import time
from collections.abc import Callable
from enum import StrEnum

from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.connector import open_connector
from tunnelctl.agent.errors import AddError
from tunnelctl.agent.exchange import ExchangeLink, UpstreamExchange
from tunnelctl.agent.metrics import Meter, MeterReading, read_meters
from tunnelctl.agent.outcome import Stopped, Trouble, TunnelEnd
from tunnelctl.agent.tap import ExchangeTap, OpenTap
from tunnelctl.agent.tcp import TcpUpstream
from tunnelctl.agent.upstream import Upstream
from tunnelctl.agent.watcher import Exchange, Watcher
from tunnelctl.link.link import Link
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import TYPE_EXCHANGE, OpenHead
from tunnelctl.wire.messages import Bind, Bound, Join
from tunnelctl.wire.stream import Stream
from tunnelctl.wire.texts import is_loopback

MAX_ADDRESSES = 100
"""Maximum addresses of one tunnel's edges that are probed and reported. Further ones are served too."""

LocalService = Upstream | TcpUpstream
"""The local service that a tunnel's visitors are connected to."""


class TunnelState(StrEnum):
    """The state of a tunnel.

    Values:
        BINDING: It is offered to the relay, or waits for a link.
        ONLINE: The relay sends it visitors.
        WAITING: The relay has accepted it, but no edge uses it yet.
        ENDED: It was refused, taken over or removed; see `AgentTunnel.end`.
    """

    BINDING = "binding"
    ONLINE = "online"
    WAITING = "waiting"
    ENDED = "ended"


class AgentTunnel:
    """A tunnel of an agent, from `Agent.add` until it ends.

    Attributes:
        number: Its number within each link.
        config: Its settings.
        upstream: The local service, whose connection pool is kept across links.
        started_at: Unix time of the start.
        bound: The relay's last confirmation; None before. Its host is requested again later, so that the name stays the
            same.
        is_bound: The relay serves it on the current link.
        bindings: Number of links on which it was bound so far.
        ready: Set while visitors reach it: one of its addresses has responded through the current link.
        end: Why it ended; `Stopped` when it was removed, None while it is offered.
        closed: Done when it and its last exchange have ended.
        moved: Set when its addresses have changed.
        told: The addresses that were reported last.
        settled: For a tunnel that is being added: done with the relay's answer, None when it is bound.
        in_flight: Number of exchanges that a visitor waits for. Upgraded connections do not count, as they may last for
            ever.
        idle: Set while `in_flight` is 0.
    """

    __slots__ = (
        "_exchanges", "_open", "_open_tap", "_upgrades", "_watcher", "bindings", "bound", "closed", "config", "end",
        "idle", "in_flight", "is_bound", "moved", "number", "ready", "settled", "started_at", "told", "upstream",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        config: TunnelConfig,
        upstream: LocalService,
        watcher: Watcher,
        open_tap: OpenTap | None = None,
    ) -> None:
        self.number = number
        self.config = config
        self.upstream = upstream
        upstream.on_connected = self._on_connected
        self.started_at = time.time()
        self.bound: Bound | None = None
        self.is_bound = False
        self.bindings = 0
        self.ready = asyncio.Event()
        self.end: TunnelEnd | Stopped | None = None
        self.closed = asyncio.Event()
        self.moved = asyncio.Event()
        self.told: frozenset[str] = frozenset()
        self.settled: asyncio.Future[TunnelEnd | Trouble | None] | None = None
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._watcher = watcher
        self._open_tap = open_tap if config.inspect and not config.is_tcp else None
        self._open: set[Exchange] = set()
        self._exchanges = Meter()
        self._upgrades = Meter()

    # Properties

    @property
    def name(self) -> str:
        """The agent's own name for the tunnel."""
        return self.config.name

    @property
    def state(self) -> TunnelState:
        """The current state of the tunnel."""
        if self.end is not None:
            return TunnelState.ENDED
        if not self.is_bound:
            return TunnelState.BINDING
        return TunnelState.ONLINE if self.urls else TunnelState.WAITING

    @property
    def url(self) -> str:
        """The tunnel's public address, the first of several; "" while there is none."""
        return self.urls[0] if self.urls else ""

    @property
    def urls(self) -> tuple[str, ...]:
        """The public addresses, as the relay last reported."""
        if self.bound is None:
            return ()
        return self.bound.urls[:MAX_ADDRESSES] if self.config.is_joined else (self.bound.url,)

    @property
    def host(self) -> str:
        """The public host for display; before the relay has reported it, the requested name or the tunnel's own."""
        if self.bound is not None and self.bound.host:
            return self.bound.host
        return self.config.host or self.config.subdomain or self.config.name

    @property
    def is_inspected(self) -> bool:
        """Whether the tunnel's exchanges are captured for the inspector."""
        return self._open_tap is not None

    def connections(self, now: float) -> MeterReading:
        """Return counts, rates and durations of all exchanges, HTTP and upgraded connections.

        Args:
            now: Time from `time.monotonic`.
        """
        return read_meters(now, self._exchanges, self._upgrades)

    def http_requests(self, now: float) -> MeterReading:
        """Return counts, rates and durations of HTTP exchanges.

        Upgraded connections are left out, as their durations say nothing about the app.
        """
        return read_meters(now, self._exchanges)

    @property
    def is_being_added(self) -> bool:
        """Whether `Agent.add` waits for the relay's answer."""
        return self.settled is not None and not self.settled.done()

    # Messages to and from the relay

    def claim(self) -> Bind | Join:
        """Return the message that asks the relay to serve this tunnel: a Bind, or a Join for edges."""
        config = self.config
        if config.is_joined:
            return Join(
                tunnel=self.number,
                name=config.name,
                upstream=config.upstream.url,
                labels=config.labels,
                edge=config.edge,
                weight=config.weight,
                metadata=config.metadata,
                inspect=self.is_inspected,
            )
        return Bind(
            tunnel=self.number,
            name=config.name,
            upstream=config.upstream.url,
            subdomain=config.subdomain if self.bound is None else None,
            host=config.host if self.bound is None else self.bound.host,
            policy=config.policy,
            pooling=config.pooling,
            weight=config.weight,
            metadata=config.metadata,
            inspect=self.is_inspected,
            run_token_sha256=config.run_token_sha256,
        )

    def note_bound(self, bound: Bound) -> None:
        """Store the relay's confirmation, or a later change of the addresses."""
        if not self.is_bound:
            self.is_bound = True
            self.bindings += 1
        self.bound = bound
        self.moved.set()
        self.settle(None)

    def note_unbound(self) -> None:
        """Mark the tunnel as not bound: the link is lost, or another agent took its place."""
        self.is_bound = False
        self.ready.clear()
        self.moved.set()

    def settle(self, answer: TunnelEnd | Trouble | None) -> None:
        """Give `Agent.add` the relay's answer, if it waits for this tunnel."""
        if self.settled is not None and not self.settled.done():
            self.settled.set_result(answer)

    def fail(self, error: AddError) -> None:
        """Make `Agent.add` raise this error, if it waits for this tunnel."""
        if self.settled is not None and not self.settled.done():
            self.settled.set_exception(error)

    # Visitors

    def serve(self, link: Link, stream: Stream, opened: OpenHead, fin: bool) -> None:
        """Carry a visitor's exchange to the local service."""
        self._watcher.began(self.config.name)
        if opened.type != TYPE_EXCHANGE:
            meter = self._upgrades
        else:
            meter = self._exchanges
            self.in_flight += 1
            self.idle.clear()
        upstream = self.upstream
        exchange: Exchange
        if self._open_tap is not None and isinstance(upstream, Upstream):
            exchange = upstream.serve(link, stream, opened, fin, self._on_done, self._open_tap(self.name, opened))
        else:
            exchange = upstream.serve(link, stream, opened, fin, self._on_done)
        meter.began(exchange.started)
        if not exchange.is_over:
            self._open.add(exchange)

    def replay(
        self, link: ExchangeLink, stream: Stream, opened: OpenHead, fin: bool, tap: ExchangeTap
    ) -> UpstreamExchange | None:
        """Send a captured request to the local service again.

        The exchange is not counted and causes no events. `close` ends it like those of visitors.

        Returns:
            The exchange; None for a TCP tunnel, and for a closed one.
        """
        if not isinstance(self.upstream, Upstream) or self.closed.is_set():
            return None
        exchange = self.upstream.serve(link, stream, opened, fin, self._open.discard, tap)
        if not exchange.is_over:
            self._open.add(exchange)
        return exchange

    def _on_connected(self, exchange: Exchange) -> None:
        self._watcher.joined(self.config.name, self.config.upstream.authority, exchange)

    def _on_done(self, exchange: Exchange) -> None:
        self._open.discard(exchange)
        if exchange.is_upgrade:
            self._upgrades.ended(exchange.seconds)
        else:
            self._exchanges.ended(exchange.seconds)
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()
        self._watcher.exchange(self.config.name, exchange)

    # Ending

    def finish(self, end: TunnelEnd | Stopped) -> None:
        """End the tunnel: no more visitors come. Running exchanges continue until `close`."""
        self.end = end
        self.note_unbound()

    def close(self, reason: str) -> None:
        """Abort all open exchanges, and close the local service's connections."""
        for exchange in tuple(self._open):
            exchange.abort(Code.NO_ERROR, reason)
        self.upstream.close()
        self.closed.set()


def open_upstream(config: TunnelConfig, tell: Callable[[str], None] = lambda problem: None) -> LocalService:
    """Return the local service of a tunnel; `tell` becomes its `on_change`."""
    address, connector = config.upstream, open_connector(config.upstream)
    if config.is_tcp:
        return TcpUpstream(connector, proxy_protocol=config.proxy_protocol, on_change=tell)
    if address.scheme != "https":
        return Upstream(connector, proxy_protocol=config.proxy_protocol, on_change=tell)
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if not (config.verify_upstream if config.verify_upstream is not None else not is_loopback(address.host)):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return Upstream(connector, tls=context, proxy_protocol=config.proxy_protocol, on_change=tell)
