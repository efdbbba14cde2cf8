"""Both ends of a link over a real loopback socket, and users that write down what they hear."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from websockets.frames import Frame, Opcode

from tests.support.waiting import PATIENCE
from tunnelctl.link.accept import accept
from tunnelctl.link.dial import dial
from tunnelctl.link.link import HEARTBEAT, Link
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import pack_head, pack_open
from tunnelctl.wire.messages import ReceivedMessage
from tunnelctl.wire.session import Session
from tunnelctl.wire.stream import Stream
from tunnelctl.wire.window import Budget

REQUEST = pack_open(1, 0, 0, b"GET / HTTP/1.1\r\nHost: demo\r\n")
OK = pack_head(200, b"Server: app\r\n")


def websocket(payload: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True) -> bytes:
    """One websocket frame as the agent's end sends it."""
    return Frame(opcode, payload, fin).serialize(mask=True)


class Heard:
    """Wakes whoever waits for something to have been heard."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def note(self) -> None:
        self._changed.set()

    async def until(self, holds: Callable[[], object]) -> None:
        """Returns once `holds()` is true; looked at whenever something was heard."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


class Owner(Heard):
    """A stream's owner. Consumes at once unless told to keep what comes."""

    def __init__(self, link: Link, stream: Stream | None = None, *, keeps: bool = False) -> None:
        super().__init__()
        self.link = link
        self.stream = stream
        self.keeps = keeps
        self.heads: list[bytes] = []
        self.data = bytearray()
        self.is_ended = False
        self.reset: Code | None = None
        self.writables = 0

    def on_head(self, payload: bytes, fin: bool) -> None:
        self.heads.append(payload)
        self.is_ended |= fin
        self.note()

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        self.data += data
        self.is_ended |= fin
        if not self.keeps and self.stream is not None:
            self.link.consumed(self.stream, len(data))
        self.note()

    def on_end(self, trailers: bytes) -> None:
        self.is_ended = True
        self.note()

    def on_reset(self, code: Code, reason: str) -> None:
        self.reset = code
        self.note()

    def on_writable(self) -> None:
        self.writables += 1
        self.note()


class User(Heard):
    """A link's user. Streams that the peer opens get an `Owner`, or what `greet` does with them."""

    def __init__(self) -> None:
        super().__init__()
        self.link: Link
        self.opened: list[Stream] = []
        self.abouts: list[tuple[Stream, bytes]] = []
        self.messages: list[ReceivedMessage] = []
        self.pongs: list[float] = []
        self.went_away: Code | None = None
        self.closed: list[tuple[Code, str]] = []
        self.greet: Callable[[Stream], None] = self._own

    def on_about(self, stream: Stream, payload: bytes) -> None:
        self.abouts.append((stream, payload))
        self.note()

    def on_opened(self, stream: Stream, payload: bytes, fin: bool) -> None:
        self.opened.append(stream)
        self.greet(stream)
        self.note()

    def _own(self, stream: Stream) -> None:
        stream.owner = Owner(self.link, stream)

    def on_message(self, message: ReceivedMessage) -> None:
        self.messages.append(message)
        self.note()

    def on_pong(self, rtt: float) -> None:
        self.pongs.append(rtt)
        self.note()

    def on_go_away(self, code: Code, reason: str) -> None:
        self.went_away = code
        self.note()

    def on_closed(self, code: Code, reason: str) -> None:
        self.closed.append((code, reason))
        self.note()


class Door(asyncio.Protocol):
    """The relay's door: answers one handshake, then gives the connection to a link."""

    def __init__(self, user: User, heartbeat: float, budget: Budget | None = None) -> None:
        self._user = user
        self._heartbeat = heartbeat
        self._budget = budget
        self._head = b""
        self.requests: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        head, end, ahead = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        ws, answer = accept(head + end)
        link = self._user.link = Link(Session(opens=True, budget=self._budget), self._user, heartbeat=self._heartbeat)
        # Answer and first message leave in one write, so that they mostly arrive in one read.
        self.transport.write(answer)
        link.take_over(self.transport, ws, ahead)
        self._user.note()


@asynccontextmanager
async def linked(*, heartbeat: float = HEARTBEAT, budget: Budget | None = None) -> AsyncIterator[tuple[User, User]]:
    """The relay's user and the agent's, each with its `link`. Both links are closed at the end."""
    relay, agent = User(), User()
    server = await asyncio.get_running_loop().create_server(lambda: Door(relay, heartbeat, budget), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        agent.link = await dial(f"http://127.0.0.1:{port}", user=agent, timeout=PATIENCE, heartbeat=heartbeat)
        await relay.until(lambda: hasattr(relay, "link"))
        yield relay, agent
    finally:
        server.close()
        for user in (relay, agent):
            if hasattr(user, "link"):
                user.link.close(Code.NO_ERROR)
                await user.until(lambda user=user: user.closed)
        await server.wait_closed()


async def exchange(relay: User, agent: User, *, keeps: bool = False) -> tuple[Owner, Owner]:
    """Opens a stream and answers its head. Returns the relay's owner and the agent's."""
    near = Owner(relay.link, keeps=keeps)
    count = len(agent.opened)
    near.stream = relay.link.open(REQUEST, owner=near, fin=False)
    await agent.until(lambda: len(agent.opened) > count)
    far = agent.opened[-1]
    agent.link.send_head(far, OK)
    await near.until(lambda: near.heads)
    return near, far.owner
