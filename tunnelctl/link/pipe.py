"""Carries the bytes of one TCP connection over a stream of a link, at either end of the link.

What ends one half of the connection (FIN) ends one half of the stream, and a reset is a reset on both. Neither side is
read faster than the other takes: the stream's credit goes back when the connection has taken the bytes, and the
connection is not read while the stream's queue is full. Who may connect, and where to, is for the pipe's user.
"""

import asyncio
import socket
import struct
from typing import Final, Protocol, cast

from tunnelctl.wire.errors import Code
from tunnelctl.wire.stream import Stream

WRITE_HIGH: Final = 64 * 1024
"""Bytes in the connection's send buffer before credit stops going back: what a stopped reader costs beside its
window."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class PipeLink(Protocol):
    """What a pipe needs of a link (`tunnelctl.link.link.Link` is one)."""

    def send_data(self, stream: Stream, data: bytes | memoryview, fin: bool = False) -> None:
        """Queue bytes."""

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """End our half."""

    def reset(self, stream: Stream, code: Code, reason: str = "") -> None:
        """Abort the stream."""

    def consumed(self, stream: Stream, size: int) -> None:
        """Give credit back."""


class PipeUser(Protocol):
    """The owner of a pipe. Called in the event loop."""

    def on_connected(self) -> None:
        """The TCP connection is there. Nothing of it is read before `Pipe.start`."""

    def on_answer(self, status: int) -> None:
        """The far end has its connection, if the status is 200."""

    def on_refused(self, code: Code, reason: str) -> None:
        """The stream was reset before `Pipe.start`; the connection stays, and may be joined to another one."""

    def on_moved(self) -> None:
        """Bytes, or the end of one half, came from either side."""

    def on_over(self, code: Code | None, reason: str) -> None:
        """The connection is closed; called once.

        Args:
            code: Why it was cut; None when both halves had ended.
        """


class Pipe(asyncio.BufferedProtocol):
    """See the module.

    Args:
        buffer: What is read goes through it; it may serve many pipes.
        lost: What the far end is told when the connection is lost.

    Attributes:
        received, sent: Bytes that came from the connection, and that were written to it.
        is_half_closed: One side sends no more.
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
        """Whether one side sends no more."""
        return self._near_ended or self._far_ended

    def attach(self, link: PipeLink, stream: Stream) -> None:
        """Join the connection to a stream; the stream's events are the pipe's from now on."""
        self._link, self._stream = link, stream
        stream.owner = self

    def start(self) -> None:
        """Carry bytes from now on."""
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
        """Keep the connection unread until `start`."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        self.transport.pause_reading()
        self._user.on_connected()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Send what was read to the far end."""
        if not self._is_started:
            # uvloop may read once more after `pause_reading`, and takes a second call for no change.
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
        """End our half of the stream. The connection stays until the far end has ended its half, too."""
        self._near_ended = True
        if self._is_started and self._link is not None and self._stream is not None:
            self._link.end(self._stream)
        self._user.on_moved()
        return not self._far_ended

    def pause_writing(self) -> None:
        """The connection takes bytes more slowly than they come."""
        self._holds_credit = True

    def resume_writing(self) -> None:
        """The connection has taken what was written."""
        self._holds_credit = False
        self._give_credit()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        is_whole = self._near_ended and self._far_ended
        code, reason = self._end or ((None, "") if is_whole else (self._lost, "the connection was reset"))
        link, stream, self._stream = self._link, self._stream, None
        if link is not None and stream is not None and code is not None:
            link.reset(stream, code, reason)
        self._user.on_over(code, reason)

    # From the stream

    def on_head(self, payload: bytes, fin: bool) -> None:
        """The far end's answer."""
        self._user.on_answer(payload[0] << 8 | payload[1])
        if fin and self._is_started:
            self._end_far_half()

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        """Bytes for the connection."""
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
        """The far end sends no more."""
        self._end_far_half()
        self._user.on_moved()

    def on_reset(self, code: Code, reason: str) -> None:
        """The far end broke the stream off, or the link was lost."""
        self._stream = None
        if self._is_started:
            self.cut(code, reason)
        else:
            self._user.on_refused(code, reason)

    def on_writable(self) -> None:
        """The stream's queue has drained into the link."""
        if not self._near_ended:
            self.transport.resume_reading()

    # The inside

    def _end_far_half(self) -> None:
        self._far_ended = True
        self._give_credit()  # however slowly the rest is read: nothing more comes, and a grown window is given back
        if self._near_ended:
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write_eof()

    def _give_credit(self) -> None:
        owed, self._owed = self._owed, 0
        if owed and self._link is not None and self._stream is not None:
            self._link.consumed(self._stream, owed)
