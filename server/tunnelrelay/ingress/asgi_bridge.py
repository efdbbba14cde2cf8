"""Passes requests for the relay's own pages to an ASGI app, which uvicorn serves over a socket pair.

The app is behind the same ingress, port and parser as all endpoints; it has no listening socket by which a local user
could bypass the gate. The app may trust the facts about a request in `scope["tunnel"]`, a `PageRequest`.
"""

import asyncio
import socket
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.body import Field, encode_chunk, encode_trailers
from tunnelctl.http1.connection import ResponseReader
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.fields import HOP_BY_HOP, to_lines
from tunnelctl.http1.head import ResponseHead
from tunnelrelay.ingress.interfaces import Answering
from tunnelrelay.ingress.responses import NONE, Framing, status_line
from tunnelrelay.ingress.route import Own
from tunnelrelay.model import PageRequest
from tunnelrelay.policy.classify import classify, starts_login

MAX_OWN_BODY = 64 * 1024
"""Bytes of a request body that the relay's own pages accept; a login form has a few hundred."""

BOUNDS = (
    DeclaredBound(
        name="body for the relay's own pages and API",
        limit=MAX_OWN_BODY,
        unit="bytes",
        per="request",
        when_full="413",
        worst_bytes=MAX_OWN_BODY,
    ),
)


CLOSE_SECONDS = (1.0, 5.0)
"""Seconds that the app's requests get to finish when the relay stops, and then again after they are cancelled, for
clean-up such as returning a database connection."""


class AsgiBridge:
    """Opens exchanges with the ASGI app of the relay's own pages.

    Args:
        is_secure: Whether the relay's public URLs are https.
    """

    def __init__(self, app: Any, *, is_secure: bool = False) -> None:
        self._app = app
        self._is_secure = is_secure
        self._config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
        self._config.load()
        self._state = ServerState()
        self._event_streams: set[AsgiExchange] = set()
        self._is_draining = False

    async def begin(self, exchange: Answering, own: Own) -> "AsgiExchange":
        """Connect to the app over a new socket pair, and send it the head of the request."""
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        scope = PageRequest(
            host=own.host,
            kind=own.kind,
            request_kind=classify(exchange.head),
            peer=exchange.peer,
            is_secure=exchange.connection.is_secure,
            request_id=exchange.request_id,
            may_start_login=starts_login(exchange.head, is_secure=self._is_secure),
        )
        await loop.create_connection(lambda: self._server(scope), sock=theirs)
        carried = AsgiExchange(exchange, self)
        await loop.create_connection(lambda: carried, sock=ours)
        carried.start()
        return carried

    def drain(self) -> None:
        """End open event streams, as the relay stops: an event stream never ends by itself."""
        self._is_draining = True
        for exchange in list(self._event_streams):
            exchange.finish()

    async def close(self) -> None:
        """Wait until the app's requests have finished; cancel late ones. They use parts that are closed after this."""
        for seconds in CLOSE_SECONDS:
            if tasks := self._state.tasks.copy():
                _, late = await asyncio.wait(tasks, timeout=seconds)
                for task in late:
                    task.cancel()

    def stream_began(self, exchange: "AsgiExchange") -> None:
        """Note that an exchange has become an event stream, which `drain` must end."""
        self._event_streams.add(exchange)
        if self._is_draining:
            asyncio.get_running_loop().call_soon(exchange.finish)

    def is_streaming(self, exchange: "AsgiExchange") -> bool:
        """Whether this exchange is an open event stream."""
        return exchange in self._event_streams

    def stream_ended(self, exchange: "AsgiExchange") -> None:
        """Note that an event stream has ended."""
        self._event_streams.discard(exchange)

    def _server(self, scope: PageRequest) -> HttpToolsProtocol:
        protocol = HttpToolsProtocol(config=self._config, server_state=self._state, app_state={})
        app = self._app

        async def tunnelled(asgi: Any, receive: Any, send: Any) -> None:
            await app({**asgi, "tunnel": scope, "client": tuple(scope.peer)}, receive, send)

        protocol.app = tunnelled
        return protocol


class AsgiExchange(asyncio.Protocol):
    """Carries one exchange to the app of the relay's own pages, as `forward.Forward` carries one to a tunnel."""

    def __init__(self, exchange: Answering, bridge: AsgiBridge) -> None:
        self._exchange = exchange
        self._connection = exchange.connection
        self._bridge = bridge
        self._reader = ResponseReader()
        self._framing: Framing | None = None
        self._received = 0
        self._error = ""
        self._transport: asyncio.Transport
        self._is_held = False
        self.has_answered = False
        self.is_for_a_page = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def start(self) -> None:
        """Send the app the head of the request."""
        head = self._exchange.head
        fields = [field for field in head.fields if field[0].lower() not in HOP_BY_HOP]
        coding = b"Transfer-Encoding: chunked\r\n" if head.is_chunked else b""
        path = head.target if head.target.startswith(b"/") else b"/"
        self._reader.start(head.method, self)
        self._transport.write(b"%b %b HTTP/1.1\r\n%b%b\r\n" % (head.method, path, to_lines(fields), coding))

    # From the exchange

    def send(self, data: bytes | memoryview, fin: bool) -> None:
        """Send the app a piece of the request's body. A body over `MAX_OWN_BODY` is refused with 413."""
        self._received += len(data)
        if self._received > MAX_OWN_BODY:
            self.cancel()
            self._exchange.fail("body_too_large", closes=True)
            return
        self._transport.writelines(encode_chunk(data) if self._exchange.head.is_chunked else [data])

    def end(self, trailers: list[Field]) -> None:
        """End the request's body at the app."""
        if self._exchange.head.is_chunked:
            self._transport.write(encode_trailers(b""))

    def cancel(self) -> None:
        """Abort the connection to the app, as the exchange has ended."""
        self._reader = ResponseReader()
        self._bridge.stream_ended(self)
        self._transport.abort()

    def finish(self) -> None:
        """End an open event stream so that the visitor sees a complete response."""
        if self._bridge.is_streaming(self):
            self._reader = ResponseReader()
            self._done()

    def backlog(self) -> int:
        """Return 0: the app reads its small bodies at once."""
        return 0

    def drained(self) -> None:
        """Read more of the app's response, as the visitor has read what was written."""
        if self._is_held:
            self._is_held = False
            self._transport.resume_reading()

    # From the app

    def data_received(self, data: bytes) -> None:
        """Parse bytes of the app's response."""
        try:
            self._reader.feed(data)
        except HttpError:
            self._break()
        if self._connection.is_paused and not self._is_held and not self._transport.is_closing():
            # Pause the app while the visitor does not read, so that nothing piles up here.
            self._is_held = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange with an error when the app closes the connection before its response is complete."""
        if not self._reader.is_idle and not self._reader.eof():
            self._break()

    def head_received(self, head: ResponseHead, fin: bool) -> None:
        exchange = self._exchange
        if head.status < 200:
            if head.status == 100 and exchange.head.minor:
                self._connection.write(status_line(100) + b"\r\n")
            return
        framing = self._framing = Framing(exchange.head, head, fin=fin)
        if exchange.head.expects_continue:
            framing.keeps_alive = False
        fields = [field for field in head.fields if field[0].lower() not in HOP_BY_HOP | {b"content-length"}]
        exchange.status = head.status
        self._error = (head.get(b"tunnel-error") or b"").decode("ascii")
        self.has_answered = True
        exchange.answer_began()
        ours = exchange.clear_site_data_lines() + to_lines(fields)
        self._connection.write(status_line(head.status) + ours + framing.lines(head, exchange.head) + b"\r\n")
        if fin:
            self._done()
        elif (head.get(b"content-type") or b"").startswith(b"text/event-stream"):
            self.is_for_a_page = True
            self._bridge.stream_began(self)

    def body(self, data: bytes | memoryview, fin: bool) -> None:
        framing = self._framing
        assert framing is not None
        if data and framing.mode != NONE:
            self._connection.write_all(framing.body(bytes(data)))
            self._exchange.bytes_out += len(data)
        if fin:
            self._done()

    def end_received(self, trailers: list[Field]) -> None:
        self._done()

    def _done(self) -> None:
        framing = self._framing
        assert framing is not None
        tail = framing.end()
        if tail:
            self._connection.write(tail)
        self._bridge.stream_ended(self)
        self._transport.close()
        self._exchange.response_done(keeps_alive=framing.keeps_alive, error=self._error)

    def _break(self) -> None:
        self._reader = ResponseReader()
        self._bridge.stream_ended(self)
        if self.has_answered:
            self._exchange.break_off("internal_error")
        else:
            self._exchange.fail("internal_error", closes=True)
