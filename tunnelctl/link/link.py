"""A link: one `Session` over one websocket over one transport.

All frames queued in one turn of the event loop, and in the poll of the sockets after it, are sent in one websocket
message. More is handed to the transport only when it has nearly drained: data waits in the session, which divides the
link fairly among streams, and not in a buffer where a download would hold up all others. One turn reads a bounded
number of the peer's frames (`pacing`); the rest stays unread until the next turn. `dial` opens the websocket on the
agent's side, `accept` on the relay's.
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
    AboutReceived,
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
from tunnelctl.wire.messages import Message, ReceivedMessage
from tunnelctl.wire.session import Session
from tunnelctl.wire.stream import Stream

log = EventLog("tunnelctl.link")

MAX_MESSAGE = 256 * 1024
"""Maximum bytes of one websocket message that is sent: the peer must store a whole message before it can read a
frame."""
MAX_RECEIVED = MAX_MESSAGE + 1024
"""Maximum bytes of a received websocket message, with some slack for a peer that counts headers differently."""
SEND_AHEAD = 128 * 1024
"""Bytes handed to the socket before it drains. More would let a bulk stream queue ahead of all others in the kernel;
less would cost a wake-up for every few frames."""
MAX_UNSENT = 1024 * 1024
"""Maximum unsent bytes of websocket control responses and our own messages. A peer that sends requests without reading
the responses exceeds it; our own messages alone stay well below, as the session is only read while the socket
drains."""
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
"""Seconds between PINGs. A link that is silent for three of them is dead, so a half-open one lasts at most 15 s."""


class StreamOwner(Protocol):
    """Receives the events of one stream.

    Methods are called in the event loop, and never after `on_reset` or after both halves have ended.
    """

    def on_head(self, payload: bytes, fin: bool) -> None:
        """Handle a HEAD frame."""

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        """Handle a DATA frame. The owner calls `Link.consumed` once it has passed the bytes on."""

    def on_end(self, trailers: bytes) -> None:
        """Handle an END frame, which ends the peer's half of the stream."""

    def on_reset(self, code: Code, reason: str) -> None:
        """Handle the end of the stream, by the peer's reset or by the loss of the link (`Code.HEARTBEAT`)."""

    def on_writable(self) -> None:
        """Handle that the stream's send queue has drained."""


class LinkUser(Protocol):
    """Receives the events of a link: the agent, or the relay's session of an agent."""

    def on_opened(self, stream: Stream, payload: bytes, fin: bool) -> None:
        """Handle a stream that the peer opened; the stream's owner must be set here."""

    def on_about(self, stream: Stream, payload: bytes) -> None:
        """Handle the peer's description of the visitor whose stream it opened."""

    def on_message(self, message: ReceivedMessage) -> None:
        """Handle a control message."""

    def on_pong(self, rtt: float) -> None:
        """Handle a new measurement of the round trip, in seconds."""

    def on_go_away(self, code: Code, reason: str) -> None:
        """Handle that the peer accepts no new streams; it closes the link when the last stream has ended."""

    def on_closed(self, code: Code, reason: str) -> None:
        """Handle the end of the link. Called once."""


class Link(asyncio.Protocol):
    """A websocket connection that carries one session.

    `dial` or `accept` creates the websocket and then calls `take_over`.

    Attributes:
        peer: Address of the other end as text, for display.
        is_open: True while frames can be sent.
        transport: The network connection under the link.

    Args:
        heartbeat: Seconds between PINGs.
        loop: Event loop whose clock and timers to use; None for the running one.
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
        """Start using an open websocket and its transport.

        Args:
            ws: State of the open websocket.
            data: Bytes that arrived after the handshake.
            early: Messages after the handshake that `ws` has already read.
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
        """Whether `open` would succeed."""
        return self.is_open and self.session.can_open

    @property
    def stream_count(self) -> int:
        """Number of streams that are open."""
        return self.session.stream_count

    @property
    def rtt(self) -> float | None:
        """Measured round trip in seconds; None before the first PONG."""
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

    def send_about(self, stream: Stream, payload: bytes) -> None:
        """Send a description of the visitor in an ABOUT frame, right after `open`."""
        self.session.send_about(stream, payload)

    def send_head(self, stream: Stream, payload: bytes, fin: bool = False) -> None:
        """Send a HEAD frame on the stream."""
        self.session.send_head(stream, payload, fin=fin)
        if not self._is_flush_due:
            self._schedule()

    def send_data(self, stream: Stream, data: bytes | memoryview, fin: bool = False) -> None:
        """Queue body bytes on the stream. The caller should stop while `stream.is_full`, until `on_writable`."""
        self.session.send_data(stream, data, fin=fin)
        if not self._is_flush_due:
            self._schedule()

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """End our half of the stream."""
        self.session.end(stream, trailers)
        self._schedule()

    def reset(self, stream: Stream, code: Code, reason: str = "") -> None:
        """Abort the stream. Its owner gets no further calls."""
        stream.owner = None
        self.session.reset(stream, code, reason)
        self._schedule()

    def consumed(self, stream: Stream, size: int) -> None:
        """Report that the owner is done with `size` received bytes; the peer may then send as many more."""
        self.session.consumed(stream, size)
        if not self._is_flush_due and self.session.has_data_to_send:
            self._schedule()

    def send(self, message: Message, *, is_optional: bool = False) -> None:
        """Send a control message; for `is_optional` see `Session.send_control`."""
        self.session.send_control(message, is_optional=is_optional)
        self._schedule()

    def ping(self) -> None:
        """Send a PING now, to measure the round trip."""
        self.session.ping(self._loop.time())
        self._schedule()

    def go_away(self, code: Code, reason: str = "") -> None:
        """Accept no new streams; open ones continue."""
        self.session.go_away(code, reason)
        self._schedule()

    def close(self, code: Code, reason: str = "") -> None:
        """Send the reason to the peer and close the link, within `CLOSE_TIMEOUT` even if the peer does not react."""
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
        """Tell every stream's owner and the link's user that the link is gone."""
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
        """Stop handing frames to the socket, as it holds `SEND_AHEAD` unsent bytes."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Resume sending, as the socket has drained."""
        self._is_paused = False
        self._flush()

    def eof_received(self) -> bool:
        """Close the connection when the peer ends its half, as a websocket needs both halves."""
        return False

    def data_received(self, data: bytes) -> None:
        """Process received websocket bytes."""
        if self._is_behind:
            self._unread += data
            return
        if self.is_open and self._pacer.is_one_message(data):  # true for nearly every read
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
        """Read at most `MAX_FRAMES_PER_TURN` of the received frames."""
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
        """Dispatch the events of the frames just read, write responses, and schedule the rest for the next turn."""
        self._dispatch()
        ws = self._ws
        if ws.writes:
            self._write_out()
            if self.transport.get_write_buffer_size() > MAX_UNSENT:
                self._abort(Code.LIMIT, "the peer asks without reading our answers")
        if self._is_behind or self.session.is_behind or self._frames or self._unread:
            self._set_behind(self.is_open and bool(self.session.is_behind or self._frames or self._unread))
        if ws.state is not State.OPEN and self.is_open and not self._is_behind:
            # The peer closed the websocket or sent invalid frames (then `ws` has written a close frame).
            if ws.parser_exc is not None:
                self._ending = self._ending or (Code.PROTOCOL, str(ws.parser_exc))
            self._shut()
        if not self._is_flush_due and self.session.has_data_to_send:
            self._schedule()

    def _set_behind(self, is_behind: bool) -> None:
        """Stop or resume reading from the socket, which is not read while frames wait for the next turn."""
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
        """Parse websocket frames from the unread bytes into `_frames`.

        Return how many of them were empty or useless (see `pacing`).
        """
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
        """Pass a websocket frame's payload to the session. Return the number of frames read, counting this one."""
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
        """End the link because the peer broke a rule. Everything else the peer has sent is dropped."""
        log.warning("link broken by peer", peer=self.peer, error=error)
        self._unread = b""
        self._frames.clear()
        self.close(error.code, error.detail)

    def _dispatch(self) -> None:
        """Pass the session's events to their owners. If an owner raises, only its stream is aborted."""
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
        """Pass on the rarer events; heads and bodies are handled in `_dispatch`."""
        if kind is Opened:
            self.user.on_opened(event.stream, event.payload, event.fin)
        elif kind is AboutReceived:
            self.user.on_about(event.stream, event.payload)
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
        """Flush after the next poll of the sockets, so that what arrives meanwhile is sent in the same message."""
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send one websocket message. What does not fit waits for the next turn, or until the socket has drained."""
        self._is_flush_due = False
        if self._is_paused or not self.is_open or self._ws.state is not State.OPEN:
            return
        data = self.session.data_to_send(MAX_MESSAGE)
        if not data:
            return
        self._ws.send_binary(data)
        self._write_out()
        self._dispatch()  # emptying the queues makes room: report `Writable` now, not at the next read
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
        """Drop the connection at once, because the peer is silent or does not read."""
        self._ending = self._ending or (code, reason)
        self.is_open = False
        self.transport.abort()

    def _shut(self) -> None:
        """Close the connection when all written bytes are sent, or after `CLOSE_TIMEOUT`."""
        self.is_open = False
        self._write_out()
        self.transport.close()
        self._loop.call_later(CLOSE_TIMEOUT, self.transport.abort)


def _tell_lost(stream: Stream, code: Code, reason: str) -> None:
    """Call `on_reset` of the stream's owner, as its last event."""
    owner, stream.owner = stream.owner, None
    if owner is not None:
        _guarded(owner.on_reset, code, reason)


def _guarded(callback: Any, *args: Any) -> None:
    """Call a callback and log what it raises, so that the callbacks after it are still called."""
    try:
        callback(*args)
    except Exception:
        log.exception("on_reset or on_closed raised")
