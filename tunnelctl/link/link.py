"""A link: one `Session` over one websocket over one transport.

All frames queued in one turn of the event loop, and in the look at the sockets after it, leave in one websocket
message. Nothing more is handed to the transport until it has nearly drained: data waits in the session, where sending
is fair, and not in a buffer where a download would hold up all others. One turn reads a bounded number of the peer's
frames (`pacing`); the rest waits, unread, for the next turn. Opening the websocket is `dial`'s work on
the agent's side and `accept`'s on the relay's.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol, cast

from websockets.frames import Opcode
from websockets.protocol import Event, State
from websockets.protocol import Protocol as WebSocket

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelctl.link.pacing import IDLE_FRAMES_PER_SECOND, MAX_FRAMES_PER_TURN, MAX_IDLE_FRAMES, FramePacer
from tunnelctl.link.tcp import tune
from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.events import (
    ControlReceived,
    DataReceived,
    Ended,
    GoAwayReceived,
    HeadReceived,
    Opened,
    PongReceived,
    WasReset,
    Writable,
)
from tunnelctl.wire.limits import Bucket
from tunnelctl.wire.messages import Message
from tunnelctl.wire.session import Session
from tunnelctl.wire.stream import Stream

log = EventLog("tunnelctl.link")

MAX_MESSAGE = 256 * 1024
"""Bytes of one websocket message: the most that the peer ever has to hold before it can read a frame."""
MAX_RECEIVED = MAX_MESSAGE + 1024
"""What a received message may have: a little slack costs nothing and forgives a peer that counts headers otherwise."""
SEND_AHEAD = 128 * 1024
"""Bytes handed to the socket before it drains. More would let a bulk stream queue ahead of all others in the kernel;
less would cost a wake-up for every few frames."""
MAX_UNSENT = 1024 * 1024
"""Bytes of websocket answers and our own messages in front of a peer that asks and does not read. Ours alone stay well
below it, as the session's are only taken while the socket drains."""
BOUNDS = (
    DeclaredBound(
        name="websocket message",
        limit=MAX_RECEIVED,
        unit="bytes",
        per="message",
        when_full="the link is ended",
        worst_bytes=MAX_RECEIVED,
    ),
    DeclaredBound(
        name="bytes of a link that wait to be read",
        limit=2 * MAX_RECEIVED,
        unit="bytes",
        per="link",
        when_full="the socket is not read: at most one read of 256 KiB and one message that is not here whole are kept",
        worst_bytes=2 * MAX_RECEIVED + MAX_FRAMES_PER_TURN * 256,
        holds=("Link._frames",),
    ),
    DeclaredBound(
        name="bytes handed to a link's socket ahead of the peer",
        limit=MAX_UNSENT,
        unit="bytes",
        per="link",
        when_full="the link is ended with LIMIT",
        worst_bytes=MAX_UNSENT,
    ),
    DeclaredBound(
        name="frames read in one turn of the loop",
        limit=MAX_FRAMES_PER_TURN,
        unit="frames",
        per="link",
        when_full="the rest is read in the next turn",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="websocket frames that carry nothing",
        limit=MAX_IDLE_FRAMES,
        unit="frames",
        per="link",
        when_full="the link is ended with LIMIT",
        worst_bytes=0,
    ),
)
CLOSE_TIMEOUT = 2.0
HEARTBEAT = 5.0
"""Seconds between PINGs; a link that has been silent for three of them is dead, so half-open ones last 15 s at most."""


class StreamOwner(Protocol):
    """Who a stream's events go to. Called in the event loop, never after `on_reset` or both halves' end."""

    def on_head(self, payload: bytes, fin: bool) -> None:
        """A HEAD frame."""

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        """A DATA frame; the owner calls `Link.consumed` once it has passed the bytes on."""

    def on_end(self, trailers: bytes) -> None:
        """The peer's half ended with an END frame."""

    def on_reset(self, code: Code, reason: str) -> None:
        """The stream is over, by the peer's reset or the link's loss (`Code.HEARTBEAT`)."""

    def on_writable(self) -> None:
        """The stream's queue has drained."""


class LinkUser(Protocol):
    """The owner of a link, which gets its events: the agent, or the relay's side of it."""

    def on_opened(self, stream: Stream, payload: bytes, fin: bool) -> None:
        """The peer opened a stream; set its owner here."""

    def on_message(self, message: Message) -> None:
        """A control message."""

    def on_pong(self, rtt: float) -> None:
        """The round trip was measured, in seconds."""

    def on_go_away(self, code: Code, reason: str) -> None:
        """The peer takes no new streams and will close when the last has ended."""

    def on_closed(self, code: Code, reason: str) -> None:
        """The link is gone. Called once."""


class Link(asyncio.Protocol):
    """A websocket connection that carries one session. Made by `dial` or `accept`, which then call `take_over`.

    Attributes:
        peer: Address of the far end as text, for people.
        is_open: Frames can be sent.
        transport: The connection under the link.

    Args:
        heartbeat: Seconds between PINGs.
        loop: Whose clock and timers to use; None for the running one.
    """

    def __init__(
        self,
        session: Session,
        user: LinkUser,
        *,
        heartbeat: float = HEARTBEAT,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.session = session
        self.user = user
        self.peer = ""
        self.is_open = False
        self._heartbeat = heartbeat
        self._loop = loop or asyncio.get_running_loop()
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._ws: WebSocket = cast(WebSocket, None)
        self._is_paused = False
        self._is_flush_due = False
        self._pacer = FramePacer()
        self._idle = Bucket(MAX_IDLE_FRAMES, IDLE_FRAMES_PER_SECOND)
        self._unread = b""
        self._frames: deque[Event] = deque()
        self._is_behind = False
        self._timer: asyncio.TimerHandle | None = None
        self._ending: tuple[Code, str] | None = None
        self._is_closed = False

    def take_over(
        self, transport: asyncio.Transport, ws: WebSocket, data: bytes = b"", early: Iterable[Event] = ()
    ) -> None:
        """Run on this transport from now on.

        Args:
            ws: Open websocket state.
            data: Bytes that arrived behind the handshake.
            early: Messages that `ws` has read behind the handshake already.
        """
        self.transport = transport
        self._ws = ws
        self.is_open = True
        transport.set_write_buffer_limits(high=SEND_AHEAD, low=SEND_AHEAD // 4)
        tune(transport)
        transport.set_protocol(self)
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        self._beat()
        self._frames.extend(early)
        self.data_received(data)

    # Commands

    @property
    def can_open(self) -> bool:
        """Whether `open` will be taken."""
        return self.is_open and self.session.can_open

    @property
    def stream_count(self) -> int:
        """Streams that are open now."""
        return self.session.stream_count

    @property
    def rtt(self) -> float | None:
        """Measured round trip in seconds, None before the first PONG."""
        return self.session.rtt

    def open(self, payload: bytes, *, owner: StreamOwner, fin: bool) -> Stream:
        """Open a stream whose events go to `owner`.

        Raises:
            WireError: `can_open` was False.
        """
        stream = self.session.open(payload, fin=fin)
        stream.owner = owner
        if not self._is_flush_due:
            self._schedule()
        return stream

    def send_head(self, stream: Stream, payload: bytes, fin: bool = False) -> None:
        """Send a HEAD frame."""
        self.session.send_head(stream, payload, fin=fin)
        if not self._is_flush_due:
            self._schedule()

    def send_data(self, stream: Stream, data: bytes | memoryview, fin: bool = False) -> None:
        """Queue bytes; `stream.queued` tells the caller when to stop."""
        self.session.send_data(stream, data, fin=fin)
        if not self._is_flush_due:
            self._schedule()

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """End our half of the stream."""
        self.session.end(stream, trailers)
        self._schedule()

    def reset(self, stream: Stream, code: Code, reason: str = "") -> None:
        """Abort the stream; its owner hears nothing more."""
        stream.owner = None
        self.session.reset(stream, code, reason)
        self._schedule()

    def consumed(self, stream: Stream, size: int) -> None:
        """The owner has passed on `size` bytes that it was given; the peer may send as many more."""
        self.session.consumed(stream, size)
        if not self._is_flush_due and self.session.has_data_to_send:
            self._schedule()

    def send(self, message: Message, *, is_optional: bool = False) -> None:
        """Send a control message; `is_optional` as for `Session.send_control`."""
        self.session.send_control(message, is_optional=is_optional)
        self._schedule()

    def ping(self) -> None:
        """Measure the round trip now."""
        self.session.ping(self._loop.time())
        self._schedule()

    def go_away(self, code: Code, reason: str = "") -> None:
        """Take no new streams; those that are open go on."""
        self.session.go_away(code, reason)
        self._schedule()

    def close(self, code: Code, reason: str = "") -> None:
        """Tell the peer and close, within `CLOSE_TIMEOUT` whatever the peer does."""
        if not self.is_open:
            return
        self._ending = self._ending or (code, reason)
        self.session.go_away(code, reason)
        self._is_paused = False
        self._flush()
        if self._ws.state is State.OPEN:
            self._ws.send_close(1000)
        self._shut()

    # asyncio.Protocol

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone: every stream's owner and the link's user are told."""
        if self._is_closed:
            return
        self._is_closed = True
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        code, reason = self._ending or (Code.HEARTBEAT, str(exc) if exc else "the connection was closed")
        for stream in self.session.close():
            _tell_lost(stream, Code.HEARTBEAT, "the link was lost")
        _guarded(self.user.on_closed, code, reason)

    def pause_writing(self) -> None:
        """The socket holds `SEND_AHEAD` bytes."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """The socket has drained."""
        self._is_paused = False
        self._flush()

    def eof_received(self) -> bool:
        """The peer will send no more: a websocket without its other half is of no use."""
        return False

    def data_received(self, data: bytes) -> None:
        """Bytes of the websocket."""
        if self._is_behind:
            self._unread += data
            return
        if self.is_open and self._pacer.is_one_message(data):  # as nearly every read is
            ws = self._ws
            ws.receive_data(data)
            message: Any
            for message in ws.events_received():
                self._read_frames(message.data, MAX_FRAMES_PER_TURN)
            self._end_turn()
        else:
            self._unread = data
            self._take_turn()

    # The inside

    def _take_turn(self) -> None:
        """Read at most `MAX_FRAMES_PER_TURN` of the frames that have come."""
        if self._is_closed:
            return
        frames_left = MAX_FRAMES_PER_TURN
        while self.is_open and frames_left > 0:
            if self.session.is_behind:
                frames_left -= self._read_frames(b"", frames_left)
            elif self._frames:
                frames_left -= self._read_message(self._frames.popleft(), frames_left)
            elif self._unread:
                frames_left -= self._cut_messages(frames_left)
            else:
                break
        self._end_turn()

    def _end_turn(self) -> None:
        """Dispatch the events of what was read, write answers, and schedule the rest for the next turn."""
        self._dispatch()
        ws = self._ws
        if ws.writes:
            self._write_out()
            if self.transport.get_write_buffer_size() > MAX_UNSENT:
                self._abort(Code.LIMIT, "the peer asks without reading our answers")
        if self._is_behind or self.session.is_behind or self._frames or self._unread:
            self._set_behind(self.is_open and bool(self.session.is_behind or self._frames or self._unread))
        if ws.state is not State.OPEN and self.is_open and not self._is_behind:
            # Closed by the peer, or invalid frames (then `ws` has written a close frame).
            if ws.parser_exc is not None:
                self._ending = self._ending or (Code.PROTOCOL, str(ws.parser_exc))
            self._shut()
        if not self._is_flush_due and self.session.has_data_to_send:
            self._schedule()

    def _set_behind(self, is_behind: bool) -> None:
        """Stop or resume reading from the socket: it is not read while frames wait for the next turn."""
        if is_behind:
            self._loop.call_soon(self._take_turn)
        if is_behind is self._is_behind:
            return
        self._is_behind = is_behind
        if self.transport.is_closing():
            return
        if is_behind:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _cut_messages(self, max_frames: int) -> int:
        """Read websocket frames out of the unread bytes. Returns how many of them carry nothing; the others wait."""
        data, ws, pacer = self._unread, self._ws, self._pacer
        size = pacer.cut(data, max_frames)
        self._unread = data[size:]
        idle, pacer.idle = pacer.idle, 0
        if idle and not self._idle.take(self._loop.time(), idle):
            self._fail(WireError(Code.LIMIT, "too many websocket frames that carry nothing"))
            return idle
        ws.receive_data(data if size == len(data) else data[:size])
        self._frames.extend(ws.events_received())
        if ws.state is not State.OPEN:
            self._unread = b""
        return idle

    def _read_message(self, message: Any, max_frames: int) -> int:
        """Hand a websocket frame's payload to the session. Returns how many frames that were, itself among them."""
        opcode = message.opcode
        if opcode is Opcode.BINARY or opcode is Opcode.CONT:
            return 1 + self._read_frames(message.data, max_frames)
        if opcode is Opcode.TEXT:
            self._fail(WireError(Code.PROTOCOL, "a text message"))
        return 1

    def _read_frames(self, data: bytes, max_frames: int) -> int:
        try:
            return self.session.receive_data(data, self._loop.time(), max_frames)
        except WireError as error:
            self._fail(error)
            return max_frames

    def _fail(self, error: WireError) -> None:
        """End the link because the peer broke a rule. Whatever else it has sent is dropped."""
        log.warning("link broken by peer", peer=self.peer, error=error)
        self._unread = b""
        self._frames.clear()
        self.close(error.code, error.detail)

    def _dispatch(self) -> None:
        """Hand the session's events to their owners. An owner that raises loses its stream only."""
        event: Any
        for event in self.session.events():
            kind = type(event)
            try:
                if kind is DataReceived:
                    stream = event.stream
                    if stream.owner is not None:
                        stream.owner.on_data(event.data, event.fin)
                    else:
                        self.consumed(stream, len(event.data))
                elif kind is HeadReceived:
                    if event.stream.owner is not None:
                        event.stream.owner.on_head(event.payload, event.fin)
                else:
                    self._handle(kind, event)
            except Exception:
                log.exception("stream callback raised")
                stream = getattr(event, "stream", None)
                if stream is not None:
                    _tell_lost(stream, Code.INTERNAL, "")
                    self.reset(stream, Code.INTERNAL)

    def _handle(self, kind: type, event: Any) -> None:
        """Hand on the events that are rarer than the heads and bodies in `_dispatch`."""
        if kind is Opened:
            self.user.on_opened(event.stream, event.payload, event.fin)
        elif kind is Ended:
            if event.stream.owner is not None:
                event.stream.owner.on_end(event.trailers)
        elif kind is WasReset:
            owner, event.stream.owner = event.stream.owner, None
            if owner is not None:
                owner.on_reset(event.code, event.reason)
        elif kind is Writable:
            if event.stream.owner is not None:
                event.stream.owner.on_writable()
        elif kind is ControlReceived:
            self.user.on_message(event.message)
        elif kind is PongReceived:
            self.user.on_pong(event.rtt)
        elif kind is GoAwayReceived:
            self._ending = self._ending or (event.code, event.reason)
            self.user.on_go_away(event.code, event.reason)

    def _schedule(self) -> None:
        if not self._is_flush_due and not self._is_paused and self.is_open:
            self._is_flush_due = True
            self._loop.call_soon(self._flush_next_turn)

    def _flush_next_turn(self) -> None:
        """Flush after the next look at the sockets, so that what arrives meanwhile leaves in the same message."""
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """One message per turn; what does not fit waits for the next turn, or for the socket to drain."""
        self._is_flush_due = False
        if self._is_paused or not self.is_open or self._ws.state is not State.OPEN:
            return
        data = self.session.data_to_send(MAX_MESSAGE)
        if not data:
            return
        self._ws.send_binary(data)
        self._write_out()
        self._dispatch()  # taking bytes out of the session makes room: dispatch `Writable` now, not at the next read
        if self.session.has_data_to_send:
            self._schedule()

    def _write_out(self) -> None:
        for chunk in self._ws.data_to_send():
            if chunk:
                self.transport.write(chunk)

    def _beat(self) -> None:
        now = self._loop.time()
        if self.session.last_received and now - self.session.last_received > 3 * self._heartbeat:
            self._abort(Code.HEARTBEAT, f"nothing heard for {3 * self._heartbeat:.0f} s")
            return
        try:
            self.session.ping(now)
        except WireError as error:
            self._abort(error.code, error.detail)
            return
        self._schedule()
        self._timer = self._loop.call_later(self._heartbeat, self._beat)

    def _abort(self, code: Code, reason: str) -> None:
        """Drop the connection at once: the peer takes nothing more."""
        self._ending = self._ending or (code, reason)
        self.is_open = False
        self.transport.abort()

    def _shut(self) -> None:
        """Close once what is written has gone out, or the time for that is over."""
        self.is_open = False
        self._write_out()
        self.transport.close()
        self._loop.call_later(CLOSE_TIMEOUT, self.transport.abort)


def _tell_lost(stream: Stream, code: Code, reason: str) -> None:
    """Call the owner's `on_reset`, its last event."""
    owner, stream.owner = stream.owner, None
    if owner is not None:
        _guarded(owner.on_reset, code, reason)


def _guarded(callback: Any, *args: Any) -> None:
    """Call an owner and log what it raises, so that the owners after it are still called."""
    try:
        callback(*args)
    except Exception:
        log.exception("on_reset or on_closed raised")
