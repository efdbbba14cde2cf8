"""Carries the bytes of one TCP connection over a stream of a link, at either end of the link.

The end of one half of the connection (FIN) ends one half of the stream, and a reset resets both. Neither side is read
faster than the other accepts: the stream's credit is returned when the connection has accepted the bytes, and the
connection is not read while the stream's queue is full. The pipe's user decides who may connect, and where to.
"""

import asyncio
import socket
import struct
from typing import Final, Protocol, cast

from tunnelctl.wire.errors import Code
from tunnelctl.wire.stream import Stream

WRITE_HIGH: Final = 64 * 1024
"""Bytes in the connection's send buffer above which the peer gets no more credit. A client that stops reading costs
this memory in addition to the stream's window."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class PipeLink(Protocol):
    """The methods of a link that a pipe needs; `tunnelctl.link.link.Link` has them."""

    def send_data(self, stream: Stream, data: bytes | memoryview, fin: bool = False) -> None:
        """Queue bytes on the stream."""

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """End our half of the stream."""

    def reset(self, stream: Stream, code: Code, reason: str = "") -> None:
        """Abort the stream."""

    def consumed(self, stream: Stream, size: int) -> None:
        """Return credit for consumed bytes to the peer."""


class PipeUser(Protocol):
    """The owner of a pipe, which gets its events in the event loop."""

    def on_connected(self) -> None:
        """Handle that the TCP connection is open. It is not read before `Pipe.start`."""

    def on_answer(self, status: int) -> None:
        """Handle the far end's response: its connection is open if the status is 200."""

    def on_refused(self, code: Code, reason: str) -> None:
        """Handle a reset of the stream before `Pipe.start`.

        The connection stays open and may be attached to another stream.
        """

    def on_moved(self) -> None:
        """Handle that bytes, or the end of one half, came from either side."""

    def on_over(self, code: Code | None, reason: str) -> None:
        """Handle the end of the connection. Called once.

        Args:
            code: Why the connection was cut; None when both halves had ended.
        """


class Pipe(asyncio.BufferedProtocol):
    """Joins one TCP connection to one stream of a link and copies bytes in both directions.

    Args:
        buffer: Buffer to read into; many pipes may share it.
        lost: Code sent to the far end when the connection is lost.

    Attributes:
        received, sent: Bytes read from the connection, and bytes written to it.
        is_half_closed: True when at least one side sends no more.
    """

    __slots__ = (
        "_buffer",
        "_early",
        "_end",
        "_far_ended",
        "_holds_credit",
        "_is_started",
        "_link",
        "_lost",
        "_near_ended",
        "_owed",
        "_stream",
        "_user",
        "received",
        "sent",
        "transport",
    )

    def __init__(self, buffer: memoryview, user: PipeUser, *, lost: Code = Code.CANCELLED) -> None:
        self._buffer = buffer
        self._lost = lost
        self._user = user
        self._link: PipeLink | None = None
        self._stream: Stream | None = None
        self._is_started = False
        self._early = b""
        self._near_ended = False
        self._far_ended = False
        self._holds_credit = False
        self._owed = 0
        self._end: tuple[Code, str] | None = None
        self.received = 0
        self.sent = 0
        self.transport = cast(asyncio.Transport, None)

    @property
    def is_half_closed(self) -> bool:
        """Whether at least one side sends no more."""
        return self._near_ended or self._far_ended

    def attach(self, link: PipeLink, stream: Stream) -> None:
        """Join the connection to a stream, whose events go to this pipe from now on."""
        self._link, self._stream = link, stream
        stream.owner = self

    def start(self) -> None:
        """Start to copy bytes."""
        self._is_started = True
        link, stream, early = self._link, self._stream, self._early
        assert link is not None
        assert stream is not None
        if early:
            self._early = b""
            self.received += len(early)
            link.send_data(stream, early)
        if self._near_ended:
            link.end(stream)
        else:
            self.transport.resume_reading()

    def cut(self, code: Code, reason: str = "") -> None:
        """Reset the connection and the stream."""
        self._end = self._end or (code, reason)
        if self.transport is None:
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    # From the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pause reading until `start`."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's class is not a subclass
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        self.transport.pause_reading()
        self._user.on_connected()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next bytes."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Send the bytes just read to the far end."""
        if not self._is_started:
            # uvloop may read once more after `pause_reading`, and ignores a second call; so resume before pausing
            # again.
            self._early += bytes(self._buffer[:nbytes])
            self.transport.resume_reading()
            self.transport.pause_reading()
            return
        self.received += nbytes
        link, stream = self._link, self._stream
        assert link is not None
        assert stream is not None
        link.send_data(stream, bytes(self._buffer[:nbytes]))
        if stream.is_full:
            self.transport.pause_reading()
        self._user.on_moved()

    def eof_received(self) -> bool:
        """End our half of the stream. The connection stays open until the far end has ended its half as well."""
        self._near_ended = True
        if self._is_started and self._link is not None and self._stream is not None:
            self._link.end(self._stream)
        self._user.on_moved()
        return not self._far_ended

    def pause_writing(self) -> None:
        """Hold back credit, as the connection accepts bytes more slowly than they arrive."""
        self._holds_credit = True

    def resume_writing(self) -> None:
        """Return the held credit, as the connection has sent what was written."""
        self._holds_credit = False
        self._give_credit()

    def connection_lost(self, exc: Exception | None) -> None:
        """Reset the stream unless both halves had ended, and tell the user."""
        is_whole = self._near_ended and self._far_ended
        code, reason = self._end or ((None, "") if is_whole else (self._lost, "the connection was reset"))
        link, stream, self._stream = self._link, self._stream, None
        if link is not None and stream is not None and code is not None:
            link.reset(stream, code, reason)
        self._user.on_over(code, reason)

    # From the stream

    def on_head(self, payload: bytes, fin: bool) -> None:
        """Pass the status of the far end's response to the user."""
        self._user.on_answer(payload[0] << 8 | payload[1])
        if fin and self._is_started:
            self._end_far_half()

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        """Write bytes of the stream to the connection."""
        if data:
            self.sent += len(data)
            self._owed += len(data)
            if not self.transport.is_closing():
                self.transport.write(data)
            if not self._holds_credit:
                self._give_credit()
        if fin:
            self._end_far_half()
        self._user.on_moved()

    def on_end(self, trailers: bytes) -> None:
        """End the connection's sending half, as the far end sends no more."""
        self._end_far_half()
        self._user.on_moved()

    def on_reset(self, code: Code, reason: str) -> None:
        """Reset the connection after the far end has reset the stream, or after the loss of the link."""
        self._stream = None
        if self._is_started:
            self.cut(code, reason)
        else:
            self._user.on_refused(code, reason)

    def on_writable(self) -> None:
        """Resume reading the connection, as the stream's queue has drained."""
        if not self._near_ended:
            self.transport.resume_reading()

    # The inside

    def _end_far_half(self) -> None:
        self._far_ended = True
        self._give_credit()  # even if the rest is read slowly: no more data comes, and a grown window is released
        if self._near_ended:
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write_eof()

    def _give_credit(self) -> None:
        owed, self._owed = self._owed, 0
        if owed and self._link is not None and self._stream is not None:
            self._link.consumed(self._stream, owed)
