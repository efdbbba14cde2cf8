"""A local service that is not a web app: each visitor gets one connection, whose bytes are not interpreted.

The counterpart of `upstream.py`, which serves web apps. `link/pipe.py` carries the bytes.
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
OWN_API = "it is the agent's own local API, which has no credentials and is not for visitors"


class TcpExchange:
    """A visitor's connection, joined to one to the local service.

    It has the attributes of `UpstreamExchange` for counting, display and logs. It counts as an upgrade, as no visitor
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
        """Tell the relay that the local service is connected, and start to copy bytes."""
        if self.is_over:
            self.pipe.cut(Code.CANCELLED)
            return
        self.status = 200
        self._link.send_head(self._stream, pack_head(200, b""))
        self.pipe.attach(self._link, self._stream)
        self.pipe.start()

    def fail(self, code: Code, reason: str) -> None:
        """Reset the stream before copying began, with a code that says which side failed."""
        if not self.is_over:
            self._link.reset(self._stream, code, reason)
            self._end(code, reason)

    def abort(self, code: Code, reason: str) -> None:
        """Close both connections."""
        if self.status:
            self.pipe.cut(code, reason)
        else:
            self.fail(code, reason)

    # Events of the stream, before the local service is connected

    def on_head(self, payload: bytes, fin: bool) -> None:
        """Never called: the session refuses a HEAD frame from the relay."""

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        """Refuse bytes that arrive before our response, which no relay sends."""
        self.fail(Code.PROTOCOL, "bytes before the connection was there")

    def on_end(self, trailers: bytes) -> None:
        """Refuse the end of the stream before our response."""
        self.fail(Code.PROTOCOL, "an end before the connection was there")

    def on_reset(self, code: Code, reason: str) -> None:
        """End, as the visitor has disconnected, or the link was lost."""
        self._end(code, reason)

    def on_writable(self) -> None:
        """Never called, as nothing was sent yet."""

    # PipeUser

    def on_connected(self) -> None:
        """Do nothing, and wait for `begin`."""

    def on_answer(self, status: int) -> None:
        """Never called, as the relay sends no response."""

    def on_refused(self, code: Code, reason: str) -> None:
        """Never called, as the pipe starts as soon as it is attached."""

    def on_moved(self) -> None:
        """Do nothing: the relay ends idle connections."""

    def on_over(self, code: Code | None, reason: str) -> None:
        """End, as both connections are closed."""
        self._end(code, reason)

    def _end(self, code: Code | None, reason: str) -> None:
        if not self.is_over:
            self.is_over = True
            self.code, self.reason = code, reason
            self.seconds = time.monotonic() - self.started
            self._on_done(self)


class TcpUpstream:
    """A local TCP service.

    Args:
        connector: Opens connections to the service.
        proxy_protocol: Version of the PROXY header at the start of each connection.
        connect_timeout: Maximum seconds for connecting.
        on_change: Called when the service begins or ceases to accept connections, with the reason or "".

    Attributes:
        on_connected: Called with an exchange whose connection was opened, before bytes are copied.
        is_own_api: Returns whether a connection leads to the agent's local API. Visitors get no such connection: the
            API takes requests without X-Forwarded-For for those of this machine's users.
        problem: Why the service did not accept the last connection; "" when it did, None before the first.
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
        self.is_own_api: Callable[[asyncio.BaseTransport], bool] = lambda transport: False
        self.problem: str | None = None

    async def watch(self) -> None:
        """Check once whether the service accepts connections, and repeat only while it does not, until cancelled.

        A web app is checked every few seconds, but an SSH server would log each check as an attack.
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
        """Carry one connection, which gets the stream's events from now on.

        `on_done` is called once, when it has ended.
        """
        exchange = TcpExchange(link, stream, opened, on_done, self._buffer)
        self._begin(self._connect(exchange))
        return exchange

    def try_out(self, tell: Callable[[bool], None]) -> None:
        """Check whether the service accepts connections now, for the relay's probe."""
        self._begin(self._try_out(tell))

    def close(self) -> None:
        """Abandon every attempt to connect. Open connections continue."""
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
        except OSError as error:  # includes TimeoutError
            problem = connect_problem(error, seconds)
            self._note(problem)
            exchange.fail(Code.UPSTREAM_UNREACHABLE, problem)
        except asyncio.CancelledError:
            exchange.fail(Code.NO_ERROR, "the tunnel was stopped")
            raise
        else:
            self._note("")
            if self.is_own_api(transport):
                exchange.fail(Code.UPSTREAM_UNREACHABLE, OWN_API)
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
        except OSError as error:  # includes TimeoutError
            self._note(connect_problem(error, TRY_SECONDS))
        else:
            transport.write(local_header(self._proxy_protocol))
            transport.close()
            self._note("")

    def _note(self, problem: str) -> None:
        """Record the result of the last attempt to connect."""
        before, self.problem = self.problem, problem
        if problem:
            self._failed.set()
        if problem != (before or "") and not self._is_closed:
            self._on_change(problem)
