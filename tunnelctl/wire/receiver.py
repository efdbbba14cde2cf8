"""What frames of streams do to a session: the receiving half, mirror image of `sender`.

Every reader either emits one event or raises a WireError. `session` finds the frames and their streams.
"""

from typing import Final

from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.events import DataReceived, Ended, HeadReceived, Opened, WasReset
from tunnelctl.wire.frames import END_FIN, HEAD, HEADER_SIZE, MAX_CREDIT, is_interim, unpack_reset, unpack_window
from tunnelctl.wire.limits import Bucket, Limits
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


class Receiver(Sender):
    """Readers of frames that belong to a stream. Not used by itself: see `session.Session`."""

    __slots__ = ("_resets_heard",)

    def __init__(self, *, opens: bool, limits: Limits | None = None, budget: Budget | None = None) -> None:
        super().__init__(opens=opens, limits=limits, budget=budget)
        self._resets_heard = Bucket(rate=self._limits.max_resets_per_second, burst=self._limits.max_reset_burst)

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
        if not is_answer and not self._resets_heard.add(self._now):
            raise WireError(Code.TOO_MANY_RESETS, "streams were reset faster than allowed")


def _out_of_turn(stream: Stream) -> WireError:
    return WireError(Code.PROTOCOL, f"stream {stream.id}: frame out of turn")
