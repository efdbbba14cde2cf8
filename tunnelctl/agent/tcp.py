"""A local service that speaks no HTTP: one connection for each visitor's, and nothing looked at in between.

Beside `upstream.py`, which does the same for web apps. How bytes are carried: `link/pipe.py`.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from tunnelctl.agent.connector import Connector
from tunnelctl.agent.proxy_header import ProxyVersion, local_header, proxy_header
from tunnelctl.agent.upstream import AWAY_SECONDS, TRY_SECONDS, connect_problem
from tunnelctl.link.link import Link
from tunnelctl.link.pipe import Pipe
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import OpenHead, pack_head
from tunnelctl.wire.stream import Stream

READ_BYTES = 64 * 1024


class TcpExchange:
    """One visitor's connection, and ours to the local service.

    Attributes: as `UpstreamExchange` has them, for those who count, show and log. It is an upgrade in that no visitor
    waits for its end.
    """

    __slots__ = (
        "_link", "_on_done", "_stream", "code", "head", "is_over", "method", "pipe", "reason", "seconds", "started",
        "status", "target",
    )  # fmt: skip
    is_upgrade = True

    def __init__(
        self, link: Link, stream: Stream, opened: OpenHead, on_done: "Callable[[TcpExchange], None]", buffer: memoryview
    ) -> None:
        self._link = link
        self._stream = stream
        self._on_done = on_done
        self.pipe = Pipe(buffer, self, lost=Code.UPSTREAM_BROKEN)
        self.head = opened.head
        self.method, self.target = b"TCP", b""
        self.status = 0
        self.code: Code | None = None
        self.reason = ""
        self.started = time.monotonic()
        self.seconds = 0.0
        self.is_over = False
        stream.owner = self

    def begin(self) -> None:
        """Tell the relay that the local service is there, and carry bytes."""
        if self.is_over:
            self.pipe.cut(Code.CANCELLED)
            return
        self.status = 200
        self._link.send_head(self._stream, pack_head(200, b""))
        self.pipe.attach(self._link, self._stream)
        self.pipe.start()

    def fail(self, code: Code, reason: str) -> None:
        """End it before it began, and say whose fault that is."""
        if not self.is_over:
            self._link.reset(self._stream, code, reason)
            self._end(code, reason)

    def abort(self, code: Code, reason: str) -> None:
        """End it from this side, both connections."""
        if self.status:
            self.pipe.cut(code, reason)
        else:
            self.fail(code, reason)

    # From the stream, until the local service is there

    def on_head(self, payload: bytes, fin: bool) -> None:
        """Never called: the session refuses a relay's HEAD."""

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        """Refuse bytes that come before our answer, which no relay sends."""
        self.fail(Code.PROTOCOL, "bytes before the connection was there")

    def on_end(self, trailers: bytes) -> None:
        """Refuse an end before our answer, too."""
        self.fail(Code.PROTOCOL, "an end before the connection was there")

    def on_reset(self, code: Code, reason: str) -> None:
        """The visitor has left, or the link was lost."""
        self._end(code, reason)

    def on_writable(self) -> None:
        """Never called: nothing was sent yet."""

    # PipeUser

    def on_connected(self) -> None:
        """Wait for `begin`."""

    def on_answer(self, status: int) -> None:
        """Never called: the relay does not answer."""

    def on_refused(self, code: Code, reason: str) -> None:
        """Never called: the pipe is attached as it starts."""

    def on_moved(self) -> None:
        """The relay ends what is idle for too long."""

    def on_over(self, code: Code | None, reason: str) -> None:
        """Both connections are closed."""
        self._end(code, reason)

    def _end(self, code: Code | None, reason: str) -> None:
        if not self.is_over:
            self.is_over = True
            self.code, self.reason = code, reason
            self.seconds = time.monotonic() - self.started
            self._on_done(self)


class TcpUpstream:
    """One local service.

    Args:
        connector: Opens connections to it.
        proxy_protocol: Version of the PROXY header that begins each connection.
        connect_timeout: Seconds.
        on_change: Told when the service begins or ceases to take connections: why it does not, or "".

    Attributes:
        on_connected: Called with an exchange for which a connection was opened, before it begins on it.
        problem: Why the service took no connection the last time, "" when it did, None before the first.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        proxy_protocol: ProxyVersion = 0,
        connect_timeout: float = 10.0,
        on_change: Callable[[str], None] = lambda problem: None,
    ) -> None:
        self._connector = connector
        self._proxy_protocol = proxy_protocol
        self._connect_timeout = connect_timeout
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._connecting: set[asyncio.Task[None]] = set()
        self._failed = asyncio.Event()
        self._is_closed = False
        self.on_connected: Callable[[TcpExchange], None] = lambda exchange: None
        self.problem: str | None = None

    async def watch(self) -> None:
        """Look once whether the service takes connections, and then only while it does not, until cancelled.

        A web app is looked at every few seconds; an SSH server, for one, would log each look as an attack.
        """
        while True:
            await self._try()
            while self.problem:
                await asyncio.sleep(AWAY_SECONDS)
                await self._try()
            self._failed.clear()
            await self._failed.wait()

    def serve(
        self, link: Link, stream: Stream, opened: OpenHead, fin: bool, on_done: Callable[[TcpExchange], None]
    ) -> TcpExchange:
        """Carry one connection; the stream's events are its from now on. `on_done` is called once, when it is over."""
        exchange = TcpExchange(link, stream, opened, on_done, self._buffer)
        self._begin(self._connect(exchange))
        return exchange

    def try_out(self, tell: Callable[[bool], None]) -> None:
        """Find out whether the service takes connections now, for the relay's probe."""
        self._begin(self._try_out(tell))

    def close(self) -> None:
        """Give up every attempt to connect. Connections that are open go on."""
        self._is_closed = True
        for task in self._connecting:
            task.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, exchange: TcpExchange) -> None:
        seconds = self._connect_timeout
        try:
            async with asyncio.timeout(seconds):
                transport = await self._connector.connect(lambda: exchange.pipe)
        except OSError as error:  # TimeoutError is one
            problem = connect_problem(error, seconds)
            self._note(problem)
            exchange.fail(Code.UPSTREAM_UNREACHABLE, problem)
        except asyncio.CancelledError:
            exchange.fail(Code.NO_ERROR, "the tunnel was stopped")
            raise
        else:
            self._note("")
            if not exchange.is_over:
                self.on_connected(exchange)
            if self._proxy_protocol:
                transport.write(proxy_header(self._proxy_protocol, exchange.head, self._connector.port))
            exchange.begin()

    async def _try_out(self, tell: Callable[[bool], None]) -> None:
        await self._try()
        tell(not self.problem)

    async def _try(self) -> None:
        try:
            async with asyncio.timeout(TRY_SECONDS):
                transport = await self._connector.connect(asyncio.Protocol)
        except OSError as error:  # TimeoutError is one
            self._note(connect_problem(error, TRY_SECONDS))
        else:
            transport.write(local_header(self._proxy_protocol))
            transport.close()
            self._note("")

    def _note(self, problem: str) -> None:
        """What the last attempt to connect came to."""
        before, self.problem = self.problem, problem
        if problem:
            self._failed.set()
        if problem != (before or "") and not self._is_closed:
            self._on_change(problem)
