"""One end of a link, without I/O: bytes in, events out; commands in, bytes out.

    session.receive_data(chunk, now)  ->  session.events()
    session.open(...), send_head(...), send_data(...), ...  ->  session.data_to_send(max_bytes)

The user looks at `events()` after `receive_data` and after `data_to_send`. Both directions change a stream's halves by
the table in `stream`; `scheduler` decides which frame goes next, `window` how much credit the peer gets.

Small frames go into an output list at once, in the order of the calls; larger ones, and those that must wait for
credit, are queued on their stream, where `scheduler` takes turns. So control frames and small exchanges overtake bulk
data, and a RESET never overtakes its OPEN.
"""

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
    Writable,
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
    MAX_CREDIT,
    MAX_PAYLOAD,
    MAX_STREAM_ID,
    OPEN,
    OPEN_FIN,
    OPTIONAL,
    PING,
    PONG,
    RESET,
    WINDOW,
    is_interim,
    pack_go_away,
    pack_reset,
    pack_window,
    unpack_go_away,
    unpack_reset,
    unpack_window,
)
from tunnelctl.wire.heartbeat import PING_SIZE, Heartbeat
from tunnelctl.wire.limits import Bucket, Limits
from tunnelctl.wire.messages import Message
from tunnelctl.wire.scheduler import LOW_WATER, Scheduler
from tunnelctl.wire.stream import ENDED, FLOWING, HEAD_DUE, INTERIM, NEXT, WAS_RESET, Stream
from tunnelctl.wire.window import Budget, earned, release

MAX_FRAMES_AT_ONCE: Final = 1 << 30
"""As many frames as a chunk has: for callers that do not share a loop with others."""
MAX_PINNING: Final = 8
"""A view keeps its whole chunk alive: DATA is copied out when it is less than one part in so many of it. Else a peer
could make one byte of a slow stream hold a whole message, thousands of times."""
MIN_VIEW: Final = 4096
"""Bytes below which a copy costs no more than a view."""

_STREAM_FRAMES: Final = frozenset({DATA, DATA_FIN, HEAD, HEAD_FIN, END_FIN, WINDOW, RESET})
_LINK_FRAMES: Final = frozenset({PING, PONG, GOAWAY, CONTROL})
_ANSWERS: Final = frozenset(
    {Code.NO_ERROR, Code.REFUSED, Code.UPSTREAM_UNREACHABLE, Code.UPSTREAM_BROKEN, Code.UPSTREAM_TIMEOUT}
)
"""Codes with which the acceptor answers a request. They cost the opener no more than a response does, and come for
every request while an upstream is down: they are no rapid reset."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder[Message](Message).decode
_unpack_header: Final = HEADER.unpack_from


class Session:
    """One end of a link.

    Args:
        opens: True on the relay's end, which opens the streams.
        limits: What we allow the peer.
        budget: What the link's own budget for window growth draws from; None: nothing above it.

    Attributes:
        budget: What windows of this link may grow by, and have grown.
        last_received: When bytes last came, by the caller's clock.
        is_behind: Frames are left that `receive_data` did not read, as it had read `max_frames`.
        error: The violation that ended the session; None while it goes on.
    """

    __slots__ = (
        "_events",
        "_grants",
        "_heartbeat",
        "_is_leaving",
        "_last_id",
        "_limits",
        "_link_frames",
        "_max_streams",
        "_now",
        "_opens",
        "_orphans",
        "_partial",
        "_resets_heard",
        "_resets_sent",
        "_room",
        "_scheduler",
        "_streams",
        "_taken_up_to",
        "_unsent_answers",
        "_wanted",
        "budget",
        "error",
        "is_behind",
        "last_received",
    )

    def __init__(self, *, opens: bool, limits: Limits | None = None, budget: Budget | None = None) -> None:
        self._opens = opens
        self._limits = limits = limits or Limits()
        self._max_streams = limits.max_streams
        self.budget = Budget(limits.max_link_growth, budget)
        self._heartbeat = Heartbeat(limits.max_unanswered_pings)
        self._scheduler = Scheduler()
        self._streams: dict[int, Stream] = {}
        self._events: list[Event] = []
        self._grants: dict[Stream, int] = {}
        self._orphans: tuple[Stream, ...] = ()
        self._last_id = 0
        self._taken_up_to = MAX_STREAM_ID
        self._now = 0.0
        self._is_leaving = False
        self._partial = bytearray()
        self._wanted = 0
        self._unsent_answers = 0
        self.last_received = 0.0
        self.is_behind = False
        self.error: WireError | None = None
        # The opener keeps to half of what the acceptor enforces: the network may deliver resets closer together.
        rate, burst, share = limits.max_resets_per_second, limits.max_reset_burst, 0.5 if opens else 1.0
        self._resets_sent = Bucket(int(burst * share), rate * share)
        self._resets_heard = Bucket(burst, rate)
        self._link_frames = Bucket(limits.max_link_frame_burst, limits.max_link_frames_per_second)
        self._room = self._make_room()

    # State

    @property
    def can_open(self) -> bool:
        """Whether `open` would succeed.

        False on the acceptor's end, after a GOAWAY of either side, when `max_streams` are open, and while more streams
        would leave no room to reset every one of them without breaking the peer's limit on resets.
        """
        if len(self._streams) < self._room:
            return True
        self._room = self._make_room()
        return len(self._streams) < self._room

    @property
    def max_streams(self) -> int:
        """Streams that may be open at once: ours at first; the user sets it to what the peer said if that is less."""
        return self._max_streams

    @max_streams.setter
    def max_streams(self, value: int) -> None:
        self._max_streams = value
        self._room = self._make_room()

    @property
    def stream_count(self) -> int:
        """Streams that are not closed."""
        return len(self._streams)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams that are not closed, oldest first."""
        return tuple(self._streams.values())

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` would return something."""
        return self._scheduler.has_frames or bool(self._grants)

    @property
    def rtt(self) -> float | None:
        """Smoothed round trip in seconds; None before the first PONG."""
        return self._heartbeat.rtt

    # Commands

    def open(self, payload: bytes, *, fin: bool) -> Stream:
        """Open a stream with an OPEN payload of at most MAX_PAYLOAD bytes; with `fin`, nothing will follow it.

        Raises:
            WireError: REFUSED and not remote, when `can_open` is False.
        """
        if not self.can_open:
            raise WireError(Code.REFUSED, "no stream can be opened now", is_remote=False)
        _check_size(payload)
        self._last_id = number = self._last_id + 1
        stream = Stream(number, ENDED if fin else FLOWING, HEAD_DUE)
        self._streams[number] = stream
        # Never queued, whatever its size: ids must ascend on the wire.
        self._scheduler.put(OPEN_FIN if fin else OPEN, number, payload)
        return stream

    def send_head(self, stream: Stream, payload: bytes, *, fin: bool = False) -> None:
        """Answer with a HEAD payload: any number of interim ones, then the final one."""
        step = INTERIM if is_interim(payload) else HEAD
        self._send(stream, step | FIN if fin else step, payload)

    def send_data(self, stream: Stream, data: bytes | memoryview, *, fin: bool = False) -> None:
        """Send bytes of any number, or queue them. The caller keeps an eye on `stream.queued`.

        Args:
            data: A view must stay unchanged until the stream's queue is empty.
            fin: These are the last.
        """
        if data or fin:
            self._send(stream, DATA_FIN if fin else DATA, data)

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """End our half, with trailer field lines or none."""
        self._send(stream, END_FIN, trailers)

    def reset(self, stream: Stream, code: Code, reason: str = "") -> None:
        """End both halves now. For a stream that has ended: give back the window of data that nothing will consume."""
        if stream.is_closed:
            release(stream, self.budget)
            return
        if self._opens:
            self._resets_sent.spend(self._now)
            self._room = 0
        self._scheduler.put(RESET, stream.id, pack_reset(code, reason))
        self._kill(stream)

    def consumed(self, stream: Stream, n: int) -> None:
        """Say that n received bytes are done with, so that the peer may send as many more.

        Raises:
            WireError: INTERNAL and not remote: so many were never received.
        """
        if stream.receiving == WAS_RESET:
            return
        owed = stream.owed + n
        window = stream.window
        if owed > window - stream.left:
            raise _misuse(f"stream {stream.id}: more consumed than received")
        stream.owed = owed
        if stream.receiving == FLOWING:
            if owed * 2 >= window:
                credit = earned(stream, self._now, self._heartbeat.rtt, self.budget, self._limits.max_window)
                self._grants[stream] = self._grants.get(stream, 0) + credit
        elif owed == window - stream.left:
            release(stream, self.budget)

    def send_control(self, message: Message, *, is_optional: bool = False) -> None:
        """Send a message to the peer's user.

        Args:
            is_optional: A peer that does not know this message skips it, instead of ending the link.
        """
        payload = _encode(message)
        _check_size(payload)
        self._scheduler.put(CONTROL | OPTIONAL if is_optional else CONTROL, 0, payload)

    def ping(self, now: float) -> None:
        """Ask for a sign of life, and measure the round trip.

        Raises:
            WireError: HEARTBEAT, when `max_unanswered_pings` are under way already.
        """
        self._now = now
        self._scheduler.put(PING, 0, self._heartbeat.ping(now))

    def go_away(self, code: Code, reason: str = "") -> None:
        """Take no new streams. Those that are open go on; what the peer opens from now on is never begun."""
        if self.error is None:
            self._put_go_away(code, reason)

    def close(self) -> tuple[Stream, ...]:
        """Free everything: the link is gone. Returns the streams that were still open, also those a violation ended."""
        streams, self._orphans = self._orphans + self._free(), ()
        return streams

    # Bytes out

    def data_to_send(self, max_bytes: int) -> bytes:
        """Whole frames that may go now; empty when there are none.

        Args:
            max_bytes: 1,024 or more. Only a single frame that cannot be cut (OPEN, HEAD, END, CONTROL) may be larger.
        """
        if self._grants:
            self._put_grants()
        self._unsent_answers = 0
        data, served = self._scheduler.take(max_bytes)
        for stream in served:
            self._after_turn(stream)
        return data

    def _send(self, stream: Stream, step: int, payload: bytes | memoryview) -> None:
        after = NEXT[stream.sending].get(step)
        if after is None:
            self._refuse(stream)
            return
        if step & KIND_MASK != DATA:
            _check_size(payload)
        stream.sending = after
        self._scheduler.send(stream, step or HEAD, payload)  # INTERIM is 0
        if after == ENDED and stream.receiving == ENDED and not stream.queue:
            self._forget(stream)

    def _refuse(self, stream: Stream) -> None:
        """Ignore a frame for a stream that was reset, as its user may not know yet; any other out of turn is misuse."""
        if stream.sending != WAS_RESET:
            raise _misuse(f"stream {stream.id}: frame out of turn")

    def _put_grants(self) -> None:
        """Send credit that `consumed` earned; not there, so that a peer that reads nothing costs one grant a stream."""
        for stream, credit in self._grants.items():
            if stream.receiving == FLOWING:
                self._scheduler.put(WINDOW, stream.id, pack_window(credit))
        self._grants.clear()

    def _after_turn(self, stream: Stream) -> None:
        if stream.is_full and stream.queued < LOW_WATER:
            stream.is_full = False
            self._events.append(Writable(stream))
        if not stream.queue and stream.sending == ENDED and stream.receiving == ENDED:
            self._forget(stream)

    def _put_go_away(self, code: Code, reason: str) -> None:
        self._is_leaving = True
        self._room = 0
        if not self._opens:
            self._taken_up_to = min(self._taken_up_to, self._last_id)
        self._scheduler.put(GOAWAY, 0, pack_go_away(code, 0 if self._opens else self._taken_up_to, reason))

    # Bytes in

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

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        events = self._events
        self._events = []
        return events

    # Bytes in: the frames. Each reader emits at most one event, or raises a WireError.

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
                self._skip_unknown(word >> 24)
        else:
            self._wanted = HEADER_SIZE
        return position, frames

    def _want(self, length: int) -> None:
        """Wait for the rest of a frame, unless its length is too large: then nothing is kept for it."""
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
        if not is_answer and not self._resets_heard.take(self._now):
            raise WireError(Code.TOO_MANY_RESETS, "streams were reset faster than allowed")

    def _read_other(self, byte: int, number: int, payload: bytes) -> None:
        """A frame of the link, of a stream to be opened, or of one that is gone."""
        first = byte & ~OPTIONAL
        if first & KIND_MASK == OPEN:
            self._read_open(number, payload, first == OPEN_FIN)
        elif first in _STREAM_FRAMES:
            # Frames may cross: a frame for a stream that was opened and is gone is ignored.
            if not 0 < number <= self._last_id:
                raise WireError(Code.PROTOCOL, f"stream {number} was never opened")
        elif first not in _LINK_FRAMES:
            self._skip_unknown(byte)
        elif number:
            raise WireError(Code.PROTOCOL, f"frame {first} on stream {number}")
        elif first == PING:
            self._read_ping(payload)
        elif first == PONG:
            self._events.append(PongReceived(self._heartbeat.pong(payload, self._now)))
        elif first == GOAWAY:
            self._read_go_away(payload)
        else:
            self._read_control(payload, is_optional=byte != first)

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

    def _read_ping(self, payload: bytes) -> None:
        if len(payload) != PING_SIZE:
            raise WireError(Code.PROTOCOL, f"PING of {len(payload)} bytes")
        self._count_question()
        self._scheduler.put(PONG, 0, payload)

    def _read_control(self, payload: bytes, *, is_optional: bool) -> None:
        if len(payload) > self._limits.max_control:
            raise WireError(Code.LIMIT, f"a message of {len(payload)} bytes")
        self._count_question()
        try:
            self._events.append(ControlReceived(_decode(payload)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if not (is_optional and isinstance(error, msgspec.ValidationError)):
                raise WireError(Code.PROTOCOL, "a message that cannot be read") from error

    def _read_go_away(self, payload: bytes) -> None:
        code, last_stream, reason = unpack_go_away(payload)
        self._is_leaving = self._is_leaving or self._opens
        self._room = 0
        self._events.append(GoAwayReceived(code, last_stream, reason))
        if self._opens:
            for stream in self.streams:
                if stream.id > last_stream:
                    self._kill(stream)
                    self._events.append(WasReset(stream, Code.REFUSED, reason))

    def _skip_unknown(self, byte: int) -> None:
        """Skip an optional frame of an unknown kind, which has no FIN, as that ends a half; refuse any other."""
        if not byte & OPTIONAL or byte & FIN or byte & KIND_MASK <= CONTROL:
            raise WireError(Code.PROTOCOL, f"unknown frame type {byte}")
        self._count_link_frame()

    def _count_question(self) -> None:
        self._unsent_answers += 1
        if self._unsent_answers > self._limits.max_unsent_answers:
            raise WireError(Code.LIMIT, "the peer asks without reading our answers")
        self._count_link_frame()

    def _count_link_frame(self) -> None:
        if not self._link_frames.take(self._now):
            raise WireError(Code.LIMIT, "too many PINGs, messages and optional frames")

    # Ends of streams, and of the session

    def _make_room(self) -> int:
        """How many streams may be open: a reset for each of them is kept in reserve."""
        if not self._opens or self._is_leaving or self._last_id >= MAX_STREAM_ID:
            return 0
        return min(self._max_streams, self._resets_sent.room(self._now))

    def _forget(self, stream: Stream) -> None:
        """Both halves have ended. Growth that holds unconsumed bytes is brought back by `consumed` or `reset`."""
        del self._streams[stream.id]
        if not stream.unconsumed:
            release(stream, self.budget)

    def _kill(self, stream: Stream) -> None:
        """The stream was reset by either side."""
        stream.sending = stream.receiving = WAS_RESET
        self._scheduler.drop(stream)
        self._grants.pop(stream, None)
        release(stream, self.budget)
        del self._streams[stream.id]

    def _free(self) -> tuple[Stream, ...]:
        """End every stream, and bring the budget back. Returns the streams that were open."""
        streams = self.streams
        for stream in streams:
            self._kill(stream)
        self._is_leaving = True
        self._room = 0
        self.budget.close()
        return streams

    def _fail(self, error: WireError) -> None:
        """Leave just the GOAWAY to send. The caller of `close` tells the streams' owners."""
        self.error = error
        self.is_behind = False
        self._orphans = self._free()
        self._scheduler.clear()
        self._put_go_away(error.code, error.detail)


def _check_size(payload: bytes | memoryview) -> None:
    if len(payload) > MAX_PAYLOAD:
        raise WireError(Code.LIMIT, f"{len(payload)} bytes in one frame", is_remote=False)


def _misuse(detail: str) -> WireError:
    return WireError(Code.INTERNAL, detail, is_remote=False)


def _out_of_turn(stream: Stream) -> WireError:
    return WireError(Code.PROTOCOL, f"stream {stream.id}: frame out of turn")
