"""One end of a link, without I/O: bytes in, events out; commands in, bytes out.

    session.receive_data(chunk, now)  ->  session.events()
    session.open(...), send_head(...), send_data(...), ...  ->  session.data_to_send(max_bytes)

This module is the receiving half; `sender` has the commands. Both change the streams' states by the table in `stream`.
The user looks at `events()` after `receive_data` and after `data_to_send`.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.events import (
    ControlReceived,
    DataReceived,
    Ended,
    Event,
    GoAwayReceived,
    HeadReceived,
    Opened,
    PongReceived,
    WasReset,
)
from tunnelctl.wire.frames import (
    CONTROL,
    DATA,
    DATA_FIN,
    END_FIN,
    GOAWAY,
    HEAD,
    HEAD_FIN,
    HEADER,
    HEADER_SIZE,
    KIND_MASK,
    LENGTH_MASK,
    MAX_CREDIT,
    MAX_PAYLOAD,
    OPEN,
    OPEN_FIN,
    OPTIONAL,
    PING,
    PONG,
    RESET,
    WINDOW,
    is_interim,
    unpack_go_away,
    unpack_reset,
    unpack_window,
)
from tunnelctl.wire.heartbeat import PING_SIZE
from tunnelctl.wire.limits import Bucket, Limits
from tunnelctl.wire.messages import Message
from tunnelctl.wire.sender import Sender
from tunnelctl.wire.stream import ENDED, FLOWING, HEAD_DUE, INTERIM, NEXT, Stream
from tunnelctl.wire.window import Budget

MAX_PINNING: Final = 8
"""A view keeps its whole chunk alive: DATA is copied out when it is less than one part in so many of it. Else a peer
could make one byte of a slow stream hold a whole message, thousands of times."""
MIN_VIEW: Final = 4096
"""Bytes below which a copy costs no more than a view."""

_ANSWERS: Final = frozenset(
    {Code.NO_ERROR, Code.REFUSED, Code.UPSTREAM_UNREACHABLE, Code.UPSTREAM_BROKEN, Code.UPSTREAM_TIMEOUT}
)
"""Codes with which the acceptor answers a request. They cost the opener no more than a response does, and come for
every request while an upstream is down: they are no rapid reset."""

_decode: Final = msgspec.json.Decoder[Message](Message).decode
_unpack_header: Final = HEADER.unpack_from


class Session(Sender):
    """One end of a link.

    Attributes:
        last_received: When bytes last came, by the caller's clock.
        error: The violation that ended the session; None while it goes on.
    """

    __slots__ = ("_orphans", "_partial", "_resets_heard", "_wanted", "error", "last_received")

    def __init__(self, *, opens: bool, limits: Limits | None = None, budget: Budget | None = None) -> None:
        super().__init__(opens=opens, limits=limits, budget=budget)
        self._partial = bytearray()
        self._wanted = 0
        self._orphans: tuple[Stream, ...] = ()
        self._resets_heard = Bucket(rate=self._limits.max_resets_per_second, burst=self._limits.max_reset_burst)
        self.last_received = 0.0
        self.error: WireError | None = None

    @property
    def rtt(self) -> float | None:
        """Smoothed round trip in seconds; None before the first PONG."""
        return self._heartbeat.rtt

    @property
    def unanswered_pings(self) -> int:
        """PINGs sent and not answered."""
        return self._heartbeat.unanswered

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        events = self._events
        self._events = []
        return events

    def close(self) -> tuple[Stream, ...]:
        """Free everything: the link is gone. Returns the streams that were still open, also those a violation ended."""
        streams, self._orphans = self._orphans + super().close(), ()
        return streams

    def receive_data(self, data: bytes | bytearray | memoryview, now: float) -> None:
        """Take bytes of the peer, in any chunks.

        Whole frames in a `bytes` chunk are not copied: events of large DATA hold views of it. After a violation, bytes
        are ignored, and `data_to_send` has just a GOAWAY.

        Args:
            data: Must not be changed afterwards.
            now: Seconds, of a clock that never goes back.

        Raises:
            WireError: The peer broke a rule; `code` says which.
        """
        if self.error is not None:
            return
        self._now = self.last_received = now
        if self._partial:
            self._partial += data
            if len(self._partial) < self._wanted:
                return
            data, self._partial = self._partial, bytearray()
        try:
            done = self._read_frames(data if type(data) is bytes else memoryview(data).toreadonly())
        except WireError as error:
            self._fail(error)
            raise
        if done < len(data):
            self._partial += data[done:]

    def _read_frames(self, data: bytes | memoryview) -> int:
        """Read the whole frames at the start of `data`. Returns how many bytes they are."""
        position, size = 0, len(data)
        find = self._streams.get
        while size - position >= HEADER_SIZE:
            word, number = _unpack_header(data, position)
            start = position + HEADER_SIZE
            end = start + (word & LENGTH_MASK)
            if end > size or end - start > MAX_PAYLOAD:
                self._want(end - start)
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
        else:
            self._wanted = HEADER_SIZE
        return position

    def _want(self, length: int) -> None:
        """A frame is not here whole. Refused by its length alone, before anything is kept for it."""
        if length > MAX_PAYLOAD:
            raise WireError(Code.LIMIT, f"a payload of {length} bytes, expected no more than {MAX_PAYLOAD}")
        self._wanted = HEADER_SIZE + length

    def _read_data(self, stream: Stream, first: int, data: bytes | memoryview, start: int, end: int) -> None:
        size = end - start
        after = NEXT[stream.receiving].get(first)
        if after is None:
            raise _out_of_turn(stream)
        left = stream.left - size
        if left < 0:
            raise WireError(Code.FLOW_CONTROL, f"stream {stream.id}: {size} bytes, expected no more than {stream.left}")
        stream.left = left
        stream.received_total += size
        if size >= MIN_VIEW and size * MAX_PINNING >= len(data):
            payload: bytes | memoryview = memoryview(data)[start:end]
        else:
            payload = bytes(data[start:end])
        if after == ENDED:
            self._events.append(DataReceived(stream, payload, True))
            self._end_receiving(stream)
        elif size:
            self._events.append(DataReceived(stream, payload, False))
        else:
            # Costs a peer nothing and means nothing (CVE-2019-9518).
            raise WireError(Code.PROTOCOL, f"stream {stream.id}: empty DATA without FIN")

    def _read_head(self, stream: Stream, first: int, payload: bytes) -> None:
        if len(payload) < 2 or len(payload) > self._limits.max_head:
            raise WireError(Code.LIMIT, f"stream {stream.id}: a head of {len(payload)} bytes")
        step = first
        if is_interim(payload):
            step ^= HEAD ^ INTERIM
            stream.interim += HEADER_SIZE + len(payload)
            if stream.interim > self._limits.max_head:
                raise WireError(Code.LIMIT, f"stream {stream.id}: {stream.interim} bytes of interim heads")
        after = NEXT[stream.receiving].get(step)
        if after is None:
            raise _out_of_turn(stream)
        self._events.append(HeadReceived(stream, payload, after == ENDED))
        if after == ENDED:
            self._end_receiving(stream)
        else:
            stream.receiving = after

    def _read_end(self, stream: Stream, payload: bytes) -> None:
        if len(payload) > self._limits.max_head:
            raise WireError(Code.LIMIT, f"stream {stream.id}: {len(payload)} bytes of trailers")
        if END_FIN not in NEXT[stream.receiving]:
            raise _out_of_turn(stream)
        self._events.append(Ended(stream, payload))
        self._end_receiving(stream)

    def _end_receiving(self, stream: Stream) -> None:
        stream.receiving = ENDED
        if stream.sending == ENDED and not stream.queue:
            self._forget(stream)

    def _read_window(self, stream: Stream, payload: bytes) -> None:
        credit = stream.credit + unpack_window(payload)
        if credit > MAX_CREDIT:
            raise WireError(Code.FLOW_CONTROL, f"stream {stream.id}: credit of {credit} bytes")
        stream.credit = credit
        self._scheduler.wake(stream)

    def _read_reset(self, stream: Stream, payload: bytes) -> None:
        code, reason = unpack_reset(payload)
        is_answer = self._opens and code in _ANSWERS
        self._kill(stream)
        self._events.append(WasReset(stream, code, reason))
        if not is_answer and not self._resets_heard.add(self._now):
            raise WireError(Code.TOO_MANY_RESETS, "streams were reset faster than allowed")

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
        elif number:
            raise WireError(Code.PROTOCOL, f"frame {first} on stream {number}")
        else:
            _LINK_READERS[first](self, byte, payload)

    def _read_open(self, number: int, payload: bytes, fin: bool) -> None:
        if self._opens or number != self._last_id + 1:
            raise WireError(Code.PROTOCOL, f"OPEN of stream {number} after {self._last_id}")
        if len(payload) > self._limits.max_head:
            raise WireError(Code.LIMIT, f"stream {number}: a head of {len(payload)} bytes")
        self._last_id = number
        if number > self._taken_up_to:
            return
        if len(self._streams) >= self._max_streams:
            raise WireError(Code.LIMIT, f"more than {self._max_streams} streams")
        stream = self._streams[number] = Stream(number, HEAD_DUE, ENDED if fin else FLOWING)
        self._events.append(Opened(stream, payload, fin))

    def _read_ping(self, byte: int, payload: bytes) -> None:
        if len(payload) != PING_SIZE:
            raise WireError(Code.PROTOCOL, f"PING of {len(payload)} bytes")
        self._count_question()
        self._put(PONG, 0, payload)

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
        """Leave just the GOAWAY to send. The streams' owners are told by whoever calls `close`."""
        self.error = error
        self._orphans = super().close()
        self._out, self._out_size = [], 0
        super().go_away(error.code, error.detail)


_STREAM_FRAMES: Final = frozenset({DATA, DATA_FIN, HEAD, HEAD_FIN, END_FIN, WINDOW, RESET})
_LINK_READERS: Final[Mapping[int, Callable[[Session, int, bytes], None]]] = {
    PING: Session._read_ping,
    PONG: Session._read_pong,
    GOAWAY: Session._read_go_away,
    CONTROL: Session._read_control,
}


def _skip_unknown(byte: int) -> None:
    """Versions can meet: a kind we do not know is skipped if its sender said so."""
    if not byte & OPTIONAL or byte & KIND_MASK <= CONTROL:
        raise WireError(Code.PROTOCOL, f"unknown frame type {byte}")


def _out_of_turn(stream: Stream) -> WireError:
    return WireError(Code.PROTOCOL, f"stream {stream.id}: frame out of turn")
