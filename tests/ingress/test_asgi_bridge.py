"""Streams of the relay's own pages through the ingress: they last, they wait for their reader, they end."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ingress.scene import connections
from tests.support.raw_http import RawConnection, Response, connect, request_bytes
from tests.support.world import World, world
from tunnelrelay.ingress import asgi_bridge
from tunnelrelay.ingress.asgi_bridge import AsgiBridge
from tunnelrelay.ingress.connection import VisitorConnection
from tunnelrelay.ingress.ingress import NO_DEADLINE

HOST = "dashboard.localhost"
GET = request_bytes("GET", "/events", host=HOST)
CHUNK, CHUNKS = 64 * 1024, 512
"""32 MB: more than all the buffers on the way."""
MAX_WAITING = 1024 * 1024

Send = Callable[[Any], Awaitable[None]]


async def begin(send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await say(send, b"data: hello\n\n")


async def say(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


class QuietApp:
    """Says hello, and then nothing more.

    Attributes:
        is_over: It has been told that nobody listens any more.
    """

    def __init__(self) -> None:
        self.is_over = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        await begin(send)
        while (await receive())["type"] != "http.disconnect":
            pass
        self.is_over.set()


def visits(w: World) -> list[VisitorConnection]:
    return [visit for visit in connections(w.relay.ingress) if visit.exchange is not None]


async def greeted(visitor: RawConnection) -> None:
    await visitor.send(GET)
    assert (await visitor.head()).get("transfer-encoding") == "chunked"
    assert await visitor.read(18) == b"d\r\ndata: hello\n\n\r\n"


async def test_no_deadline_ends_a_stream_that_is_silent(tmp_path: Path):
    async with world(tmp_path) as w:
        w.relay.ingress.asgi_bridge = AsgiBridge(QuietApp())
        async with connect(w.port) as visitor:
            await greeted(visitor)

            assert [visit.deadline for visit in visits(w)] == [NO_DEADLINE]


async def test_a_page_waits_for_a_visitor_that_does_not_read(tmp_path: Path):
    waiting: list[int] = []
    is_held = asyncio.Event()

    async def talkative(scope: Any, receive: Any, send: Send) -> None:
        await begin(send)
        for _ in range(CHUNKS):
            await say(send, b"x" * CHUNK)
            (visit,) = visits(w)
            waiting.append(visit.transport.get_write_buffer_size())
            if visit.is_paused:
                is_held.set()
        await send({"type": "http.response.body", "body": b""})

    async with world(tmp_path) as w:
        w.relay.ingress.asgi_bridge = AsgiBridge(talkative)
        async with connect(w.port) as visitor:
            await greeted(visitor)
            await is_held.wait()
            body = b"".join([chunk async for chunk in visitor.chunks(Response(200, "", []))])

    assert len(body) == CHUNK * CHUNKS
    assert max(waiting) < MAX_WAITING


async def test_a_stream_ends_whole_and_at_once_when_the_relay_stops(tmp_path: Path):
    app = QuietApp()
    async with world(tmp_path, drain_seconds=600.0) as w:
        w.relay.ingress.asgi_bridge = AsgiBridge(app)
        async with connect(w.port) as visitor:
            await greeted(visitor)
            await w.relay.stop()

            assert await visitor.rest() == b"0\r\n\r\n"
        await app.is_over.wait()


async def test_a_page_that_hears_nothing_of_the_end_is_over_when_the_relay_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(asgi_bridge, "CLOSE_SECONDS", (0.0, 60.0))
    steps: list[str] = []

    async def deaf(scope: Any, receive: Any, send: Send) -> None:
        try:
            await begin(send)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # gives something back
            steps.append("the page is over")

    async with world(tmp_path, drain_seconds=600.0) as w:
        w.relay.ingress.asgi_bridge = AsgiBridge(deaf)
        close = w.relay.store.close

        async def noted() -> None:
            steps.append("the store is closed")
            await close()

        monkeypatch.setattr(w.relay.store, "close", noted)
        async with connect(w.port) as visitor:
            await greeted(visitor)
            await w.relay.stop()

        assert steps == ["the page is over", "the store is closed"]


async def test_a_page_is_told_that_its_visitor_has_gone(tmp_path: Path):
    app = QuietApp()
    async with world(tmp_path) as w:
        w.relay.ingress.asgi_bridge = AsgiBridge(app)
        async with connect(w.port) as visitor:
            await greeted(visitor)
            # A reset; with a mere end of what it sends, a visitor may still listen for a while.
            sock = visitor.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            visitor.writer.transport.abort()

            await app.is_over.wait()
