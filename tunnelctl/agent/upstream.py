"""The local web app: a pool of keep-alive connections, each of which carries one exchange at a time.

There is no task per request: an exchange is a small object between the callbacks of a stream and of a connection. Only
opening a connection needs a task. A service that is down is an expected result (a reset with a code, which the relay
turns into a 502), never an exception.
"""

import asyncio
import select
import ssl
import sys
from collections.abc import Callable
from typing import cast

from tunnelctl.agent.connector import Connector
from tunnelctl.agent.exchange import ExchangeLink, OnDone, UpstreamExchange
from tunnelctl.agent.lastwords import LastWords, connect_tls
from tunnelctl.agent.proxy_header import ProxyVersion, local_header, proxy_header
from tunnelctl.agent.tap import ExchangeTap
from tunnelctl.http1.connection import ResponseReader
from tunnelctl.http1.errors import HttpError
from tunnelctl.link.tcp import is_no_tls, reason
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import OpenHead
from tunnelctl.wire.stream import Stream

MAX_IDLE = 256
"""Maximum idle connections that are kept."""
IDLE_SECONDS = 30.0
FRESH_SECONDS = 1.0
"""Seconds since its last use within which a connection may carry a request that must not be repeated: local servers
close idle connections after as little as two seconds, and a request sent at that moment would be lost."""
WRITE_HIGH = 64 * 1024
TRY_SECONDS = 4.0
"""Maximum seconds of one check whether the service accepts connections; the relay's probe waits slightly longer."""
CHECK_SECONDS = 5.0
"""Seconds between two checks of a service that responds. A check is one connection on this machine; none is made while
an idle connection is kept, as that is closed when the service ends."""
AWAY_SECONDS = 1.0
"""Seconds between two checks of a service that does not respond: a refused local connection costs very little."""
NO_VERIFY = "start with --no-upstream-tls-verify to accept it, or let this machine trust its authority"
NOT_TLS = "give its address as http://"
SPEAKS_TLS = "what listens there speaks TLS; give its address as https://"


class Upstream:
    """A local web app and the connections to it.

    Args:
        connector: Opens connections to the service.
        tls: TLS context; None for plain HTTP.
        proxy_protocol: Version of the PROXY header at the start of each connection, which then carries only one
            exchange.
        connect_timeout: Maximum seconds for connecting.
        on_change: Called when the service begins or ceases to accept connections, with the reason or "".

    Attributes:
        on_connected: Called with an exchange whose connection was opened, before the request is sent.
        problem: Why the service did not accept the last connection; "" when it did, None before the first.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        tls: ssl.SSLContext | None = None,
        proxy_protocol: ProxyVersion = 0,
        connect_timeout: float = 10.0,
        on_change: Callable[[str], None] = lambda problem: None,
    ) -> None:
        self._connector = connector
        self._tls = tls
        self._proxy_protocol = proxy_protocol
        self._connect_timeout = connect_timeout
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._on_change = on_change
        self._was_silent = False
        self.on_connected: Callable[[UpstreamExchange], None] = lambda exchange: None
        self.problem: str | None = None

    async def watch(self) -> None:
        """Check repeatedly whether the service accepts connections, until cancelled."""
        while True:
            if not self._idle:
                await self._try()
            await asyncio.sleep(AWAY_SECONDS if self.problem else CHECK_SECONDS)

    def serve(
        self,
        link: ExchangeLink,
        stream: Stream,
        opened: OpenHead,
        fin: bool,
        on_done: OnDone,
        tap: ExchangeTap | None = None,
    ) -> UpstreamExchange:
        """Carry one exchange, which gets the stream's events from now on.

        Args:
            opened: The decoded OPEN payload.
            fin: The request has no body.
            on_done: Called once, when the exchange has ended.
            tap: Captures the exchange; None for an exchange that is not inspected.
        """
        exchange = UpstreamExchange(link, stream, opened, fin, on_done, tap)
        stream.owner = exchange
        if self._proxy_protocol:
            self.connect(exchange)
            return exchange
        connection = None if exchange.is_last and not exchange.is_upgrade else self._take(exchange.is_repeatable)
        if connection is not None:
            exchange.begin(connection)
        else:
            self.connect(exchange)
        return exchange

    def connect(self, exchange: UpstreamExchange) -> None:
        """Open a new connection for the exchange, or reset the exchange."""
        task = self._loop.create_task(self._connect(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def try_out(self, tell: Callable[[bool], None]) -> None:
        """Check whether the service accepts connections now, for the relay's probe."""
        task = self._loop.create_task(self._try_out(tell))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def close(self) -> None:
        """Close every idle connection, and abandon every attempt to connect."""
        self._is_closed = True
        for task in self._connecting:
            task.cancel()
        for connection in self._idle:
            connection.transport.abort()
        self._idle.clear()
        if self._sweep is not None:
            self._sweep.cancel()

    def give_back(self, connection: "_Connection") -> None:
        """Keep a connection for the next exchange."""
        connection.idle_since = self._loop.time()
        connection.settle_down()
        connection.transport.resume_reading()  # the last exchange may have paused it
        if len(self._idle) < MAX_IDLE and not self._is_closed:
            self._idle.append(connection)
            if self._sweep is None:
                self._sweep = self._loop.call_later(IDLE_SECONDS, self._close_stale)
        else:
            connection.transport.close()

    def note_silence(self) -> None:
        """Record that a new connection was closed without a response, as OpenSSL does for plain HTTP, to check for TLS
        next.
        """
        self._was_silent = self._tls is None

    def forget(self, connection: "_Connection") -> None:
        """Remove an idle connection that the service has closed."""
        if connection in self._idle:
            self._idle.remove(connection)

    def _take(self, is_repeatable: bool) -> "_Connection | None":
        """Return the most recently used connection, which is the least likely to be closing; None without one."""
        while self._idle:
            if not is_repeatable and self._idle[-1].idle_since < self._loop.time() - FRESH_SECONDS:
                return None
            connection = self._idle.pop()
            if connection.is_quiet():
                return connection
            connection.transport.abort()
        return None

    async def _connect(self, exchange: UpstreamExchange) -> None:
        connection = _Connection(self)
        try:
            async with asyncio.timeout(self._connect_timeout):
                if self._proxy_protocol:
                    await self._connect_for_one(connection, exchange)
                elif self._tls is not None and exchange.is_last and not exchange.is_upgrade:
                    await connect_tls(connection, self._connector, self._tls)
                else:
                    await self._connector.connect(lambda: connection, self._tls)
        except OSError as error:  # includes TimeoutError
            problem = connect_problem(error, self._connect_timeout)
            self._note(problem)
            exchange.fail(Code.UPSTREAM_UNREACHABLE, problem)
        else:
            if self.problem != SPEAKS_TLS:  # if it speaks TLS, an accepted connection is no news
                self._note("")
            if exchange.is_over:
                self.give_back(connection)
            else:
                self.on_connected(exchange)
                exchange.begin(connection)

    async def _connect_for_one(self, connection: "_Connection", exchange: UpstreamExchange) -> None:
        """Open a connection that begins with a PROXY header, and so belongs to one visitor's exchange."""
        exchange.is_last = True
        header = proxy_header(self._proxy_protocol, exchange.head, self._connector.port)
        if self._tls is not None:
            await connect_tls(connection, self._connector, self._tls, header)
            return
        transport = await self._connector.connect(lambda: connection)
        transport.write(header)

    async def _try_out(self, tell: Callable[[bool], None]) -> None:
        await self._try()
        tell(not self.problem)

    async def _try(self) -> None:
        """Connect as for an exchange, with TLS: a TLS port would log a bare TCP connection as an error each time."""
        look = _Look(b"" if self._tls else local_header(self._proxy_protocol))
        if self._was_silent:
            self._was_silent = await self._speaks_tls()
            if self._was_silent:
                self._note(SPEAKS_TLS)
                return
        try:
            async with asyncio.timeout(TRY_SECONDS):
                if self._tls is not None and self._proxy_protocol:
                    await connect_tls(_Look(), self._connector, self._tls, local_header(self._proxy_protocol))
                else:
                    await self._connector.connect(lambda: look, self._tls)
        except OSError as error:  # includes TimeoutError
            self._note(connect_problem(error, TRY_SECONDS))
        else:
            self._note("")

    async def _speaks_tls(self) -> bool:
        """Return whether a service that was configured as plain HTTP completes a TLS handshake."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            async with asyncio.timeout(TRY_SECONDS):
                await self._connector.connect(_Look, context)
        except OSError:  # includes TimeoutError
            return False
        return True

    def _note(self, problem: str) -> None:
        """Record the result of the last attempt to connect."""
        before, self.problem = self.problem, problem
        if problem != (before or "") and not self._is_closed:
            self._on_change(problem)

    def _close_stale(self) -> None:
        limit = self._loop.time() - IDLE_SECONDS
        for connection in [each for each in self._idle if each.idle_since <= limit]:
            self._idle.remove(connection)
            connection.transport.close()
        self._sweep = self._loop.call_later(IDLE_SECONDS, self._close_stale) if self._idle else None


def connect_problem(error: OSError, seconds: float) -> str:
    """Return why a connection failed, with advice if there is any."""
    if isinstance(error, TimeoutError) and not error.errno:
        return f"no answer in {seconds:.0f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{reason(error)}; {NO_VERIFY}"
    if isinstance(error, ssl.SSLError) and is_no_tls(error):
        return f"{reason(error)}; {NOT_TLS}"
    return reason(error)


class _Look(asyncio.Protocol):
    """A connection that only tests the service: it closes itself, even if its caller has given up."""

    def __init__(self, header: bytes = b"") -> None:
        self._header = header

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._header:
            cast(asyncio.Transport, transport).write(self._header)
        transport.close()


class _Connection(asyncio.Protocol):
    """A connection to the service, idle or with one exchange.

    Attributes:
        is_fresh: It has not carried an exchange yet.
    """

    __slots__ = ("_last_words", "_watch", "exchange", "idle_since", "is_fresh", "reader", "transport", "upstream")

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.reader = ResponseReader()
        self.exchange: UpstreamExchange | None = None
        self.idle_since = 0.0
        self.is_fresh = True
        self._last_words: LastWords | None = None
        self._watch: Callable[[], object] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's class is not a subclass
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        if transport.get_extra_info("sslcontext") is None:
            self._last_words = LastWords(transport)  # over TLS they must be decrypted, see `CarefulTls`

    def settle_down(self) -> None:
        """Prepare the connection to be idle between exchanges."""
        self.is_fresh = False
        if self._watch is None:
            self._watch = watch_for_bytes(self.transport.get_extra_info("socket").fileno())
            self._let_go()

    def is_quiet(self) -> bool:
        """Return whether no bytes have arrived since the connection became idle, not even bytes that the loop has not
        read yet.

        Bytes without a request would be taken for the response to the next request, which may be another visitor's.
        """
        return not self.transport.is_closing() and self._watch is not None and not self._watch()

    def data_received(self, data: bytes) -> None:
        try:
            self.reader.feed(data)
        except HttpError as error:
            self._fail(f"not an HTTP/1.1 response: {error.detail}")
            return
        if self.reader.is_idle:
            self._settle()

    def eof_received(self) -> bool:
        exchange = self.exchange
        if exchange is None:
            return False
        if exchange.is_tunnelled:
            self.reader.eof()
            exchange.finish_if_done()
            return True  # the visitor's half may continue
        # Decided now: a close waits until the service has read everything, which it may never do.
        self._end(exchange, is_clean=True)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.exchange is None:
            self.upstream.forget(self)
        else:
            if exc is not None:
                self._read_last_words()
            if self.exchange is not None:
                self._end(self.exchange, is_clean=exc is None or ended_before(exc))
        self._let_go()

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.hold_credit()

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.release_credit()

    def abandon(self) -> None:
        """Close the connection, as its exchange was aborted before the response was complete."""
        self.exchange = None
        self.transport.abort()

    def _settle(self) -> None:
        """Finish the exchange, as the response is complete; keep or close the connection."""
        exchange = self.exchange
        if exchange is None:
            self.upstream.forget(self)
            self.transport.close()
            return
        self.exchange = None
        if not exchange.is_sent or self.transport.get_write_buffer_size():
            self.transport.abort()  # a close would wait for the service to read the rest, which it may never do
        elif self.reader.is_reusable and not exchange.is_last and not self.transport.is_closing():
            self.upstream.give_back(self)
        else:
            self.transport.close()
        exchange.over()

    def _end(self, exchange: UpstreamExchange, *, is_clean: bool) -> None:
        """Handle that the service sends no more."""
        if is_clean and self.reader.eof():  # a reset never completes a body, not even one that lasts until the close
            self._settle()
        elif not self.is_fresh and not self.reader.has_begun and exchange.is_repeatable:
            # The keep-alive race: the service closed the connection while the request was on its way (RFC 9112 section
            # 9.3.1).
            self.exchange = None
            self.upstream.connect(exchange)
        elif self.reader.has_begun:
            self._fail("it closed the connection mid-response")
        else:
            if self.is_fresh:
                self.upstream.note_silence()
            told = self.upstream.problem == SPEAKS_TLS
            self._fail(SPEAKS_TLS if told else "it closed the connection without a response")

    def _read_last_words(self) -> None:
        for data in self._last_words or ():
            self.data_received(data)
            if self.exchange is None:
                return

    def _let_go(self) -> None:
        if self._last_words is not None:
            self._last_words.let_go()
            self._last_words = None

    def _fail(self, reason: str) -> None:
        exchange, self.exchange = self.exchange, None
        self.transport.abort()
        if exchange is not None:
            exchange.fail(Code.UPSTREAM_BROKEN, reason)


def watch_for_bytes(number: int) -> Callable[[], object]:
    """Return a function that tells whether the socket with this number has bytes to read, or has ended."""
    if sys.platform == "win32":
        return lambda: select.select([number], [], [], 0)[0]
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return lambda: poll.poll(0)


def ended_before(cut: Exception) -> bool:
    """Return whether a service closed its side (FIN) before the reset that a write has noticed, so that all its bytes
    have arrived.

    Only Linux shows this: a write fails with EPIPE if the FIN came before the reset, and with ECONNRESET if not.
    """
    return sys.platform == "linux" and isinstance(cut, BrokenPipeError)
