"""The sending half of a session: commands in, bytes out. `session` adds the receiving half.

Small frames go into an output list at once, in the order of the calls; larger ones, and those that must wait for
credit, are queued on their stream, where `scheduler` takes turns. So what controls the link, and small exchanges, pass
the bulk by, and a RESET never overtakes its OPEN.
"""

import msgspec

from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.events import Event, Writable
from tunnelctl.wire.frames import (
    CONTROL,
    DATA,
    DATA_FIN,
    END_FIN,
    FIN,
    GOAWAY,
    HEAD,
    KIND_MASK,
    MAX_PAYLOAD,
    MAX_STREAM_ID,
    OPEN,
    OPEN_FIN,
    OPTIONAL,
    PING,
    RESET,
    WINDOW,
    is_interim,
    pack_go_away,
    pack_reset,
    pack_window,
)
from tunnelctl.wire.heartbeat import Heartbeat
from tunnelctl.wire.limits import Bucket, Limits
from tunnelctl.wire.messages import Message
from tunnelctl.wire.scheduler import LOW_WATER, Scheduler
from tunnelctl.wire.stream import ENDED, FLOWING, HEAD_DUE, INTERIM, NEXT, WAS_RESET, Stream
from tunnelctl.wire.window import Budget, earned, release

_encode = msgspec.json.Encoder().encode


class Sender:
    """Streams, what is to be sent on them, and the commands. Not used by itself: see `session.Session`."""

    __slots__ = (
        "_budget",
        "_events",
        "_grants",
        "_heartbeat",
        "_is_leaving",
        "_last_id",
        "_limits",
        "_max_streams",
        "_now",
        "_opens",
        "_resets",
        "_room",
        "_scheduler",
        "_streams",
        "_taken_up_to",
        "_unsent_answers",
    )

    def __init__(self, *, opens: bool, limits: Limits | None = None, budget: Budget | None = None) -> None:
        """One end of a link.

        Args:
            opens: True on the relay's end, which opens the streams.
            limits: What we allow the peer.
            budget: What the link's own budget for window growth draws from; None: nothing above it.
        """
        self._opens = opens
        self._limits = limits = limits or Limits()
        self._max_streams = limits.max_streams
        self._budget = Budget(limits.max_link_growth, budget)
        self._heartbeat = Heartbeat(limits.max_unanswered_pings)
        self._scheduler = Scheduler()
        self._streams: dict[int, Stream] = {}
        self._events: list[Event] = []
        self._unsent_answers = 0
        self._grants: dict[Stream, int] = {}
        self._last_id = 0
        self._taken_up_to = MAX_STREAM_ID
        self._now = 0.0
        self._is_leaving = False
        # The opener keeps to half of what the acceptor enforces: the network may deliver resets closer together.
        share = 0.5 if opens else 1.0
        self._resets = Bucket(rate=limits.max_resets_per_second * share, burst=int(limits.max_reset_burst * share))
        self._room = self._make_room()

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
        """End both halves now; also for a reader that will not consume the rest of an ended stream's data."""
        if stream.is_closed:
            release(stream, self._budget)
            return
        if self._opens:
            self._resets.add(self._now)
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
                credit = earned(stream, self._now, self._heartbeat.rtt, self._budget, self._limits.max_window)
                self._grants[stream] = self._grants.get(stream, 0) + credit
        elif owed == window - stream.left:
            release(stream, self._budget)

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
        self._is_leaving = True
        self._room = 0
        if not self._opens:
            self._taken_up_to = min(self._taken_up_to, self._last_id)
        self._scheduler.put(GOAWAY, 0, pack_go_away(code, 0 if self._opens else self._taken_up_to, reason))

    def close(self) -> tuple[Stream, ...]:
        """Free everything: the link is gone. Returns the streams that were still open."""
        streams = self.streams
        for stream in streams:
            self._kill(stream)
        self._is_leaving = True
        self._room = 0
        self._budget.close()
        return streams

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
        """A user may not have heard of a reset yet; anything else out of turn is its fault."""
        if stream.sending != WAS_RESET:
            raise _misuse(f"stream {stream.id}: frame out of turn")

    def _put_grants(self) -> None:
        """Here and not in `consumed`, so that a peer that does not read costs one pending grant for each stream."""
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

    def _forget(self, stream: Stream) -> None:
        """Both halves have ended. Growth that holds unconsumed bytes is brought back by `consumed` or `reset`."""
        del self._streams[stream.id]
        if not stream.unconsumed:
            release(stream, self._budget)

    def _kill(self, stream: Stream) -> None:
        """The stream was reset by either side."""
        stream.sending = stream.receiving = WAS_RESET
        self._scheduler.drop(stream)
        self._grants.pop(stream, None)
        release(stream, self._budget)
        del self._streams[stream.id]

    def _make_room(self) -> int:
        """How many streams may be open: a reset for each of them is kept in reserve."""
        if not self._opens or self._is_leaving or self._last_id >= MAX_STREAM_ID:
            return 0
        return min(self._max_streams, self._resets.room(self._now))


def _check_size(payload: bytes | memoryview) -> None:
    if len(payload) > MAX_PAYLOAD:
        raise WireError(Code.LIMIT, f"{len(payload)} bytes in one frame", is_remote=False)


def _misuse(detail: str) -> WireError:
    return WireError(Code.INTERNAL, detail, is_remote=False)
