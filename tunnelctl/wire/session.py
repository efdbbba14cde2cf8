"""One end of a link, without I/O: bytes in, events out; commands in, bytes out.

    session.receive_data(chunk, now)  ->  session.events()
    session.open(...), send_head(...), send_data(...), ...  ->  session.data_to_send(max_bytes)

`sender` has the commands, `receiver` what frames of streams do; both change the streams' states by the table in
`stream`. This module cuts frames out of chunks and reads those of the link itself. The user looks at `events()` after
`receive_data` and after `data_to_send`.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.events import (
    ControlReceived,
    Event,
    GoAwayReceived,
    PongReceived,
    WasReset,
)
from tunnelctl.wire.frames import (
    CONTROL,
    DATA,
    DATA_FIN,
    END_FIN,
    FIN,
    GOAWAY,
    HEAD,
    HEAD_FIN,
    HEADER,
    HEADER_SIZE,
    KIND_MASK,
    LENGTH_MASK,
    MAX_PAYLOAD,
    OPEN,
    OPEN_FIN,
    OPTIONAL,
    PING,
    PONG,
    RESET,
    WINDOW,
    unpack_go_away,
)
from tunnelctl.wire.heartbeat import PING_SIZE
from tunnelctl.wire.limits import Bucket, Limits
from tunnelctl.wire.messages import Message
from tunnelctl.wire.receiver import Receiver
from tunnelctl.wire.stream import Stream
from tunnelctl.wire.window import Budget

MAX_FRAMES_AT_ONCE: Final = 1 << 30
"""As many frames as a chunk has: for callers that do not share a loop with others."""

_decode: Final = msgspec.json.Decoder[Message](Message).decode
_unpack_header: Final = HEADER.unpack_from


class Session(Receiver):
    """One end of a link.

    Attributes:
        last_received: When bytes last came, by the caller's clock.
        is_behind: Frames are left that `receive_data` did not read, as it had read `max_frames`.
        error: The violation that ended the session; None while it goes on.
    """

    __slots__ = ("_link_frames", "_orphans", "_partial", "_wanted", "error", "is_behind", "last_received")

    def __init__(self, *, opens: bool, limits: Limits | None = None, budget: Budget | None = None) -> None:
        super().__init__(opens=opens, limits=limits, budget=budget)
        self._partial = bytearray()
        self._wanted = 0
        self.is_behind = False
        self._link_frames = Bucket(
            rate=self._limits.max_link_frames_per_second, burst=self._limits.max_link_frame_burst
        )
        self._orphans: tuple[Stream, ...] = ()
        self.last_received = 0.0
        self.error: WireError | None = None

    @property
    def rtt(self) -> float | None:
        """Smoothed round trip in seconds; None before the first PONG."""
        return self._heartbeat.rtt

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        events = self._events
        self._events = []
        return events

    def close(self) -> tuple[Stream, ...]:
        """Free everything: the link is gone. Returns the streams that were still open, also those a violation ended."""
        streams, self._orphans = self._orphans + super().close(), ()
        return streams

    def go_away(self, code: Code, reason: str = "") -> None:
        """Take no new streams. Those that are open go on; what the peer opens from now on is never begun."""
        if self.error is None:
            super().go_away(code, reason)

    def receive_data(
        self, data: bytes | bytearray | memoryview, now: float, max_frames: int = MAX_FRAMES_AT_ONCE
    ) -> int:
        """Take bytes of the peer, in any chunks.

        Whole frames in a `bytes` chunk are not copied: events of large DATA hold views of it. After a violation, bytes
        are ignored, and `data_to_send` has just a GOAWAY.

        Args:
            data: Must not be changed afterwards.
            now: Seconds, of a clock that never goes back.
            max_frames: How many to read now. Those left are read by the next calls, which may bring no bytes.

        Returns:
            How many frames were read.

        Raises:
            WireError: The peer broke a rule; `code` says which.
        """
        if self.error is not None:
            return 0
        self._now = self.last_received = now
        if self._partial:
            self._partial += data
            if len(self._partial) < self._wanted:
                return 0
            data, self._partial = self._partial, bytearray()
        try:
            done, frames = self._read_frames(data if type(data) is bytes else memoryview(data).toreadonly(), max_frames)
        except WireError as error:
            self._fail(error)
            raise
        if done < len(data):
            self._partial += data[done:]
        return frames

    def _read_frames(self, data: bytes | memoryview, max_frames: int) -> tuple[int, int]:
        """Read the whole frames at the start of `data`. Returns how many bytes, and how many frames, they are."""
        position, size, frames = 0, len(data), 0
        find = self._streams.get
        self.is_behind = False
        while size - position >= HEADER_SIZE:
            if frames == max_frames:
                self.is_behind = True
                self._wanted = 0
                break
            frames += 1
            word, number = _unpack_header(data, position)
            start = position + HEADER_SIZE
            end = start + (word & LENGTH_MASK)
            if end > size or end - start > MAX_PAYLOAD:
                self._want(end - start)
                frames -= 1
                break
            position = end
            first = word >> 24 & ~OPTIONAL
            stream = find(number)
            if stream is None:
                self._read_other(word >> 24, number, bytes(data[start:end]))
            elif first & KIND_MASK == DATA:
                self._read_data(stream, first, data, start, end)
            elif first & KIND_MASK == HEAD:
                self._read_head(stream, first, bytes(data[start:end]))
            elif first == WINDOW:
                self._read_window(stream, bytes(data[start:end]))
            elif first == END_FIN:
                self._read_end(stream, bytes(data[start:end]))
            elif first == RESET:
                self._read_reset(stream, bytes(data[start:end]))
            else:
                _skip_unknown(word >> 24)
                self._count_link_frame()
        else:
            self._wanted = HEADER_SIZE
        return position, frames

    def _want(self, length: int) -> None:
        """A frame is not here whole. Refused by its length alone, before anything is kept for it."""
        if length > MAX_PAYLOAD:
            raise WireError(Code.LIMIT, f"a payload of {length} bytes, expected no more than {MAX_PAYLOAD}")
        self._wanted = HEADER_SIZE + length

    def _read_other(self, byte: int, number: int, payload: bytes) -> None:
        """A frame of the link, of a stream to be opened, or of one that is gone."""
        first = byte & ~OPTIONAL
        if first & KIND_MASK == OPEN:
            self._read_open(number, payload, first == OPEN_FIN)
        elif first in _STREAM_FRAMES:
            # Streams end in a crossing of frames; who is not in the table but was opened once has been reset or ended.
            if not 0 < number <= self._last_id:
                raise WireError(Code.PROTOCOL, f"stream {number} was never opened")
        elif first not in _LINK_READERS:
            _skip_unknown(byte)
            self._count_link_frame()
        elif number:
            raise WireError(Code.PROTOCOL, f"frame {first} on stream {number}")
        else:
            _LINK_READERS[first](self, byte, payload)

    def _read_ping(self, byte: int, payload: bytes) -> None:
        if len(payload) != PING_SIZE:
            raise WireError(Code.PROTOCOL, f"PING of {len(payload)} bytes")
        self._count_question()
        self._scheduler.put(PONG, 0, payload)

    def _read_pong(self, byte: int, payload: bytes) -> None:
        self._events.append(PongReceived(self._heartbeat.pong(payload, self._now)))

    def _read_control(self, byte: int, payload: bytes) -> None:
        if len(payload) > self._limits.max_control:
            raise WireError(Code.LIMIT, f"a message of {len(payload)} bytes")
        self._count_question()
        try:
            self._events.append(ControlReceived(_decode(payload)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if not (byte & OPTIONAL and isinstance(error, msgspec.ValidationError)):
                raise WireError(Code.PROTOCOL, "a message that cannot be read") from error

    def _count_question(self) -> None:
        self._unsent_answers += 1
        if self._unsent_answers > self._limits.max_unsent_answers:
            raise WireError(Code.LIMIT, "the peer asks without reading our answers")
        self._count_link_frame()

    def _count_link_frame(self) -> None:
        if not self._link_frames.add(self._now):
            raise WireError(Code.LIMIT, "too many PINGs, messages and optional frames")

    def _read_go_away(self, byte: int, payload: bytes) -> None:
        code, last_stream, reason = unpack_go_away(payload)
        self._is_leaving = self._is_leaving or self._opens
        self._room = 0
        self._events.append(GoAwayReceived(code, last_stream, reason))
        if self._opens:
            for stream in self.streams:
                if stream.id > last_stream:
                    self._kill(stream)
                    self._events.append(WasReset(stream, Code.REFUSED, reason))

    def _fail(self, error: WireError) -> None:
        """Leave just the GOAWAY to send. The caller of `close` tells the streams' owners."""
        self.error = error
        self.is_behind = False
        self._orphans = super().close()
        self._scheduler.clear()
        super().go_away(error.code, error.detail)


_STREAM_FRAMES: Final = frozenset({DATA, DATA_FIN, HEAD, HEAD_FIN, END_FIN, WINDOW, RESET})
_LINK_READERS: Final[Mapping[int, Callable[[Session, int, bytes], None]]] = {
    PING: Session._read_ping,
    PONG: Session._read_pong,
    GOAWAY: Session._read_go_away,
    CONTROL: Session._read_control,
}


def _skip_unknown(byte: int) -> None:
    """Versions can meet: a kind we do not know is skipped if its sender said so; not with FIN, which ends a half."""
    if not byte & OPTIONAL or byte & FIN or byte & KIND_MASK <= CONTROL:
        raise WireError(Code.PROTOCOL, f"unknown frame type {byte}")
