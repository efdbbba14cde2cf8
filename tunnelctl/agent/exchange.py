"""Carries one HTTP exchange between a stream of a link and a connection to the local service."""

import asyncio
import time
from collections.abc import Callable
from struct import Struct
from typing import Protocol

from tunnelctl.agent.tap import ExchangeTap
from tunnelctl.http1.body import Field, Piece, encode_chunk, encode_trailers
from tunnelctl.http1.connection import ResponseReader
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.fields import to_lines
from tunnelctl.http1.head import ResponseHead
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import BODY_CHUNKED, TYPE_UPGRADE, OpenHead
from tunnelctl.wire.stream import Stream

QUEUE_HIGH = 256 * 1024
"""Bytes of a response queued for credit above which the local service is not read."""
CLOSE = b"Connection: close\r\n\r\n"
"""The end of a request's head if its connection carries no further request (see `UpstreamExchange.is_last`)."""
_REPEATABLE = (b"GET", b"HEAD", b"OPTIONS")
_STATUS = Struct(">H")


class ExchangeLink(Protocol):
    """The methods of a link that an exchange needs; `link.link.Link` has them.

    A replay implements them without a relay.
    """

    def send_head(self, stream: Stream, payload: bytes, fin: bool = False) -> None:
        """Send the head of the response."""

    def send_data(self, stream: Stream, data: Piece, fin: bool = False) -> None:
        """Send a piece of the response's body."""

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """End the response after its body."""

    def reset(self, stream: Stream, code: Code, reason: str = "") -> None:
        """Abort the exchange before the response is complete."""

    def consumed(self, stream: Stream, size: int) -> None:
        """Return credit for consumed bytes of the request's body."""


class UpstreamCarrier(Protocol):
    """The methods of a connection that an exchange needs."""

    transport: asyncio.Transport
    reader: ResponseReader
    exchange: "UpstreamExchange | None"

    def abandon(self) -> None:
        """Close the connection, as its exchange was aborted before the response was complete."""


class UpstreamExchange:
    """One request and its response, between a stream and a connection.

    Attributes:
        connection: The connection to the local service; None before and after the exchange.
        method, target: Method and target of the request, for display and logs.
        status: Status of the final response; 0 before it.
        code: Reason of a failure; None without one.
        seconds: Duration, set at the end.
        is_sent: The whole request has been written to the connection.
        is_last: The connection carries no further exchange. This is set for a request with a body: an app may respond
            without reading it (Python's `http.server` does), and would then take the body for the next request, with
            any identity it claims. `Connection: close` tells the app not to read another request, and no response
            proves that a body was read. It is also set for a response that may be followed by an unexpected body, which
            would be read as the next response.
        is_over: The exchange has ended.
        tap: Captures the exchange; None for an exchange that is not inspected.
    """

    __slots__ = (
        "_body", "_holds_credit", "_is_chunked", "_link", "_on_done", "_owed", "_stream", "_trailers", "code",
        "connection", "head", "is_last", "is_over", "is_repeatable", "is_sent", "is_tunnelled", "is_upgrade", "method",
        "reason", "seconds", "started", "status", "tap", "target",
    )  # fmt: skip

    def __init__(
        self,
        link: ExchangeLink,
        stream: Stream,
        opened: OpenHead,
        fin: bool,
        on_done: "OnDone",
        tap: ExchangeTap | None = None,
    ) -> None:
        self._link = link
        self._stream = stream
        self._on_done = on_done
        self.tap = tap
        self.connection: UpstreamCarrier | None = None
        self._is_chunked = opened.framing == BODY_CHUNKED
        self._body: list[Piece] | None = None  # parts of the body that cannot be written yet
        self._trailers = b""
        self._owed = 0
        self._holds_credit = False
        self.head = opened.head
        self.method, self.target = opened.head.split(b" ", 2)[:2]
        self.is_upgrade = opened.type == TYPE_UPGRADE
        self.is_sent = fin
        self.is_last = not fin or self._is_chunked or self.method == b"HEAD"
        self.is_repeatable = fin and self.method in _REPEATABLE
        self.is_tunnelled = False
        self.is_over = False
        self.status = 0
        self.code: Code | None = None
        self.reason = ""
        self.started = time.monotonic()
        self.seconds = 0.0

    def begin(self, connection: UpstreamCarrier) -> None:
        """Send the request on this connection."""
        self.connection = connection
        connection.exchange = self
        if self.tap is not None:
            self.tap.sending()
        connection.reader.start(self.method, self)
        connection.transport.write(self.head + (CLOSE if self.is_last and not self.is_upgrade else b"\r\n"))
        if not self.is_upgrade:
            self._write_waiting()
        if self.is_sent and self._is_chunked:
            connection.transport.write(encode_trailers(self._trailers))

    # From the stream

    def on_about(self, payload: bytes) -> None:
        """Pass the relay's description of the visitor, an ABOUT payload, to the tap."""
        if self.tap is not None:
            self.tap.about(payload)

    def on_head(self, payload: bytes, fin: bool) -> None:
        """Ignore a HEAD frame: only the responding side sends it, and the session refuses it here."""

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        """Handle a piece of the request's body, or bytes of an upgraded connection."""
        if self.tap is not None:
            self.tap.request_data(data)
        if self.connection is None or (self.is_upgrade and not self.is_tunnelled):
            # An app that does not switch protocols would read bytes sent before its response as the next request.
            self._body = self._body or []
            self._body.append(bytes(data))
        elif data:
            self._write(data)
        if fin:
            self.on_end(b"")

    def on_end(self, trailers: bytes) -> None:
        """Handle the end of the request."""
        self.is_sent = True
        self._trailers = trailers
        if self.tap is not None:
            self.tap.request_ended()
        connection = self.connection
        if connection is None:
            return
        if self._is_chunked:
            connection.transport.write(encode_trailers(trailers))
        elif self.is_tunnelled:
            self._end_our_half(connection)

    def on_reset(self, code: Code, reason: str) -> None:
        """Abort the exchange, as the visitor has disconnected, or the link was lost."""
        if self.is_over:
            return  # only the response was still being sent; the connection already carries another exchange
        self.code = code
        self.reason = reason
        if self.connection is not None:
            self.connection.abandon()
        self.over()

    def on_writable(self) -> None:
        """Continue reading the response, as the stream's queue has drained."""
        if self.connection is not None:
            self.connection.transport.resume_reading()

    # From the connection

    def head_received(self, head: ResponseHead, fin: bool) -> None:
        if head.status >= 200 or head.status == 101:
            self.status = head.status
            self.is_tunnelled = head.status == 101 and self.is_upgrade
            if head.status == 101 and not self.is_upgrade:
                raise HttpError("bad_request", "it switched protocols unasked")
            if head.status in (204, 304) and (head.is_chunked or head.content_length):
                self.is_last = True
            if self.tap is not None:
                self.tap.answered(head.status, head.lines)
        self._link.send_head(self._stream, _STATUS.pack(head.status) + head.lines, fin)
        if self.is_tunnelled and self.connection is not None:
            self._write_waiting()
            if self.is_sent:
                self._end_our_half(self.connection)  # the visitor ended its half before the switch

    def body(self, data: Piece, fin: bool) -> None:
        if self.tap is not None:
            self.tap.response_data(data)
        stream = self._stream
        self._link.send_data(stream, data, fin)
        if stream.queued > QUEUE_HIGH and self.connection is not None:
            self.connection.transport.pause_reading()

    def end_received(self, trailers: list[Field]) -> None:
        self._link.end(self._stream, to_lines(trailers))

    def hold_credit(self) -> None:
        """Stop granting credit, as the service reads more slowly than the visitor sends."""
        self._holds_credit = True

    def release_credit(self) -> None:
        """Grant credit again, as the service has read what was sent."""
        self._holds_credit = False
        owed, self._owed = self._owed, 0
        if owed:
            self._link.consumed(self._stream, owed)

    def fail(self, code: Code, reason: str) -> None:
        """Reset the visitor's stream with a code that says which side failed."""
        if self.is_over:
            return
        self.code = code
        self.reason = reason
        self._link.reset(self._stream, code, reason)
        self.over()

    def abort(self, code: Code, reason: str) -> None:
        """Abort the exchange: reset the visitor's stream and close the service's connection."""
        if self.connection is not None:
            self.connection.abandon()
        self.fail(code, reason)

    def finish_if_done(self) -> None:
        """End an upgraded connection when both halves have ended."""
        connection = self.connection
        if connection is not None and self.is_sent and connection.reader.is_idle:
            connection.exchange = None
            connection.transport.close()
            self.over()

    def over(self) -> None:
        """End the exchange: nothing more of it is read or sent."""
        if self.is_over:
            return
        self.is_over = True
        self.seconds = time.monotonic() - self.started
        self.connection = None
        self.release_credit()
        if self.tap is not None:
            self.tap.ended(self.code, self.reason)
        if not self._stream.is_closed and not self.is_sent:
            # The service responded without reading the whole request: discard the rest of it.
            self._stream.owner = None
        self._on_done(self)

    def _end_our_half(self, connection: UpstreamCarrier) -> None:
        if connection.transport.can_write_eof():
            connection.transport.write_eof()
        else:
            connection.transport.close()
        self.finish_if_done()

    def _write_waiting(self) -> None:
        if self._body is not None:
            body, self._body = self._body, None
            for data in body:
                self._write(data)

    def _write(self, data: Piece) -> None:
        connection = self.connection
        assert connection is not None
        if connection.transport.is_closing():
            pass  # the service has closed the connection, which is reported next
        elif self._is_chunked:
            connection.transport.writelines(encode_chunk(data))
        else:
            connection.transport.write(data)
        self._owed += len(data)
        if not self._holds_credit:
            self.release_credit()


OnDone = Callable[[UpstreamExchange], None]
"""Called once, when an exchange has ended."""
