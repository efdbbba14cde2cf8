"""What tests of the public side hold in their hands: a relay, an agent behind it, and visitors' sockets."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.support.raw_http import RawConnection, Response, connect, request_bytes
from tests.support.scripted_agent import Asked, ScriptedAgent
from tests.support.waiting import PATIENCE, turns
from tunnelctl.link.link import Link
from tunnelrelay.app.relay import Relay
from tunnelrelay.ingress.connection import VisitorConnection
from tunnelrelay.ingress.ingress import Ingress
from tunnelrelay.observe.access import ExchangeRecord
from tunnelrelay.registry.endpoint import Endpoint

HOST = "demo.localhost"
GET = request_bytes("GET", "/", host=HOST)


class Clock:
    """A clock that a test can put forward, and stop.

    Args:
        base: The true one.

    Attributes:
        ahead: Seconds by which it was put forward.
    """

    def __init__(self, base: Callable[[], float] = time.time) -> None:
        self.ahead = 0.0
        self._base = base
        self._stands_at: float | None = None

    def __call__(self) -> float:
        return self.ahead + (self._base() if self._stands_at is None else self._stands_at)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It stands, but for what `ahead` is put to; afterwards it goes on from there."""
        self._stands_at = stood_at = self._base()
        try:
            yield
        finally:
            self._stands_at = None
            self.ahead -= self._base() - stood_at


class Scene:
    """See the module.

    Attributes:
        log: What the access log was given since the test began.
    """

    def __init__(self, relay: Relay, agent: ScriptedAgent, log: list[ExchangeRecord]) -> None:
        self.relay = relay
        self.agent = agent
        self.log = log
        assert relay.http is not None
        self.port = relay.http[1]

    @property
    def clock(self) -> Clock:
        """The relay's; every test begins with the true time."""
        assert isinstance(self.relay.clock, Clock)
        return self.relay.clock

    @property
    def monotonic(self) -> Clock:
        """The relay's seconds, by which limits fill again and things grow old; they are never put back."""
        assert isinstance(self.relay.monotonic, Clock)
        return self.relay.monotonic

    @asynccontextmanager
    async def visitor(self) -> AsyncIterator[RawConnection]:
        async with connect(self.port) as visitor:
            yield visitor

    async def fetch(self, data: bytes = GET, *, method: str = "GET") -> Response:
        """One answer to exactly these bytes."""
        async with self.visitor() as visitor:
            await visitor.send(data)
            return await visitor.response(method)

    async def exchange(self, visitor: RawConnection, data: bytes = GET) -> Asked:
        """Sends a request and returns what the agent was asked."""
        await visitor.send(data)
        return await self.agent.next()

    async def fetch_answered(self) -> Response:
        """One answer of the agent's, on a connection of its own."""
        async with self.visitor() as visitor:
            asked = await self.exchange(visitor)
            asked.answer()
            return await visitor.response()

    async def fetch_answered_by_last(self) -> Response:
        """The same where requests that nobody answered have come before."""
        self.agent.answers = lambda asked: asked.answer()
        return await self.fetch()

    @property
    def relay_link(self) -> Link:
        """The relay's end of the agent's link."""
        (link,) = {tunnel.link for endpoint in self.relay.registry for tunnel in endpoint.tunnels}
        assert isinstance(link, Link)
        return link

    async def lose_agent(self) -> Endpoint:
        """The agent vanishes, and the relay has noticed."""
        endpoint = self.relay.registry.find(HOST)
        assert endpoint is not None
        await self.agent.vanish()
        await self.turns(lambda: not endpoint.tunnels)
        return endpoint

    async def visit(self, visitor: RawConnection) -> VisitorConnection:
        """A visitor's connection as the relay sees it."""
        port = visitor.writer.get_extra_info("sockname")[1]
        await self.turns(lambda: self._visits_from(port))
        return self._visits_from(port)[0]

    def _visits_from(self, port: int) -> list[VisitorConnection]:
        return [visit for visit in connections(self.relay.ingress) if visit.connected_peer.port == port]

    async def turns(self, holds: Callable[[], object]) -> None:
        """Let the loop turn until `holds()`."""
        await turns(holds)

    def pass_time(self, seconds: float) -> None:
        """The relay's deadlines, looked at so many seconds from now."""
        with self.later(seconds):
            self.relay.ingress.sweep()

    @contextmanager
    def later(self, seconds: float) -> Iterator[None]:
        ingress = self.relay.ingress
        now = ingress.now
        at = now() + seconds
        ingress.now = lambda: at
        try:
            yield
        finally:
            ingress.now = now


def connections(ingress: Ingress) -> list[VisitorConnection]:
    """Visitors' connections, the oldest first."""
    return [visitor for visitor in ingress.visitors if isinstance(visitor, VisitorConnection)]


def error_of(response: Response) -> str:
    """The error code of the relay's own answer."""
    return response.get("tunnel-error") or ""


def reset(visitor: RawConnection) -> None:
    """The visitor's machine cuts the connection."""
    sock = visitor.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    visitor.writer.transport.abort()


async def closed_without_clean_end(visitor: RawConnection) -> bytes:
    """What came until the connection ended, however it did."""
    data = b""
    try:
        async with asyncio.timeout(PATIENCE):
            while piece := await visitor.reader.read(65536):
                data += piece
    except ConnectionError:
        pass
    return data
