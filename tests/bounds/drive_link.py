"""Drivers for what the far end of a link makes its near end hold, and for what is shared by both programs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from tests.bounds.driving import drives, measured, table
from tests.link.ends import User
from tunnelctl.bounds import DeclaredBound
from tunnelctl.link.accept import accept
from tunnelctl.link.link import MAX_MESSAGE, Link
from tunnelctl.link.pacing import MAX_FRAMES_PER_TURN
from tunnelctl.memo import Memo
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import OPTIONAL, frame
from tunnelctl.wire.messages import SUBPROTOCOL
from tunnelctl.wire.session import Session
from tunnelctl.wire.window import Budget

HANDSHAKE = (
    b"GET /_tunnel/connect HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: " + SUBPROTOCOL.encode() + b"\r\n\r\n"
)
SKIPPED = frame(OPTIONAL | 40, 0, b"")
"""A frame that says nothing to whom does not know its kind."""
READ = 256 * 1024
"""Bytes that the loop reads of a socket at once."""


class StuckSocket(asyncio.Transport):
    """Takes everything that is written, and sends nothing of it on."""

    def __init__(self) -> None:
        super().__init__({})
        self.written = 0
        self.reads, self.is_over = True, False
        self.link: Link

    def write(self, data: Any) -> None:
        self.written += len(data)

    def get_write_buffer_size(self) -> int:
        return self.written

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """All is taken."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """It is the link."""

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_reading(self) -> bool:
        return self.reads

    def is_closing(self) -> bool:
        return self.is_over

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.link.connection_lost(None)


class CountingSession(Session):
    """Counts what it is given to read."""

    count = 0

    def receive_data(self, data: bytes | bytearray | memoryview, now: float, max_frames: int = 1 << 30) -> int:
        self.count += bool(data)
        return super().receive_data(data, now, max_frames)


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, StuckSocket, User]]:
    """The relay's end of a link, in memory."""
    user, socket = User(), StuckSocket()
    ws, _ = accept(HANDSHAKE)
    socket.link = user.link = link = Link(Session(opens=True), user)
    link.take_over(socket, ws)
    yield link, socket, user
    socket.abort()


def sent(payload: bytes, opcode: Opcode = Opcode.BINARY) -> bytes:
    return Frame(opcode, payload).serialize(mask=True)


@drives("bytes of a link that wait to be read")
async def drive_unread(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message of many small frames that comes to its end at the start of a read, and behind it as much again."""
    message = sent(SKIPPED * (MAX_MESSAGE // len(SKIPPED)))
    flood = message[-1:] + sent(SKIPPED) * (READ // (len(SKIPPED) + 6))
    async with linked() as (link, socket, _):
        with measured() as memory:
            link.data_received(message[:READ])
            link.data_received(message[READ:-1])
            assert socket.reads
            link.data_received(flood)
            assert not socket.reads
            assert len(table(link, bound)) <= MAX_FRAMES_PER_TURN
            assert memory.taken <= bound.worst_bytes


@drives("bytes handed to a link's socket ahead of the peer")
async def drive_unsent(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelctl.link.link.MAX_IDLE_FRAMES", 1_000_000)  # as over a day
    async with linked() as (link, socket, user):
        while not user.closed:
            link.data_received(sent(b"x" * 125, Opcode.PING))
            assert socket.written <= bound.limit + 256
        assert user.closed[0][0] is Code.LIMIT


@drives("frames read in one turn of the loop")
async def drive_frames(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    async with linked() as (link, _, _):
        link.session = counting = CountingSession(opens=True)
        link.data_received(sent(SKIPPED) * (10 * bound.limit))
        assert bound.limit // 2 <= counting.count <= bound.limit


@drives("websocket frames that carry nothing")
async def drive_idle(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    async with linked() as (link, _, user):
        for number in range(2 * bound.limit):
            assert not user.closed or number >= bound.limit
            link.data_received(sent(b""))
        assert user.closed[0][0] is Code.LIMIT


@drives("growth of all links' windows")
def drive_growth(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Budget(bound.limit)
    links = [Budget(bound.limit // 10, relay) for _ in range(20)]
    grown = sum(link.take(1 << 20) for link in links for _ in range(bound.limit >> 20))
    assert bound.limit - (20 << 20) <= grown << 20 == relay.used <= bound.limit


@drives("one memory of what peers send again and again (host names, field names, cookies), of a dozen")
def drive_memo(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (60, 900):
        memo: Memo[bytes, bytes] = Memo(lambda key: key + b"x", max_bytes=1_000)
        with measured() as memory:
            for number in range(2 * bound.limit):
                memo[b"%06d" % number + b"k" * size]
                assert len(memo) <= bound.limit
            assert memory.most <= bound.worst_bytes
