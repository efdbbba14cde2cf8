"""One end of a link, without I/O: turns received bytes into events, and commands into bytes to send.

    session.receive_data(chunk, now)  ->  session.events()
    session.open(...), send_head(...), send_data(...), ...  ->  session.data_to_send(max_bytes)

The user reads `events()` after `receive_data` and after `data_to_send`. Sent and received frames change a stream's
state by the table in `stream`; `scheduler` decides which frame is sent next, `window` how much credit the peer gets.

Small frames go into an output list at once, in the order of the calls. Larger frames, and those that must wait for
credit, are queued on their stream, and `scheduler` serves the streams in turn. Control frames and small exchanges
therefore overtake bulk data, and a RESET never overtakes the OPEN of its stream.
"""

from typing import Final

import msgspec

from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.events import (
    AboutReceived,
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
    ABOUT,
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
from tunnelctl.wire.messages import Message, read_message
from tunnelctl.wire.scheduler import LOW_WATER, Scheduler
from tunnelctl.wire.stream import ENDED, FLOWING, HEAD_DUE, INTERIM, NEXT, WAS_RESET, Stream
from tunnelctl.wire.window import Budget, earned, release

MAX_FRAMES_AT_ONCE: Final = 1 << 30
"""Default maximum of frames that `receive_data` reads at once: no limit, all frames of a chunk."""
MAX_PINNING: Final = 8
"""Factor by which a received chunk may be larger than DATA that is kept as a view of it. A view keeps the whole chunk
in memory; without this limit a peer could make single bytes of many slow streams keep whole messages."""
MIN_VIEW: Final = 4096
"""Size in bytes below which a copy costs no more than a memory view."""

_STREAM_FRAMES: Final = frozenset({DATA, DATA_FIN, HEAD, HEAD_FIN, END_FIN, WINDOW, RESET, ABOUT})
_LINK_FRAMES: Final = frozenset({PING, PONG, GOAWAY, CONTROL})
_ANSWERS: Final = frozenset(
    {Code.NO_ERROR, Code.REFUSED, Code.UPSTREAM_UNREACHABLE, Code.UPSTREAM_BROKEN, Code.UPSTREAM_TIMEOUT}
)
"""Reset codes that stand for a response to a request. They cost the opener no more than a response, and occur for every
request while an upstream is down, so they do not count as rapid reset."""

_encode: Final = msgspec.json.Encoder().encode
_unpack_header: Final = HEADER.unpack_from


class Session:
    """One end of a link: the protocol state of all its streams, without I/O.

    Args:
        opens: True on the relay's end, the only one that opens streams.
        limits: The limits that the peer must keep.
        budget: Parent of the link's own budget for window growth; None for no parent.

    Attributes:
        budget: Bytes by which the windows of this link have grown and may still grow.
        last_received: Time at which bytes last arrived, by the caller's clock.
        is_behind: True when complete frames are left unread because `receive_data` had read `max_frames`.
        error: The violation that ended the session; None while the session is alive.
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
        # The opener keeps to half of the acceptor's limit, as the network may deliver resets closer together than sent.
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
        """Maximum number of open streams: our own limit at first; the user lowers it to the peer's limit if that is
        less.
        """
        return self._max_streams

    @max_streams.setter
    def max_streams(self, value: int) -> None:
        self._max_streams = value
        self._room = self._make_room()

    @property
    def stream_count(self) -> int:
        """Number of streams that are not closed."""
        return len(self._streams)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams that are not closed, oldest first."""
        return tuple(self._streams.values())

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` would return any bytes."""
        return self._scheduler.has_frames or bool(self._grants)

    @property
    def rtt(self) -> float | None:
        """Smoothed round trip in seconds; None before the first PONG."""
        return self._heartbeat.rtt

    # Commands

    def open(self, payload: bytes, *, fin: bool) -> Stream:
        """Open a stream with an OPEN payload of at most MAX_PAYLOAD bytes; `fin` means that no request body follows.

        Raises:
            WireError: REFUSED with `is_remote` False, when `can_open` is False.
        """
        if not self.can_open:
            raise WireError(Code.REFUSED, "no stream can be opened now", is_remote=False)
        _check_size(payload)
        self._last_id = number = self._last_id + 1
        stream = Stream(number, ENDED if fin else FLOWING, HEAD_DUE)
        self._streams[number] = stream
        # OPEN frames are never queued, whatever their size: stream ids must ascend on the wire.
        self._scheduler.put(OPEN_FIN if fin else OPEN, number, payload)
        return stream

    def send_about(self, stream: Stream, payload: bytes) -> None:
        """Send the acceptor a description of a stream's visitor, once, right after `open`.

        Older acceptors skip the frame.

        Raises:
            WireError: Raised with `is_remote` False: this end is the acceptor's, or the description was already sent.
        """
        if not self._opens or stream.has_about:
            raise _misuse(f"stream {stream.id}: ABOUT is sent once, by the opener")
        _check_size(payload)
        stream.has_about = True
        if stream.sending != WAS_RESET:
            # Never queued, so that it comes right behind its OPEN.
            self._scheduler.put(ABOUT | OPTIONAL, stream.id, payload)

    def send_head(self, stream: Stream, payload: bytes, *, fin: bool = False) -> None:
        """Send a response head: any number of interim (1xx) heads, then the final one."""
        step = INTERIM if is_interim(payload) else HEAD
        self._send(stream, step | FIN if fin else step, payload)

    def send_data(self, stream: Stream, data: bytes | memoryview, *, fin: bool = False) -> None:
        """Send or queue any number of bytes. The caller should watch `stream.queued` and pause above HIGH_WATER.

        Args:
            data: A memory view must not change until the stream's queue is empty.
            fin: These are the last bytes.
        """
        if data or fin:
            self._send(stream, DATA_FIN if fin else DATA, data)

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """End our half of the stream, with trailer field lines or without."""
        self._send(stream, END_FIN, trailers)

    def reset(self, stream: Stream, code: Code, reason: str = "") -> None:
        """End both halves now.

        On a stream that has already ended, only return the growth of its window to the budget.
        """
        if stream.is_closed:
            release(stream, self.budget)
            return
        if self._opens:
            self._resets_sent.spend(self._now)
            self._room = 0
        self._scheduler.put(RESET, stream.id, pack_reset(code, reason))
        self._kill(stream)

    def consumed(self, stream: Stream, n: int) -> None:
        """Report that the reader is done with `n` received bytes; the peer may then send as many more.

        Raises:
            WireError: INTERNAL with `is_remote` False: fewer bytes than that were received.
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
        """Send a control message to the user of the peer's session.

        Args:
            is_optional: A peer that does not know this message skips it instead of ending the link.
        """
        payload = _encode(message)
        _check_size(payload)
        self._scheduler.put(CONTROL | OPTIONAL if is_optional else CONTROL, 0, payload)

    def ping(self, now: float) -> None:
        """Send a PING, to check that the peer is alive and to measure the round trip.

        Raises:
            WireError: HEARTBEAT, when `max_unanswered_pings` PINGs are already unanswered.
        """
        self._now = now
        self._scheduler.put(PING, 0, self._heartbeat.ping(now))

    def go_away(self, code: Code, reason: str = "") -> None:
        """Accept no new streams. Open streams continue; streams that the peer opens from now on are ignored."""
        if self.error is None:
            self._put_go_away(code, reason)

    def close(self) -> tuple[Stream, ...]:
        """Close the session after the link is lost.

        Return the streams that were open, also those that an error had ended.
        """
        streams, self._orphans = self._orphans + self._free(), ()
        return streams

    # Bytes out

    def data_to_send(self, max_bytes: int) -> bytes:
        """Return whole frames that may be sent now; empty when there are none.

        Args:
            max_bytes: At least 1,024. The result may be larger only for one frame that cannot be split (OPEN, HEAD,
                END, CONTROL).
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
        """Ignore a frame sent on a reset stream, as the user may not know of the reset; raise a WireError for any
        other.
        """
        if stream.sending != WAS_RESET:
            raise _misuse(f"stream {stream.id}: frame out of turn")

    def _put_grants(self) -> None:
        """Send the credit that `consumed` has collected: one WINDOW frame per stream, even if the peer reads nothing
        for long.
        """
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
        """Process bytes from the peer, in chunks of any size.

        Whole frames in a `bytes` chunk are not copied: events of large DATA hold views of the chunk. After a violation
        of the protocol, further bytes are ignored, and `data_to_send` returns only a GOAWAY.

        Args:
            data: Must not be changed afterwards.
            now: Seconds of a clock that never goes back.
            max_frames: How many frames to read now. The next calls read the rest, and may be given no new bytes.

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
        """Return the events since the last call, in order."""
        events = self._events
        self._events = []
        return events

    # Receiving: reading single frames. Each of these methods emits at most one event, or raises a WireError.

    def _read_frames(self, data: bytes | memoryview, max_frames: int) -> tuple[int, int]:
        """Read the complete frames at the start of `data`. Return their total bytes and their number."""
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
            elif first == ABOUT:
                self._read_about(stream, bytes(data[start:end]))
            else:
                self._skip_unknown(word >> 24)
        else:
            self._wanted = HEADER_SIZE
        return position, frames

    def _want(self, length: int) -> None:
        """Wait for the rest of a frame.

        Raise a WireError if its declared length exceeds the limit, before storing any of it.
        """
        if length > MAX_PAYLOAD:
            raise WireError(Code.LIMIT, f"a payload of {length} bytes, expected no more than {MAX_PAYLOAD}")
        self._wanted = HEADER_SIZE + length

    def _read_about(self, stream: Stream, payload: bytes) -> None:
        if self._opens or stream.has_about:
            raise _out_of_turn(stream)
        if len(payload) > self._limits.max_head:
            raise WireError(Code.LIMIT, f"stream {stream.id}: ABOUT of {len(payload)} bytes")
        stream.has_about = True
        self._events.append(AboutReceived(stream, payload))

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
            # An empty DATA frame costs a peer nothing and has no effect (CVE-2019-9518).
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
        """Handle a frame whose stream id is not open: a frame of the link, an OPEN, or one for a stream that has
        ended.
        """
        first = byte & ~OPTIONAL
        if first & KIND_MASK == OPEN:
            self._read_open(number, payload, first == OPEN_FIN)
        elif first in _STREAM_FRAMES:
            # Frames may cross on the wire: ignore a frame for a stream that was opened and has ended.
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
            self._events.append(ControlReceived(read_message(payload)))
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
        """Skip a frame of an unknown kind if it is marked optional and has no FIN (FIN would end a half); else
        raise.
        """
        if not byte & OPTIONAL or byte & FIN or byte & KIND_MASK <= ABOUT:
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
        """Return how many streams may be open. For each of them, one reset is reserved within the peer's rate limit."""
        if not self._opens or self._is_leaving or self._last_id >= MAX_STREAM_ID:
            return 0
        return min(self._max_streams, self._resets_sent.room(self._now))

    def _forget(self, stream: Stream) -> None:
        """Remove a stream of which both halves have ended.

        If bytes are unconsumed, `consumed` or `reset` release its budget.
        """
        del self._streams[stream.id]
        if not stream.unconsumed:
            release(stream, self.budget)

    def _kill(self, stream: Stream) -> None:
        """Remove a stream that either side has reset."""
        stream.sending = stream.receiving = WAS_RESET
        self._scheduler.drop(stream)
        self._grants.pop(stream, None)
        release(stream, self.budget)
        del self._streams[stream.id]

    def _free(self) -> tuple[Stream, ...]:
        """Reset every stream and return their budget. Return the streams that were open."""
        streams = self.streams
        for stream in streams:
            self._kill(stream)
        self._is_leaving = True
        self._room = 0
        self.budget.close()
        return streams

    def _fail(self, error: WireError) -> None:
        """End the session with an error; only a GOAWAY is left to send.

        The caller of `close` informs the streams' owners.
        """
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
