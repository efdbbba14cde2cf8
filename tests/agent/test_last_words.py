"""An app behind TLS that answers an upload before it has read it, and cuts the connection: its answer is passed on.

The app is a TLS server on blocking sockets, as `http.server` and gunicorn's workers are.
"""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import uvloop

from tests.agent.test_upstream import Scene, Service, status
from tests.link.ends import Owner, linked
from tests.support.certificates import Authority
from tests.support.waiting import PATIENCE
from tunnelctl.agent.connector import TcpConnector
from tunnelctl.agent.upstream import Upstream
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import BODY_LENGTH

Run = Callable[[Coroutine[Any, Any, None]], None]
POST = b"POST /upload HTTP/1.1\r\nHost: demo\r\nContent-Length: %d\r\n"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a test on either loop: agents have uvloop's where there is one."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@pytest.fixture(scope="module")
def server_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path_factory.mktemp("ca")).issue("localhost"))
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class CuttingServer:
    """Accepts one connection, reads a request's head, answers when it may, and cuts; then `is_over`."""

    def __init__(self, context: ssl.SSLContext, answer: bytes, *, ends_first: bool) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.may_answer, self.is_over = threading.Event(), threading.Event()
        self._context, self._answer, self._ends_first = context, answer, ends_first
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with self.listener:
            plain, _ = self.listener.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # the cut is not to overtake the answer here
        with self._context.wrap_socket(plain, server_side=True) as connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            self.may_answer.wait(PATIENCE)
            connection.sendall(self._answer)
            if self._ends_first:
                connection.settimeout(0)
                with suppress(OSError):
                    connection.unwrap()  # sends its close_notify, and does not wait for the other side's
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_over.set()


@asynccontextmanager
async def behind(port: int) -> AsyncIterator[Scene]:
    async with linked() as (relay, agent):
        upstream = Upstream(TcpConnector("127.0.0.1", port), tls=trusting())
        yield Scene(relay, agent, upstream, Service())
        upstream.close()


async def connected(s: Scene) -> Any:
    """The connection to the service that carries the one exchange there is."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for stream in s.agent_link.session.streams:
                if stream.owner is not None and stream.owner.connection is not None:
                    return stream.owner.connection
            await asyncio.sleep(0)


@pytest.mark.parametrize("loop_reads_first", [True, False])
@pytest.mark.parametrize(
    ("answer", "ends_first", "is_whole"),
    [
        (b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig", False, True),
        (b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig", True, True),
        (b"HTTP/1.0 413 Too Large\r\n\r\nbig", True, True),
        (b"HTTP/1.0 413 Too Large\r\n\r\nbig", False, False),  # a cut is no end: who knows what was cut off
        (b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\nbig", True, False),
        (b"HTTP/1.1 413 Too Large\r\nContent-Length: 40003\r\n\r\nbig" + b"!" * 40_000, False, True),
    ],
    ids=["counted", "counted-ended", "until-the-end", "until-the-cut", "cut-short", "long"],
)
def test_what_an_app_answered_over_tls_before_it_cut_the_connection_is_passed_on(
    run: Run, server_context: ssl.SSLContext, answer: bytes, ends_first: bool, is_whole: bool, loop_reads_first: bool
) -> None:
    async def test() -> None:
        server = CuttingServer(server_context, answer, ends_first=ends_first)
        async with behind(server.port) as s:
            owner = s.ask(POST % 1_000_000, framing=BODY_LENGTH, fin=False)
            connection = await connected(s)
            if not loop_reads_first:
                raw = connection.transport._ssl_protocol._transport  # noqa: SLF001  # asyncio names it nowhere else
                raw.pause_reading()
            server.may_answer.set()
            await asyncio.to_thread(server.is_over.wait, PATIENCE)
            for _ in range(4):
                s.send(owner, b"x" * 1000)
                await s.settled(lambda: owner.reset)
            await owner.until(lambda: owner.is_ended or owner.reset is not None)

            assert (status(owner), bytes(owner.data)[:3]) == (413, b"big")
            assert owner.is_ended == is_whole
            assert connection.transport.is_closing()
        server.thread.join(PATIENCE)

    run(test())


def test_a_tls_service_that_cuts_without_a_word_is_a_502_and_one_that_is_away_too(
    run: Run,
    server_context: ssl.SSLContext,
) -> None:
    async def test() -> None:
        server = CuttingServer(server_context, b"", ends_first=False)
        server.may_answer.set()
        async with behind(server.port) as s:
            owner = s.ask(POST % 5, framing=BODY_LENGTH, fin=False)
            await owner.until(lambda: owner.reset is not None)
            assert owner.reset is Code.UPSTREAM_BROKEN
            server.thread.join(PATIENCE)
            owner = s.ask(POST % 5, framing=BODY_LENGTH, fin=False)
            await owner.until(lambda: owner.reset is not None)
            assert owner.reset is Code.UPSTREAM_UNREACHABLE

    run(test())


class Refusing(BaseHTTPRequestHandler):
    """Refuses every upload unread."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.send_response(413)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"refused")
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""


class Echoing(Refusing):
    """Reads every upload, and says how long it was."""

    def do_POST(self) -> None:
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", str(len(str(size))))
        self.end_headers()
        self.wfile.write(str(size).encode())


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext) -> Iterator[int]:
    """Python's own server, over TLS."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """The cut is no news."""

    server = Quiet(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE)


async def uploaded(s: Scene, size: int) -> Owner:
    owner = s.ask(POST % size, framing=BODY_LENGTH, fin=False)
    s.send(owner, b"x" * size, fin=True)
    await owner.until(lambda: owner.is_ended or owner.reset is not None)
    return owner


@pytest.mark.parametrize("size", [60_000, 3_000_000])
def test_uploads_that_http_server_refuses_over_tls_are_all_answered(
    run: Run, server_context: ssl.SSLContext, size: int
) -> None:
    async def test() -> None:
        with http_server(Refusing, server_context) as port:
            async with behind(port) as s:
                owners = [await uploaded(s, size) for _ in range(20)]
        assert [(status(each), bytes(each.data)) for each in owners] == [(413, b"refused")] * 20

    run(test())


def test_uploads_over_tls_arrive_whole(run: Run, server_context: ssl.SSLContext) -> None:
    async def test() -> None:
        with http_server(Echoing, server_context) as port:
            async with behind(port) as s:
                owners = [await uploaded(s, size) for size in (1, 70_000, 5_000_000)]
        assert [bytes(each.data) for each in owners] == [b"1", b"70000", b"5000000"]

    run(test())
