"""One visitor's connection: reads and writes the socket, keeps deadlines, and closes in the right way.

Bytes go to a `RequestReader`; for each request that the reader finds, the connection makes an `Exchange` (module
`exchange`). One exchange is under way at a time: later bytes stay in the socket or in the reader.
"""

import asyncio
import socket
import struct
from typing import cast

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_REQUEST_HEAD
from tunnelctl.http1.request_reader import MAX_AHEAD, RequestReader
from tunnelctl.wire.stream import INITIAL_WINDOW
from tunnelrelay.ingress.exchange import ANSWER_SECONDS, BODY_SECONDS, Exchange
from tunnelrelay.ingress.forward import MAX_JOINED
from tunnelrelay.ingress.ingress import NO_DEADLINE, Ingress
from tunnelrelay.model import Peer

HEAD_SECONDS = 10.0
"""Seconds that a visitor has to send a whole request head after its first byte. Slow senders would otherwise occupy
connections without a request."""
HALF_CLOSED_SECONDS = 5.0
"""Seconds without a byte of the response after which a half-closed connection is closed. Few clients close their
sending half and go on reading; a client that has left looks the same."""
READER_SECONDS = 120.0
"""Seconds for which a visitor may read nothing of a response before the connection is closed."""
LINGER_SECONDS = 2.0
"""Seconds that a visitor has to read the last response while the relay discards what the visitor still sends (RFC 9112
section 9.6)."""
MAX_HEAD_READ = 8 * 1024
"""Bytes of one read while the relay waits for a request head: most heads fit, and little after the head is read."""
WRITE_HIGH = 64 * 1024
"""Bytes in a visitor's send buffer above which the agent gets no more credit. A visitor who stops reading costs this
memory besides the stream's window."""
UNREAD_BYTES = WRITE_HIGH + INITIAL_WINDOW + 32 * 1024
"""Bytes that the relay buffers for a visitor who stops reading: the send buffer, the window of the stream, and one
frame between them. Windows that have grown have a bound of their own."""

BOUNDS = (
    DeclaredBound(
        name="what a visitor does not read of an answer",
        limit=UNREAD_BYTES,
        unit="bytes",
        per="visitor connection",
        when_full="no more is taken of the tunnel; the connection is closed after 120 seconds",
        worst_bytes=UNREAD_BYTES,
    ),
)

_LINGER_NOT = struct.pack("ii", 1, 0)


class VisitorConnection(asyncio.BufferedProtocol):
    """A visitor's TCP or TLS connection.

    Bytes are read into a buffer that all connections share, so that each read has a bound.

    Attributes:
        connected_peer: The far end of the TCP connection: the visitor, or a proxy.
        connected_address: Key under which limits count `connected_peer`; "" when they do not.
        peer: The visitor, behind trusted proxies, of the last request.
        address: Key under which limits count `peer`; "" when they do not.
        is_secure_at_proxy: Whether a trusted proxy reports that the visitor came over TLS.
        sni: Server name of the TLS handshake; None without one.
        last_host: Host of the endpoint of the last request; "" for none.
        exchange: The request under way, or answered with some of its body still to come; None between requests.
        is_held_back: Whether the tunnel or app accepts no more of the request for now.
        is_paused: Whether the visitor reads more slowly than the relay writes.
        is_lingering: Whether the last response is written and further bytes are discarded.
        saw_eof: Whether the visitor has closed its sending half.
        deadline: Loop time at which waiting ends; `Ingress.sweep` checks it.
    """

    __slots__ = (
        "_forwarded",
        "_forwarded_for",
        "_ingress",
        "_is_reading_held",
        "_is_unread",
        "_waits",
        "address",
        "connected_address",
        "connected_peer",
        "deadline",
        "exchange",
        "is_held_back",
        "is_lingering",
        "is_paused",
        "is_secure",
        "is_secure_at_proxy",
        "last_host",
        "peer",
        "reader",
        "saw_eof",
        "sni",
        "transport",
    )  # fmt: skip

    def __init__(self, ingress: Ingress, *, is_secure: bool) -> None:
        self._ingress = ingress
        self.is_secure = is_secure
        self.transport = cast(asyncio.Transport, None)
        self.connected_peer = self.peer = Peer("", 0)
        self.connected_address = self.address = self.last_host = ""
        self.is_secure_at_proxy = False
        self.sni: str | None = None
        self.reader = RequestReader()
        self.exchange: Exchange | None = None
        self.is_held_back = False
        self.is_paused = False
        self.is_lingering = False
        self.saw_eof = False
        self.deadline = NO_DEADLINE
        self._is_unread = False  # whether it waits for its turn to be read
        self._is_reading_held = False
        self._waits = False  # whether it waits for its turn, with a whole head
        self._forwarded = b""
        self._forwarded_for: tuple[bytes, str] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a request on the connection is under way, or waits for its turn."""
        return self.exchange is not None or self._waits

    @property
    def can_be_closed(self) -> bool:
        """Whether closing loses no response: no request is under way or waits, and all responses are sent."""
        return not self.is_busy and not self.transport.get_write_buffer_size()

    @property
    def can_close_one_half(self) -> bool:
        """Whether the relay can close its sending half and still read, which is not possible over TLS."""
        return not self.is_secure and self.transport.can_write_eof()

    # asyncio.BufferedProtocol

    def arrive(self, transport: asyncio.BaseTransport) -> bool:
        """Note the peer of a new connection, and count it. Over TLS the handshake and `connection_made` come next.

        Returns:
            Whether the connection may stay. If not, it is closed.
        """
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            self.connected_peer = self.peer = Peer(name[0].removeprefix("::ffff:"), name[1])
            self.connected_address = self.address = self._ingress.known.address_of(self.peer)
        self.deadline = self._ingress.now() + self._ingress.settings.idle_seconds
        may_stay = self._ingress.enter(self)
        if not may_stay:
            self.transport.abort()
        return may_stay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to read. Over TLS, `arrive` was called before the handshake (see `handshakes`)."""
        if not self.is_secure and not self.arrive(transport):
            return
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        tls = transport.get_extra_info("ssl_object")
        self.sni = self._ingress.server_name(tls) if tls is not None else None
        self.deadline = self._ingress.now() + self._ingress.settings.idle_seconds
        self._await_request()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next read, no larger than the number of bytes that may still be kept."""
        exchange, reader = self.exchange, self.reader
        if self.is_lingering or (exchange is not None and (exchange.is_opaque or self._takes_body(exchange))):
            return self._ingress.buffer
        room = (MAX_REQUEST_HEAD if exchange is None else MAX_AHEAD) - len(reader.kept)
        return self._ingress.buffer[: max(1, min(MAX_HEAD_READ, room))]

    def buffer_updated(self, nbytes: int) -> None:
        """Process the bytes that were read into the buffer."""
        self.data_received(bytes(self._ingress.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Process bytes from the visitor: a part of a request, or of an upgraded connection's stream."""
        exchange = self.exchange
        if self.is_lingering:
            return
        if exchange is None:
            self.reader.feed(data)
            self._read_head()
            if self.reader.kept:
                self._keep_pace()
        elif exchange.is_opaque:
            exchange.opaque_received(data)
        else:
            self.reader.feed(data)
            if self._takes_body(exchange):
                self._read_body(exchange)
            else:
                self._keep_pace()

    def eof_received(self) -> bool:
        """Decide what happens after the visitor has closed its sending half; it may still read (RFC 9112 section 9.5).

        Returns:
            Whether the connection stays open. False over TLS, which has no half-closed state.
        """
        self.saw_eof = True
        exchange = self.exchange
        if exchange is not None and exchange.is_opaque:
            exchange.near_half_ended()
            return not self.is_secure
        if self.is_secure or not self._may_be_whole(exchange):
            return False
        if exchange is not None and exchange.carried is not None and exchange.carried.is_for_a_page:
            # Browsers never close only one half, so the page was closed. End its event stream: their number is limited.
            return False
        self._ingress.call_later(HALF_CLOSED_SECONDS, self._judge_half_closed, -1)
        return True

    def pause_writing(self) -> None:
        """Note that the visitor reads more slowly than the relay writes, and limit how long it may read nothing."""
        self.is_paused = True
        self.deadline = self._ingress.now() + READER_SECONDS

    def resume_writing(self) -> None:
        """Note that the visitor has read what was buffered, and let the tunnel or app send more."""
        self.is_paused = False
        self.deadline = self._due()
        exchange = self.exchange
        if exchange is None:
            if self.reader.kept:
                self._ingress.call_soon(self._work_off)
        elif exchange.carried is not None:
            exchange.carried.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request under way and stop counting the connection, as it is closed."""
        self._ingress.leave(self)
        if self._waits or self._is_unread:
            self._ingress.turns.leave(self)
        if self.exchange is not None:
            self.exchange.visitor_left()
            self.exchange = None

    # Requests

    def _read_head(self) -> None:
        """Begin the next request that was read, unless the visitor does not read earlier responses.

        Each turn of the event loop begins one request of a connection, so that a pipeline of thousands does not delay
        other visitors.
        """
        reader = self.reader
        if self.exchange is not None or not reader.kept or self.is_lingering or self.is_paused or self._waits:
            return
        try:
            is_whole = reader.has_head()
        except HttpError as error:
            self._refuse(error)
            return
        if not is_whole:
            self._await_rest()
        elif self._ingress.turns.take(self):
            self._begin()
        else:
            self._waits = True

    def take_turn(self) -> None:
        """Begin the request that has waited for its turn."""
        self._waits = False
        if not self.is_lingering and not self.transport.is_closing():
            self._begin()
            if self._ingress.is_draining:
                self.drain()
            self._keep_pace()

    def _begin(self) -> None:
        self.exchange = exchange = Exchange(self, self._ingress)
        exchange.begin()

    def _refuse(self, error: HttpError) -> None:
        """Answer bytes that are no valid request with an error, and close."""
        self.exchange = exchange = Exchange(self, self._ingress)
        exchange.refuse_head(error)

    def _await_rest(self) -> None:
        """Wait for the rest of a request head, at most `HEAD_SECONDS`."""
        if self.reader.kept:
            self._is_unread = not self._ingress.turns.read(self)  # a head may come byte by byte on each connection
            self.deadline = min(self.deadline, self._ingress.now() + HEAD_SECONDS)

    def next_request(self) -> None:
        """Go on to the next request, after skipping the rest of the body of the one that was answered."""
        exchange, reader = self.exchange, self.reader
        if reader.is_in_body:
            self._skip_body()
            return
        endpoint = exchange.endpoint if exchange is not None else None
        self.last_host = endpoint.host if endpoint is not None else ""
        self.exchange = None
        if not reader.kept:
            if self.saw_eof:
                self.close()
                return
            self.deadline = self._ingress.now() + self._ingress.settings.idle_seconds
            self._await_request()
        else:
            self.deadline = self._ingress.now() + self._ingress.settings.idle_seconds
            self.resume_reading()
            self._ingress.call_soon(self._work_off)

    def _await_request(self) -> None:
        """Wait for the next request, and read it at this visitor's turn, which is nearly always at once."""
        self.is_held_back = False
        self._is_unread = not self._ingress.turns.read(self)
        self._keep_pace()

    def read_turn(self) -> None:
        """Read the next request, as this visitor's turn has come."""
        self._is_unread = False
        self._keep_pace()

    def _work_off(self) -> None:
        """Process bytes that were read before, in a new turn of the event loop: the next request, or more of a body."""
        if self.reader.kept and not self.is_lingering and not self.transport.is_closing():
            exchange = self.exchange
            if exchange is None:
                self._read_head()
            elif self._takes_body(exchange):
                self._read_body(exchange)
            self._keep_pace()

    def forwarded_block(self, host: bytes) -> bytes:
        """Return the `X-Forwarded-*` lines for a request; they are cached, as a connection's requests share them."""
        key = (host, self.peer.host)
        if self._forwarded_for != key:
            self._forwarded_for = key
            self._forwarded = self._ingress.forwarded_block(self.peer, host)
        return self._forwarded

    def note_visitor(self, peer: Peer, *, is_secure: bool) -> None:
        """Note the visitor that a trusted proxy reports, and whether the visitor came to the proxy over TLS."""
        self.peer = peer
        self.is_secure_at_proxy = is_secure
        self.address = self._ingress.known.address_of(peer)

    # Bodies

    def _takes_body(self, exchange: Exchange) -> bool:
        """Whether bytes of the request's body are passed on or discarded at once, and not kept."""
        return self.reader.is_in_body and (exchange.carried is not None or self.reader.is_skipping)

    def _read_body(self, exchange: Exchange) -> None:
        if self.reader.is_skipping:
            self._read_unwanted(exchange)
        else:
            exchange.read_body()

    def go_on(self) -> None:
        """Go on after a part of a body was processed: with bytes that were read, or by reading more."""
        if self.reader.is_in_body and self.reader.kept:
            self._ingress.call_soon(self._work_off)
        self._keep_pace()

    def _skip_body(self) -> None:
        """Discard the rest of a request that was answered before its body was complete, then begin the next request."""
        self.reader.skip_body()
        self.deadline = self._ingress.now() + BODY_SECONDS  # one limit for the whole rest of the body
        self.resume_reading()
        if self.reader.kept and self.exchange is not None:
            self._read_unwanted(self.exchange)

    def _read_unwanted(self, exchange: Exchange) -> None:
        reader = self.reader
        try:
            reader.take_body()
        except HttpError as error:
            if error.code == "bad_request":
                exchange.note_smuggling(error.detail)
                self.close()  # where the next request would begin is not known
            else:
                self.linger()
            return
        if not reader.is_in_body:
            self.next_request()
        elif reader.is_too_fine(self._ingress.now()):
            self._ingress.limited("small_chunks", exchange.host, exchange.peer)
            self.close()
            return
        self.go_on()

    # Flow control

    def hold_reading(self) -> None:
        """Stop reading from the visitor, as the tunnel or app accepts no more of the request for now."""
        self.is_held_back = True
        self._keep_pace()

    def resume_reading(self) -> None:
        """Read from the visitor again, as the tunnel or app accepts more of the request."""
        self.is_held_back = False
        self._keep_pace()

    def _keep_pace(self) -> None:
        """Start or stop reading from the visitor, as its conditions say. Called whenever one of them has changed."""
        is_held = self.is_held_back or self._is_unread or self._has_enough()
        if is_held != self._is_reading_held:
            self._is_reading_held = is_held
            self.transport.pause_reading() if is_held else self.transport.resume_reading()

    def _has_enough(self) -> bool:
        """Whether bytes that were read must be processed before more are read."""
        kept, exchange = len(self.reader.kept), self.exchange
        if not kept or self.is_lingering:
            return False
        if exchange is None:
            return kept >= (MAX_AHEAD if self.is_paused else MAX_REQUEST_HEAD)
        if exchange.is_opaque:
            return False
        return kept >= MAX_AHEAD or self._takes_body(exchange)

    # Deadlines

    def _due(self) -> float:
        """Return the deadline of the connection's present state, now that the visitor has read all that was written."""
        exchange = self.exchange
        if self.is_lingering:
            seconds = LINGER_SECONDS
        elif exchange is None:
            seconds = self._ingress.settings.idle_seconds
        elif exchange.carried is not None and exchange.carried.has_answered:
            return NO_DEADLINE
        else:
            seconds = BODY_SECONDS if self.reader.is_in_body else ANSWER_SECONDS
        return self._ingress.now() + seconds

    def time_out(self) -> None:
        """End what the connection waits for, as its deadline has passed."""
        self.deadline = NO_DEADLINE
        if self.is_paused or self.is_lingering or self.reader.is_skipping:
            self.transport.abort()
        elif self.exchange is not None:
            self.exchange.time_out()
        elif self.reader.kept:
            self._refuse(HttpError("request_timeout", "a head that is not whole in time"))
        else:
            self.close()

    def _may_be_whole(self, exchange: Exchange | None) -> bool:
        """Whether a visitor that has closed its sending half has sent a whole request which is not answered yet."""
        if exchange is None:
            return self._waits
        # The whole body may be here already, waiting for its exchange to begin, or for its turn.
        return not self._takes_body(exchange) or bool(self.reader.kept)

    def _judge_half_closed(self, bytes_out: int) -> None:
        """Close a half-closed connection when nothing was written to it since the last check; otherwise check later.

        A visitor that has left looks like one that only reads, until it answers something written with a reset.

        Args:
            bytes_out: Bytes of the response that were written at the last check.
        """
        exchange = self.exchange
        if exchange is None or exchange.is_opaque or self.transport.is_closing():
            return
        if exchange.bytes_out == bytes_out:
            self.transport.abort()
        else:
            self._ingress.call_later(HALF_CLOSED_SECONDS, self._judge_half_closed, exchange.bytes_out)

    # Responses

    def write(self, data: bytes) -> None:
        """Write bytes of a response, which are framed already."""
        self.transport.write(data)

    def write_all(self, data: tuple[bytes | memoryview, ...]) -> None:
        """Write bytes of a response in several pieces, joined when they are small."""
        if len(data) == 1:
            self.transport.write(data[0])
        elif sum(map(len, data)) <= MAX_JOINED:
            self.transport.write(b"".join(data))
        else:
            self.transport.writelines(data)

    # Closing

    def drain(self) -> None:
        """Close an idle connection now, a busy one after its response, as the relay stops."""
        if self.exchange is not None:
            self.exchange.head.keep_alive = False
        elif not self._waits:
            self.close()

    def end_requests(self, *, is_head_read: bool) -> None:
        """Close after the last response; linger when the visitor may still send.

        Args:
            is_head_read: Whether the head of the last request was read as a whole.
        """
        reader = self.reader
        is_clean = is_head_read and not reader.is_in_body and not reader.kept
        reader.take_rest()
        self.close() if is_clean else self.linger()

    def linger(self) -> None:
        """Close the sending half, and discard what the visitor still sends for `LINGER_SECONDS`.

        Closing at once would send a reset, which could make the visitor's system discard the last response.
        """
        self.exchange = None
        self.is_lingering = True
        self.resume_reading()
        if self.saw_eof or not self.can_close_one_half:
            self.close()
        else:
            self.transport.write_eof()
            is_written = not self.transport.get_write_buffer_size()
            self.deadline = self._ingress.now() + (LINGER_SECONDS if is_written else READER_SECONDS)

    def close(self) -> None:
        """Close the connection when all that was written has been sent."""
        self.exchange = None
        self.is_lingering = True
        self.deadline = self._ingress.now() + READER_SECONDS
        self.transport.close()

    def cut(self, *, is_reset: bool) -> None:
        """Close the connection at once, and discard what has not been sent yet.

        Args:
            is_reset: Whether to send a reset, where a close would look like the regular end of a body.
        """
        self.exchange = None
        sock = self.transport.get_extra_info("socket") if is_reset else None
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.transport.abort()

    def release(self) -> asyncio.Transport:
        """Hand the transport over to an agent's link, with reading paused. The connection is no visitor's any more."""
        self._ingress.leave(self)
        self.exchange = None
        self.deadline = NO_DEADLINE
        self.transport.pause_reading()  # otherwise the event loop would deliver further bytes to this protocol
        return self.transport
