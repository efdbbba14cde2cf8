"""The local service: pooled connections, whose fault a failure is, and bounded memory on both sides.

The service is a scripted TCP server; the link is a real one, over loopback, with the test at the relay's end.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.link.ends import Owner, User, linked
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE
from tunnelctl.agent.connector import TcpConnector
from tunnelctl.agent.exchange import QUEUE_HIGH, UpstreamExchange
from tunnelctl.agent.upstream import Upstream
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import (
    BODY_CHUNKED,
    BODY_LENGTH,
    BODY_NONE,
    TYPE_EXCHANGE,
    TYPE_UPGRADE,
    pack_open,
    unpack_head,
    unpack_open,
)

MIB = 1 << 20
GET = b"GET / HTTP/1.1\r\nHost: demo\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Service:
    """A local service: one script for each connection, in order; the last serves all that follow."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        self.heads: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.writers.append(writer)
        self.connections += 1
        task = asyncio.ensure_future(self._converse(script, reader, writer))
        self._tasks.add(task)

    async def _converse(self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await script(reader, writer)
        finally:
            writer.close()

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head

    async def closed(self) -> None:
        """Returns once every script has ended, and its connection with it."""
        await asyncio.gather(*self._tasks)
        for writer in self.writers:
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Scene:
    """A relay's end of a link, an agent's upstream behind it, and the exchanges that ended."""

    def __init__(self, relay: User, agent: User, upstream: Upstream, service: Service) -> None:
        self.relay = relay
        self.agent = agent
        self.agent_link = agent.link
        self.upstream = upstream
        self.service = service
        self.done: list[UpstreamExchange] = []
        agent.greet = lambda stream: None
        serve = agent.on_opened

        def on_opened(stream, payload, fin):
            serve(stream, payload, fin)
            upstream.serve(agent.link, stream, unpack_open(payload), fin, self.done.append)

        agent.on_opened = on_opened

    def ask(
        self, head: bytes = GET, *, kind: int = TYPE_EXCHANGE, framing: int = BODY_NONE, fin: bool = True,
        keeps: bool = False,
    ) -> Owner:  # fmt: skip
        owner = Owner(self.relay.link, keeps=keeps)
        owner.stream = self.relay.link.open(pack_open(1, kind, framing, head), owner=owner, fin=fin)
        return owner

    async def answer(self, head: bytes = GET, **kwargs: object) -> Owner:
        owner = self.ask(head, **kwargs)
        await owner.until(lambda: owner.is_ended or owner.reset is not None)
        return owner

    async def under_way(self) -> UpstreamExchange:
        """The one exchange there is, once the service has it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = [stream.owner for stream in self.agent_link.session.streams]
                if found and self.service.writers and found[0].connection is not None:
                    return found[0]
                await asyncio.sleep(0)

    async def settled(self, measure: Callable[[], object]) -> None:
        """Returns once `measure()` stays the same over a round trip of the link, twice."""
        same = 0
        while same < 3:
            before = measure()
            for user in (self.relay, self.agent):
                count = len(user.pongs)
                user.link.ping()
                await user.until(lambda user=user, count=count: len(user.pongs) > count)
            same = same + 1 if measure() == before else 0

    def send(self, owner: Owner, data: bytes, *, fin: bool = False) -> None:
        self.relay.link.send_data(owner.stream, data, fin)


@asynccontextmanager
async def scene(
    *scripts: Script, service: Service | None = None, port: int = 0, connect_timeout: float = 10.0, **more: Any
) -> AsyncIterator[Scene]:
    service = service or Service(*scripts)
    server = await asyncio.start_server(service.connected, "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    async with linked() as (relay, agent):
        upstream = Upstream(TcpConnector("127.0.0.1", port or service.port), connect_timeout=connect_timeout, **more)
        yield Scene(relay, agent, upstream, service)
        upstream.close()
    server.close()
    await service.stop()


def status(owner: Owner) -> int:
    return unpack_head(owner.heads[-1])[0]


def answers(*responses: bytes) -> Script:
    """Reads a request's head, answers; then the next."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for response in responses:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(response)
            await writer.drain()

    return script


async def always_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)


# The pool


async def test_one_connection_serves_one_exchange_after_another():
    async with scene(always_ok) as s:
        for _ in range(5):
            owner = await s.answer()
            assert (status(owner), bytes(owner.data)) == (200, b"ok")

        assert s.service.connections == 1
        assert [exchange.status for exchange in s.done] == [200] * 5


async def test_exchanges_at_the_same_time_have_connections_of_their_own():
    async with scene(always_ok) as s:
        owners = [s.ask() for _ in range(8)]
        for owner in owners:
            await owner.until(lambda owner=owner: owner.is_ended)

        assert s.service.connections == 8


async def test_a_connection_that_will_close_is_not_used_again():
    close = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    async with scene(answers(close, close)) as s:
        await s.answer()
        await s.answer()

        assert s.service.connections == 2


async def hang_up_on_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await answers(OK)(reader, writer)
    await reader.readuntil(b"\r\n\r\n")


async def test_the_keep_alive_race_is_run_again_for_a_get():
    async with scene(hang_up_on_the_second, always_ok) as s:
        await s.answer()
        owner = await s.answer()

        assert (owner.reset, bytes(owner.data)) == (None, b"ok")
        assert s.service.connections == 2
        assert [exchange.code for exchange in s.done] == [None, None]


async def test_a_post_is_never_sent_twice():
    async with scene(hang_up_on_the_second, always_ok) as s:
        await s.answer()
        owner = await s.answer(b"POST / HTTP/1.1\r\nHost: demo\r\nContent-Length: 0\r\n")

        assert owner.reset is Code.UPSTREAM_BROKEN
        assert s.service.connections == 1


async def test_a_get_on_a_new_connection_is_not_sent_twice_either():
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with scene(hang_up) as s:
        owner = await s.answer()

        assert owner.reset is Code.UPSTREAM_BROKEN
        assert s.done[0].reason == "it closed the connection without a response"
        assert s.service.connections == 1


async def test_what_must_not_be_sent_twice_gets_a_connection_used_just_now_or_a_new_one(monkeypatch):
    post = b"POST / HTTP/1.1\r\nHost: demo\r\nContent-Length: 0\r\n"
    async with scene(always_ok) as s:
        await s.answer()
        await s.answer(post)
        assert s.service.connections == 1
        monkeypatch.setattr("tunnelctl.agent.upstream.FRESH_SECONDS", -1.0)
        await s.answer(post)
        assert s.service.connections == 2
        await s.answer()

        assert s.service.connections == 2


async def test_idle_connections_are_closed_after_a_while(monkeypatch):
    monkeypatch.setattr("tunnelctl.agent.upstream.IDLE_SECONDS", 0.0)
    closed = asyncio.Event()

    async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers(OK)(reader, writer)
        assert await reader.read() == b""
        closed.set()

    async with scene(until_closed) as s:
        await s.answer()
        await asyncio.wait_for(closed.wait(), PATIENCE)
        await s.answer()

        assert s.service.connections == 2


async def test_an_idle_connection_on_which_the_service_talks_is_not_used_again():
    talk, talked = asyncio.Event(), asyncio.Event()

    async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers(OK)(reader, writer)
        await talk.wait()
        writer.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        await reader.read()
        talked.set()

    async with scene(talkative, always_ok) as s:
        await s.answer()
        talk.set()
        await asyncio.wait_for(talked.wait(), PATIENCE)
        owner = await s.answer()

        assert status(owner) == 200
        assert s.service.connections == 2


POST = b"POST / HTTP/1.1\r\nHost: demo\r\nContent-Length: %d\r\n"
FORGED = b"GET /admin HTTP/1.1\r\nHost: demo\r\nX-Tunnel-User: boss\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "framing"),
    [
        (POST % len(FORGED), BODY_LENGTH),
        (b"POST / HTTP/1.1\r\nHost: demo\r\nExpect: 100-continue\r\nContent-Length: %d\r\n" % len(FORGED), BODY_LENGTH),
        (b"POST / HTTP/1.1\r\nHost: demo\r\nTransfer-Encoding: chunked\r\n", BODY_CHUNKED),
        (b"GET / HTTP/1.1\r\nHost: demo\r\nContent-Length: %d\r\n" % len(FORGED), BODY_LENGTH),
        (b"HEAD / HTTP/1.1\r\nHost: demo\r\nContent-Length: %d\r\n" % len(FORGED), BODY_LENGTH),
    ],
    ids=["post", "expect", "chunked", "get", "head"],
)
@pytest.mark.parametrize("is_warm", [False, True])
async def test_a_body_that_the_app_leaves_unread_is_never_the_next_request(head, framing, is_warm):
    service = Service()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await service.head(reader)
            writer.write(OK if not head.startswith(b"HEAD") else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            if b"Connection: close" in head:
                return

    service.scripts.append(script)
    async with scene(service=service) as s:
        if is_warm:
            await s.answer()
        owner = s.ask(head, framing=framing, fin=False)
        s.send(owner, FORGED, fin=True)
        await owner.until(lambda: owner.is_ended)
        await s.answer()

        assert [line.partition(b" HTTP")[0] for line in service.heads][is_warm:] == [
            head.partition(b" HTTP")[0],
            b"GET /",
        ]
        assert service.heads[is_warm].endswith(b"\r\nConnection: close\r\n\r\n")


async def test_what_a_request_without_a_body_leaves_behind_is_used_again_and_a_request_with_one_takes_its_own():
    async with scene(always_ok) as s:
        for _ in range(3):
            await s.answer()
            owner = s.ask(POST % 3, framing=BODY_LENGTH, fin=False)
            s.send(owner, b"abc", fin=True)
            await owner.until(lambda owner=owner: owner.is_ended)

        assert s.service.connections == 4


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: demo\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
    ids=["head", "304", "204"],
)
async def test_a_body_that_comes_late_where_none_may_be_is_never_the_next_answer(head, answer):
    asked, said = asyncio.Event(), asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers(answer)(reader, writer)
        await asked.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        said.set()

    async with scene(late, always_ok) as s:
        first = await s.answer(head)
        owner = s.ask()
        asked.set()
        await owner.until(lambda: owner.is_ended or owner.reset is not None)
        await asyncio.wait_for(said.wait(), PATIENCE)

        assert (status(first), bytes(owner.data)) == (unpack_head(first.heads[-1])[0], b"ok")


async def test_an_answer_that_waits_unread_on_an_idle_connection_is_not_taken_for_the_next_ones():
    """Both the unasked answer and the next request are here before the loop looks: the request must not win."""
    async with scene(always_ok) as s:
        await s.answer()
        serve = s.agent.on_opened

        def on_opened(stream, payload, fin):
            s.service.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            serve(stream, payload, fin)

        s.agent.on_opened = on_opened
        owner = await s.answer()

        assert bytes(owner.data) == b"ok"
        assert s.service.connections == 2


# Whose fault


async def test_a_service_that_is_down_is_unreachable_in_words():
    async with scene(always_ok, port=free_port()) as s:
        owner = await s.answer()

        assert owner.reset is Code.UPSTREAM_UNREACHABLE
        assert s.done[0].reason == "connection refused"


async def test_a_service_that_does_not_take_the_connection_in_time_is_unreachable(monkeypatch):
    async def hang(*args: object, **kwargs: object) -> None:
        await asyncio.Event().wait()

    async with scene(always_ok, connect_timeout=0.01) as s:
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", hang)
        owner = await s.answer()

        assert owner.reset is Code.UPSTREAM_UNREACHABLE


async def test_garbage_is_a_broken_service():
    async with scene(answers(b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n")) as s:
        owner = await s.answer()

        assert owner.reset is Code.UPSTREAM_BROKEN
        assert s.done[0].reason.startswith("not an HTTP/1.1 response")


async def test_a_response_that_is_cut_short_is_not_ended_cleanly():
    async with scene(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")) as s:
        owner = await s.answer()

        assert (status(owner), owner.is_ended, owner.reset) == (200, False, Code.UPSTREAM_BROKEN)
        assert s.done[0].reason == "it closed the connection mid-response"


async def test_a_body_until_the_close_ends_with_it():
    async with scene(answers(b"HTTP/1.1 200 OK\r\n\r\nabc")) as s:
        owner = await s.answer()

        assert (bytes(owner.data), owner.is_ended) == (b"abc", True)


async def test_a_body_until_the_close_is_not_ended_by_a_reset():
    cut = asyncio.Event()

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers(b"HTTP/1.1 200 OK\r\n\r\nabc")(reader, writer)
        await cut.wait()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # its close is a reset

    async with scene(reset) as s:
        owner = s.ask()
        await owner.until(lambda: owner.data)
        cut.set()
        await owner.until(lambda: owner.is_ended or owner.reset is not None)

        assert (owner.is_ended, owner.reset) == (False, Code.UPSTREAM_BROKEN)


async def test_a_switch_of_protocols_nobody_asked_for_is_refused():
    async with scene(answers(b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")) as s:
        owner = await s.answer()

        assert (owner.heads, owner.reset) == ([], Code.UPSTREAM_BROKEN)


# Bodies


def keeping(bodies: list[bytes], size: int) -> Script:
    """Reads that much of a body, then answers."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        bodies.append(await reader.readexactly(size))
        writer.write(OK)

    return script


async def test_a_body_that_comes_before_there_is_a_connection_arrives_whole():
    bodies: list[bytes] = []
    async with scene(keeping(bodies, 200_000)) as s:
        head = b"POST / HTTP/1.1\r\nHost: demo\r\nContent-Length: 200000\r\n"
        owner = s.ask(head, framing=BODY_LENGTH, fin=False)
        s.send(owner, bytes(range(250)) * 800, fin=True)
        await owner.until(lambda: owner.is_ended)

        assert bodies == [bytes(range(250)) * 800]


async def test_a_chunked_body_is_chunked_again_with_its_trailers():
    seen = asyncio.Queue()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.put_nowait(await reader.readuntil(b"abc\r\n\r\n"))
        writer.write(OK)

    async with scene(script) as s:
        head = b"POST / HTTP/1.1\r\nHost: demo\r\nTransfer-Encoding: chunked\r\n"
        owner = s.ask(head, framing=BODY_CHUNKED, fin=False)
        s.send(owner, b"hello")
        s.relay.link.end(owner.stream, b"Checksum: abc\r\n")
        await owner.until(lambda: owner.is_ended)

        assert seen.get_nowait() == b"5\r\nhello\r\n0\r\nChecksum: abc\r\n\r\n"


async def test_an_answer_before_the_body_has_come_is_passed_on_and_the_rest_thrown_away():
    async with scene(answers(OK), always_ok) as s:
        head = b"POST / HTTP/1.1\r\nHost: demo\r\nContent-Length: 1000000\r\n"
        owner = s.ask(head, framing=BODY_LENGTH, fin=False)
        await owner.until(lambda: owner.is_ended)
        s.send(owner, b"x" * 1_000_000, fin=True)
        await s.answer()

        assert s.service.connections == 2
        assert (await s.answer()).reset is None
        assert len(s.done) == 3


async def test_trailers_and_interim_heads_come_through():
    response = (
        b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nChecksum: abc\r\n\r\n"
    )
    async with scene(answers(response)) as s:
        owner = await s.answer()

        assert [unpack_head(head)[0] for head in owner.heads] == [103, 200]
        assert owner.is_ended


def cutting(answer: bytes, *, ends_first: bool) -> Script:
    """Answers an upload, and closes without having read it: the system cuts the connection behind the answer."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        transport = writer.transport
        transport.pause_reading()
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.write(answer)
        if ends_first:
            writer.write_eof()

    return script


@pytest.mark.parametrize("loop_reads_first", [True, False])
@pytest.mark.parametrize(
    ("answer", "ends_first", "is_whole"),
    [
        (b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig", False, True),
        (b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig", True, True),
        (b"HTTP/1.0 413 Too Large\r\n\r\nbig", True, True),
        (b"HTTP/1.0 413 Too Large\r\n\r\nbig", False, False),  # who knows what was cut off
        (b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\nbig", True, False),
    ],
    ids=["counted", "counted-ended", "until-the-end", "until-the-cut", "cut-short"],
)
async def test_what_an_app_answered_before_it_cut_the_connection_is_passed_on(
    answer, ends_first, is_whole, loop_reads_first
):
    async with scene(cutting(answer, ends_first=ends_first)) as s:
        owner = s.ask(POST % 1_000_000, framing=BODY_LENGTH, fin=False)
        transport = (await s.under_way()).connection.transport
        if not loop_reads_first:
            transport.pause_reading()
        await s.service.closed()
        s.send(owner, b"x" * 1000)
        await owner.until(lambda: owner.is_ended or owner.reset is not None)

        assert (status(owner), bytes(owner.data)) == (413, b"big")
        assert owner.is_ended == is_whole
        assert transport.is_closing()


async def test_a_service_that_ends_in_the_middle_and_reads_nothing_more_is_not_waited_for():
    over = asyncio.Event()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        writer.write_eof()
        await over.wait()

    async with scene(half) as s:
        owner = s.ask(POST % (8 * MIB), framing=BODY_LENGTH, fin=False)
        s.send(owner, b"x" * 8 * MIB, fin=True)
        await owner.until(lambda: owner.reset is not None)
        over.set()

        assert owner.reset is Code.UPSTREAM_BROKEN
        assert s.done[0].reason == "it closed the connection mid-response"


# Backpressure


async def test_a_visitor_that_does_not_read_stops_the_service_from_being_read():
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * MIB)
            await writer.drain()
            sent += MIB

    async with scene(endless, always_ok) as s:
        owner = s.ask(keeps=True)
        await owner.until(lambda: len(owner.data) >= 64 * 1024)
        for _ in range(5):
            await s.answer()  # each a round trip through the same link
        (stream,) = [stream for stream in s.agent_link.session.streams if stream.queued]

        assert stream.queued <= QUEUE_HIGH + 256 * 1024
        assert sent < 16 * MIB
        s.relay.link.reset(owner.stream, Code.CANCELLED)


async def test_a_service_that_does_not_read_stops_the_visitor():
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await asyncio.Event().wait()

    async with scene(deaf) as s:
        head = b"POST / HTTP/1.1\r\nHost: demo\r\nContent-Length: 100000000\r\n"
        owner = s.ask(head, framing=BODY_LENGTH, fin=False)
        s.send(owner, b"x" * 32 * MIB)
        await s.settled(lambda: owner.stream.queued)

        assert owner.stream.queued > 16 * MIB
        s.relay.link.reset(owner.stream, Code.CANCELLED)


async def test_a_connection_that_was_stopped_for_one_visitor_is_read_for_the_next():
    big = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (400_000) + b"x" * 400_000
    async with scene(answers(big, OK)) as s:
        stalled = s.ask(keeps=True)
        await stalled.until(lambda: len(stalled.data) >= 64 * 1024)
        await s.settled(lambda: len(s.done))
        owner = await s.answer()

        assert bytes(owner.data) == b"ok"
        assert s.service.connections == 1
        s.relay.link.reset(stalled.stream, Code.CANCELLED)


async def test_a_visitor_that_leaves_a_finished_answer_does_not_cut_the_next_exchange():
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    held = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers(big)(reader, writer)
        await reader.readuntil(b"\r\n\r\n")
        await held.wait()
        writer.write(OK)

    async with scene(script) as s:
        stalled = s.ask(keeps=True)
        await stalled.until(lambda: len(stalled.data) >= 64 * 1024)
        await s.settled(lambda: len(s.done))
        owner = s.ask()
        await s.settled(lambda: len(s.agent_link.session.streams))
        s.relay.link.reset(stalled.stream, Code.CANCELLED)
        await s.settled(lambda: len(s.agent_link.session.streams))
        held.set()
        await owner.until(lambda: owner.is_ended or owner.reset is not None)

        assert (owner.reset, bytes(owner.data), s.service.connections) == (None, b"ok", 1)


async def test_a_visitor_that_leaves_takes_its_connection_along():
    dropped = asyncio.Event()

    async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        await reader.read()
        dropped.set()

    async with scene(held) as s:
        owner = s.ask()
        await owner.until(lambda: owner.data)
        s.relay.link.reset(owner.stream, Code.CANCELLED)
        with suppress(ConnectionError):
            await asyncio.wait_for(dropped.wait(), PATIENCE)

        assert [exchange.code for exchange in s.done] == [Code.CANCELLED]


async def test_a_visitor_that_leaves_before_there_is_a_connection_leaves_it_to_the_next():
    async with scene(always_ok) as s:
        gone = s.ask()
        s.relay.link.reset(gone.stream, Code.CANCELLED)
        owner = await s.answer()

        assert owner.reset is None
        assert len(s.done) <= 2


# Upgrades

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: demo\r\nConnection: Upgrade\r\nUpgrade: echo\r\n"
SWITCHED = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echoes, and has the last word after the other side's half-close."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(SWITCHED)
    while data := await reader.read(1000):
        writer.write(data)
    writer.write(b"goodbye")


async def test_after_a_switch_bytes_pass_both_ways_and_each_half_ends_by_itself():
    async with scene(echo) as s:
        owner = s.ask(UPGRADE, kind=TYPE_UPGRADE, fin=False)
        await owner.until(lambda: owner.heads)
        s.send(owner, b"GET / HTTP/1.1\r\n\r\n")
        await owner.until(lambda: len(owner.data) == 18)
        s.send(owner, b"", fin=True)
        await owner.until(lambda: owner.is_ended)

        assert bytes(owner.data) == b"GET / HTTP/1.1\r\n\r\ngoodbye"
        assert [exchange.status for exchange in s.done] == [101]
        assert s.relay.link.stream_count == 0


async def test_a_half_that_ended_before_the_switch_is_ended_after_it():
    async with scene(echo) as s:
        owner = s.ask(UPGRADE, kind=TYPE_UPGRADE, fin=False)
        s.relay.link.end(owner.stream)
        await owner.until(lambda: owner.is_ended)

        assert bytes(owner.data) == b"goodbye"


async def test_a_service_that_ends_its_half_first_still_hears_the_visitor():
    heard = asyncio.Queue()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED + b"bye")
        writer.write_eof()
        heard.put_nowait(await reader.read())

    async with scene(half) as s:
        owner = s.ask(UPGRADE, kind=TYPE_UPGRADE, fin=False)
        await owner.until(lambda: owner.is_ended)
        s.send(owner, b"last words", fin=True)

        assert await asyncio.wait_for(heard.get(), PATIENCE) == b"last words"


async def test_what_comes_before_the_switch_waits_for_it():
    seen, answer = asyncio.Queue(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(0):  # what is here already, and nothing that comes later
                seen.put_nowait(await reader.read(1000))
        writer.write(SWITCHED)
        writer.write(await reader.readexactly(len(FORGED)))

    async with scene(script) as s:
        owner = s.ask(UPGRADE, kind=TYPE_UPGRADE, fin=False)
        s.send(owner, FORGED[:10])
        s.send(owner, FORGED[10:])
        await s.settled(lambda: len(s.agent_link.session.streams))
        answer.set()
        await owner.until(lambda: len(owner.data) == len(FORGED))

        assert (seen.empty(), bytes(owner.data)) == (True, FORGED)
        s.relay.link.reset(owner.stream, Code.CANCELLED)


async def test_what_was_meant_for_another_protocol_does_not_reach_an_app_that_stays_with_http():
    service = Service()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await service.head(reader)
            writer.write(OK)

    service.scripts.append(script)
    async with scene(service=service) as s:
        owner = s.ask(UPGRADE, kind=TYPE_UPGRADE, fin=False)
        s.send(owner, FORGED)
        s.relay.link.end(owner.stream)
        await owner.until(lambda: owner.is_ended)
        await s.answer()

        assert [head.partition(b" HTTP")[0] for head in service.heads] == [b"GET /ws", b"GET /"]
        assert service.connections == 2


async def test_an_upgrade_that_is_refused_is_an_ordinary_answer():
    async with scene(answers(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), always_ok) as s:
        owner = await s.answer(UPGRADE, kind=TYPE_UPGRADE, fin=False)
        assert (status(owner), bytes(owner.data)) == (403, b"no")
        await s.answer()

        assert s.service.connections == 2


async def test_closing_drops_what_is_idle_and_keeps_nothing_that_comes_back():
    async with scene(always_ok) as s:
        await s.answer()
        owner = s.ask()
        await s.settled(lambda: len(s.agent_link.session.streams))
        s.upstream.close()
        await owner.until(lambda: owner.is_ended or owner.reset is not None)
        await asyncio.wait_for(s.service.closed(), PATIENCE)

        assert s.agent_link.stream_count == 0
