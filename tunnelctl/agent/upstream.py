"""The local service: pooled keep-alive connections, and one exchange of a link's stream on each.

No task per request: an exchange is a small object between two callbacks, the stream's and the connection's. Only
opening a connection waits, and that has a task. A service that is down is an answer (a reset that says so, which the
relay turns into a 502), never an exception.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from struct import Struct
from typing import cast

from tunnelctl.http1.body import Field, Piece, encode_chunk, encode_trailers
from tunnelctl.http1.connection import ResponseReader
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.fields import to_lines
from tunnelctl.http1.head import ResponseHead
from tunnelctl.link.link import Link
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import BODY_CHUNKED, TYPE_UPGRADE, OpenHead
from tunnelctl.wire.stream import Stream

log = logging.getLogger("tunnelctl.agent")

MAX_IDLE = 256
"""Connections kept for the next exchange."""
IDLE_SECONDS = 30.0
FRESH_SECONDS = 1.0
"""A request that must not be sent twice only gets a connection used this recently: local servers close idle ones after
as little as two seconds, and losing that race would lose the request."""
QUEUE_HIGH = 256 * 1024
"""Bytes of response waiting for credit before the service is no longer read."""
WRITE_HIGH = 64 * 1024
_REPEATABLE = (b"GET", b"HEAD", b"OPTIONS")
_STATUS = Struct(">H")


class Upstream:
    """One local service.

    Args:
        host, port: Where it listens.
        tls: None for plain TCP.
        connect_timeout: Seconds.
    """

    def __init__(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None, connect_timeout: float = 10.0
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self.active = 0

    def serve(self, link: Link, stream: Stream, opened: OpenHead, fin: bool, on_done: "OnDone") -> None:
        """Carry one exchange; the stream's events are its from now on.

        Args:
            opened: The OPEN payload.
            fin: The request ended with its head.
            on_done: Called once, when the exchange is over.
        """
        exchange = Exchange(self, link, stream, opened, fin, on_done)
        stream.owner = exchange
        self.active += 1
        connection = self._take(exchange.is_repeatable)
        if connection is not None:
            exchange.begin(connection)
        else:
            self.connect(exchange)

    def connect(self, exchange: "Exchange") -> None:
        """Give the exchange a new connection, or reset it."""
        task = self._loop.create_task(self._connect(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def close(self) -> None:
        """Drop every idle connection and every attempt."""
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
        if len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
            if self._sweep is None:
                self._sweep = self._loop.call_later(IDLE_SECONDS, self._close_stale)
        else:
            connection.transport.close()

    def forget(self, connection: "_Connection") -> None:
        """An idle connection was closed by the service."""
        if connection in self._idle:
            self._idle.remove(connection)

    def _take(self, is_repeatable: bool) -> "_Connection | None":
        """The connection used last: it is the least likely to be closing."""
        if not self._idle:
            return None
        if not is_repeatable and self._idle[-1].idle_since < self._loop.time() - FRESH_SECONDS:
            return None
        return self._idle.pop()

    async def _connect(self, exchange: "Exchange") -> None:
        connection = _Connection(self)
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._loop.create_connection(
                    lambda: connection,
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
        except TimeoutError:
            exchange.fail(Code.UPSTREAM_UNREACHABLE, f"no answer in {self._connect_timeout:.0f} s")
        except OSError as error:
            exchange.fail(Code.UPSTREAM_UNREACHABLE, _reason(error))
        else:
            if exchange.is_over:
                self.give_back(connection)
            else:
                exchange.begin(connection)

    def _close_stale(self) -> None:
        limit = self._loop.time() - IDLE_SECONDS
        for connection in [each for each in self._idle if each.idle_since <= limit]:
            self._idle.remove(connection)
            connection.transport.close()
        self._sweep = self._loop.call_later(IDLE_SECONDS, self._close_stale) if self._idle else None


class _Connection(asyncio.Protocol):
    """One connection to the service, idle or with one exchange."""

    __slots__ = ("exchange", "idle_since", "is_fresh", "reader", "transport", "upstream")

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.reader = ResponseReader()
        self.exchange: Exchange | None = None
        self.idle_since = 0.0
        self.is_fresh = True
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)

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
        if exchange is not None and exchange.is_tunnelled:
            self.reader.eof()
            exchange.finish_if_done()
            return True  # the visitor's half may go on
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        exchange = self.exchange
        if exchange is None:
            self.upstream.forget(self)
        elif self.reader.eof():
            self._settle()
        elif not self.is_fresh and not self.reader.has_begun and exchange.is_repeatable:
            # The keep-alive race: the service closed while the request was on its way (RFC 9112 section 9.3.1).
            self.exchange = None
            self.upstream.connect(exchange)
        else:
            self._fail(
                "it closed the connection " + ("mid-response" if self.reader.has_begun else "without a response")
            )

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.hold_credit()

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.release_credit()

    def abandon(self) -> None:
        """The exchange is over before its response: the connection is of no more use."""
        self.exchange = None
        self.transport.abort()

    def _settle(self) -> None:
        """The response is complete."""
        exchange = self.exchange
        if exchange is None:
            self.transport.close()
            return
        self.exchange = None
        self.is_fresh = False
        if self.reader.is_reusable and exchange.is_sent and not self.transport.is_closing():
            self.upstream.give_back(self)
        else:
            self.transport.close()
        exchange.over()

    def _fail(self, reason: str) -> None:
        exchange, self.exchange = self.exchange, None
        self.transport.abort()
        if exchange is not None:
            exchange.fail(Code.UPSTREAM_BROKEN, reason)


class Exchange:
    """One request and its response between a stream and a connection.

    Attributes:
        method, target: Of the request, for whoever shows or logs it.
        status: Of the final response, 0 while there is none.
        code: Why it failed, None when it did not.
        seconds: Duration once it is over.
        is_sent: The whole request has been handed to the connection.
        is_over: Nothing more will happen.
    """

    __slots__ = (
        "_body", "_connection", "_holds_credit", "_is_chunked", "_link", "_on_done", "_owed", "_stream", "_trailers",
        "_upstream", "code", "head", "is_over", "is_repeatable", "is_sent", "is_tunnelled", "is_upgrade", "method",
        "reason", "seconds", "started", "status", "target",
    )  # fmt: skip

    def __init__(
        self, upstream: Upstream, link: Link, stream: Stream, opened: OpenHead, fin: bool, on_done: "OnDone"
    ) -> None:
        self._upstream = upstream
        self._link = link
        self._stream = stream
        self._on_done = on_done
        self._connection: _Connection | None = None
        self._is_chunked = opened.framing == BODY_CHUNKED
        self._body: list[Piece] | None = None  # what came before there was a connection
        self._trailers = b""
        self._owed = 0
        self._holds_credit = False
        self.head = opened.head
        self.method, self.target = opened.head.split(b" ", 2)[:2]
        self.is_upgrade = opened.type == TYPE_UPGRADE
        self.is_sent = fin
        self.is_repeatable = fin and self.method in _REPEATABLE
        self.is_tunnelled = False
        self.is_over = False
        self.status = 0
        self.code: Code | None = None
        self.reason = ""
        self.started = time.monotonic()
        self.seconds = 0.0

    def begin(self, connection: _Connection) -> None:
        """Send the request on this connection."""
        self._connection = connection
        connection.exchange = self
        connection.reader.start(self.method, self)
        connection.transport.write(self.head + b"\r\n")
        if self._body is not None:
            body, self._body = self._body, None
            for data in body:
                self._write(data)
        if self.is_sent and self._is_chunked:
            connection.transport.write(encode_trailers(self._trailers))

    # From the stream

    def on_head(self, payload: bytes, fin: bool) -> None:
        """Only the answering side sends HEAD: the session refuses it."""

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        """A piece of the request's body, or of an upgraded connection's bytes."""
        if self._connection is None:
            self._body = self._body or []
            self._body.append(bytes(data))
        elif data:
            self._write(data)
        if fin:
            self.on_end(b"")

    def on_end(self, trailers: bytes) -> None:
        """The request is complete."""
        self.is_sent = True
        self._trailers = trailers
        connection = self._connection
        if connection is None:
            return
        if self._is_chunked:
            connection.transport.write(encode_trailers(trailers))
        elif self.is_tunnelled:
            if connection.transport.can_write_eof():
                connection.transport.write_eof()
            else:
                connection.transport.close()
            self.finish_if_done()

    def on_reset(self, code: Code, reason: str) -> None:
        """The visitor is gone, or the link."""
        self.code = code
        self.reason = reason
        if self._connection is not None:
            self._connection.abandon()
        self.over()

    def on_writable(self) -> None:
        """The response has drained into the link."""
        if self._connection is not None:
            self._connection.transport.resume_reading()

    # From the connection

    def head_received(self, head: ResponseHead, fin: bool) -> None:
        """See `ResponseSink.head_received`."""
        if head.status >= 200 or head.status == 101:
            self.status = head.status
            self.is_tunnelled = head.status == 101 and self.is_upgrade
            if head.status == 101 and not self.is_upgrade:
                raise HttpError("bad_request", "it switched protocols unasked")
        self._link.send_head(self._stream, _STATUS.pack(head.status) + head.lines, fin)

    def body(self, data: Piece, fin: bool) -> None:
        """See `ResponseSink.body`."""
        stream = self._stream
        self._link.send_data(stream, data, fin)
        if stream.queued > QUEUE_HIGH and self._connection is not None:
            self._connection.transport.pause_reading()

    def end_received(self, trailers: list[Field]) -> None:
        """See `ResponseSink.end_received`."""
        self._link.end(self._stream, to_lines(trailers))

    def hold_credit(self) -> None:
        """The service reads more slowly than the visitor sends."""
        self._holds_credit = True

    def release_credit(self) -> None:
        """The service has read what it was sent."""
        self._holds_credit = False
        owed, self._owed = self._owed, 0
        if owed:
            self._link.consumed(self._stream, owed)

    def fail(self, code: Code, reason: str) -> None:
        """End the exchange with a reset that says whose fault it was."""
        if self.is_over:
            return
        self.code = code
        self.reason = reason
        self._link.reset(self._stream, code, reason)
        self.over()

    def finish_if_done(self) -> None:
        """An upgraded connection ends when both halves have."""
        connection = self._connection
        if connection is not None and self.is_sent and connection.reader.is_idle:
            connection.exchange = None
            connection.transport.close()
            self.over()

    def over(self) -> None:
        """Nothing more will happen."""
        if self.is_over:
            return
        self.is_over = True
        self._upstream.active -= 1
        self.seconds = time.monotonic() - self.started
        if not self._stream.is_closed and not self.is_sent:
            # The service answered without reading the whole request: what still comes is thrown away.
            self._stream.owner = None
        self._on_done(self)

    def _write(self, data: Piece) -> None:
        connection = self._connection
        assert connection is not None
        if self._is_chunked:
            connection.transport.writelines(encode_chunk(data))
        else:
            connection.transport.write(data)
        self._owed += len(data)
        if not self._holds_credit:
            self.release_credit()


OnDone = Callable[[Exchange], None]


def _reason(error: OSError) -> str:
    """What a person needs of an OSError: asyncio's own text repeats the address."""
    return (error.strerror or str(error) or type(error).__name__).lower()
