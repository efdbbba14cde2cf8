"""The newest captured exchanges, in memory only. START HERE.

A `Capture` records one exchange: its heads, the beginning of its bodies, and the times. On the hot path it only keeps
references and counts; output is generated on request: `views` creates ngrok's JSON of a capture, `masking` removes
credentials from it, `har` creates an archive. `events` reports new captures to readers, `replays` sends a request
again, and `routes` has the paths of the local API for all of these.

Captures are never written to a disk or a log.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.body import Piece
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import TYPE_UPGRADE, OpenHead

MAX_CAPTURES = 10_000
"""Maximum captured exchanges; when there are more, the oldest is deleted."""
MAX_BODY = 64 * 1024
"""Maximum bytes captured of each body. The rest is only counted, and forwarded as usual."""
DEFAULT_BYTES = 50 * 1000 * 1000
"""Default maximum bytes of all captures together; `inspect_db_size` in the configuration file sets another value."""
CAPTURE_BYTES = 1200
"""Bytes of memory for a capture in addition to heads and bodies: the object, its numbers, and object headers."""
BYTEARRAY_SLACK = 8
"""Divisor of the spare memory: a growing `bytearray` takes up to 1/8 more than its content."""
HEX_DIGITS = frozenset("0123456789abcdef")

BOUNDS = (
    DeclaredBound(
        name="captured exchanges",
        limit=MAX_CAPTURES,
        unit="exchanges",
        per="agent",
        when_full="the oldest is forgotten",
        worst_bytes=DEFAULT_BYTES,
        holds=("CaptureStore._captures",),
    ),
    DeclaredBound(
        name="bytes of captured exchanges",
        limit=DEFAULT_BYTES,
        unit="bytes",
        per="agent",
        when_full="the oldest are forgotten",
        worst_bytes=DEFAULT_BYTES + DEFAULT_BYTES // BYTEARRAY_SLACK,
    ),
    DeclaredBound(
        name="captured bytes of one body",
        limit=MAX_BODY,
        unit="bytes",
        per="agent",
        when_full="the rest is counted and not kept",
        worst_bytes=MAX_BODY + MAX_BODY // BYTEARRAY_SLACK,
    ),
)


class CaptureListener(Protocol):
    """Receives changes of captures. Called in the event loop on the hot path, so it must not block or raise."""

    def changed(self, number: int) -> None:
        """An exchange began, or has ended."""

    def cleared(self) -> None:
        """All captures were deleted on a user's request."""


class Capture:
    """A captured exchange; implements `ExchangeTap`.

    Attributes:
        number: Number of the capture, which counts up in the store.
        tunnel: Name of its tunnel.
        opened: The request's head and the framing of its body, as sent by the relay.
        replay_of: Number of the capture that it replays; 0 for a visitor's request.
        started_at: Unix time at which it began.
        visitor: The ABOUT payload in which the relay described the visitor; b"" without one.
        status: Status of the final response; 0 before it.
        lines: The response's field lines, each with its CR LF.
        request_size, response_size: Total bytes of the bodies.
        request_body, response_body: The first `MAX_BODY` bytes of the bodies. Bytes after a switch of protocols are not
            captured.
        began, sent_from, sent_to, answered_at, over_at: Times by the store's clock: the exchange began, the request's
            first and last byte was sent, the response's head came, the exchange ended; 0 before that.
        code, reason: Reason of a failure; None and "" without one.
        is_kept: The store has it. A deleted capture records nothing more.
        size: Bytes that the store counts for it.
    """

    __slots__ = (
        "_store", "answered_at", "began", "code", "is_kept", "lines", "number", "opened", "over_at", "reason",
        "replay_of", "request_body", "request_size", "response_body", "response_size", "sent_from", "sent_to", "size",
        "started_at", "status", "tunnel", "visitor",
    )  # fmt: skip

    def __init__(self, store: "CaptureStore", number: int, tunnel: str, opened: OpenHead, replay_of: int) -> None:
        self._store = store
        self.number = number
        self.tunnel = tunnel
        self.opened = opened
        self.replay_of = replay_of
        self.started_at = store.now()
        self.began = store.clock()
        self.sent_from = self.sent_to = self.answered_at = self.over_at = 0.0
        self.visitor = b""
        self.status = 0
        self.lines = b""
        self.request_size = self.response_size = 0
        self.request_body: bytes | bytearray = b""
        self.response_body: bytes | bytearray = b""
        self.code: Code | None = None
        self.reason = ""
        self.is_kept = True
        self.size = CAPTURE_BYTES + len(opened.head)

    @property
    def is_over(self) -> bool:
        """Whether the exchange has ended."""
        return self.over_at > 0.0

    @property
    def is_upgrade(self) -> bool:
        """Whether the request asked for another protocol."""
        return self.opened.type == TYPE_UPGRADE

    @property
    def replays_as_sent(self) -> bool:
        """Whether the whole request was captured, so that a replay is complete."""
        return self.request_size == len(self.request_body)

    # ExchangeTap

    def about(self, payload: bytes) -> None:
        """Store what the relay reports about the visitor."""
        if self.is_kept:
            self.visitor = payload
            self._store.grew(self, len(payload))

    def sending(self) -> None:
        """Record that the request is being sent."""
        self.sent_from = self._store.clock()

    def request_data(self, data: Piece) -> None:
        """Record a piece of the request's body."""
        self.request_size += len(data)
        kept = self.request_body
        before = len(kept)
        if before < MAX_BODY and self.is_kept and self.status != 101:
            self.request_body = more = with_more(kept, data)
            self._store.grew(self, len(more) - before)

    def request_ended(self) -> None:
        """Record that the request is complete."""
        self.sent_to = self._store.clock()

    def answered(self, status: int, lines: bytes) -> None:
        """Record the response's head."""
        self.answered_at = self._store.clock()
        self.status = status
        if self.is_kept:
            self.lines = lines
            self._store.grew(self, len(lines))

    def response_data(self, data: Piece) -> None:
        """Record a piece of the response's body."""
        self.response_size += len(data)
        kept = self.response_body
        before = len(kept)
        if before < MAX_BODY and self.is_kept and self.status != 101:
            self.response_body = more = with_more(kept, data)
            self._store.grew(self, len(more) - before)

    def ended(self, code: Code | None, reason: str) -> None:
        """Record the end of the exchange."""
        self.over_at = self._store.clock()
        self.code = code
        self.reason = reason
        self._store.note_over(self)

    def forget(self) -> None:
        """Drop all captured data, as the store has no room for it. The exchange may continue."""
        self.is_kept = False
        self.visitor = self.lines = self.request_body = self.response_body = b""


class CaptureStore:
    """The newest captures, within limits of number and bytes.

    Args:
        max_bytes: Maximum bytes of all captures together; 0 captures nothing.
        clock: Function that returns seconds, for durations.
        now: Function that returns Unix time.

    Attributes:
        max_bytes: The limit given at construction.
        size: Bytes counted now.
    """

    def __init__(
        self,
        max_bytes: int = DEFAULT_BYTES,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.now = now
        self.size = 0
        self.max_bytes = max_bytes
        self._captures: deque[Capture] = deque()
        self._last_number = 0
        self._first_id = int(now()) << 32
        self._listeners: tuple[CaptureListener, ...] = ()

    def begin(self, tunnel: str, opened: OpenHead, replay_of: int = 0) -> Capture:
        """Create the capture of an exchange that begins now."""
        self._last_number += 1
        capture = Capture(self, self._last_number, tunnel, opened, replay_of)
        self._captures.append(capture)
        if len(self._captures) > MAX_CAPTURES:
            self._drop_oldest()
        self.size += capture.size
        if self.size > self.max_bytes:
            self._make_room()
        if self._listeners:
            self._tell(capture.number)
        return capture

    def grew(self, capture: Capture, size: int) -> None:
        """Count more bytes of a stored capture."""
        capture.size += size
        self.size += size
        if self.size > self.max_bytes:
            self._make_room()

    def note_over(self, capture: Capture) -> None:
        """Tell listeners that an exchange has ended."""
        if self._listeners and capture.is_kept:
            self._tell(capture.number)

    def find(self, number: int) -> Capture | None:
        """Return the capture with this number; None when it was deleted or never existed."""
        if not self._captures:
            return None
        at = number - self._captures[0].number  # numbers have no gaps
        return self._captures[at] if 0 <= at < len(self._captures) else None

    def id_of(self, number: int) -> str:
        """Return the public id of a capture: 16 hexadecimal digits that ascend, even across restarts."""
        return f"{self._first_id + number:016x}"

    def number_of(self, id_: str) -> int:
        """Return the capture number of an id; 0 for an id that is not from this agent."""
        if len(id_) != 16 or not set(id_) <= HEX_DIGITS:
            return 0
        number = int(id_, 16) - self._first_id
        return number if 0 < number <= self._last_number else 0

    def newest(self) -> Iterator[Capture]:
        """Yield all captures, the newest first. The caller must not await in between, as captures come and go."""
        return reversed(self._captures)

    def clear(self) -> None:
        """Delete all captures, including those of open exchanges."""
        while self._captures:
            self._drop_oldest()
        for listener in self._listeners:
            listener.cleared()

    def listen(self, listener: CaptureListener) -> None:
        """Send changes to this listener from now on."""
        self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: CaptureListener) -> None:
        """Stop sending changes to this listener."""
        self._listeners = tuple(one for one in self._listeners if one is not listener)

    def _tell(self, number: int) -> None:
        for listener in self._listeners:
            listener.changed(number)

    def _make_room(self) -> None:
        while self.size > self.max_bytes and self._captures:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = self._captures.popleft()
        self.size -= oldest.size
        oldest.forget()


def with_more(kept: bytes | bytearray, data: Piece) -> bytes | bytearray:
    """Return the captured part of a body, extended by as much of its next piece as the limit allows."""
    if not kept:
        return bytes(data[:MAX_BODY])  # usually the whole body
    if isinstance(kept, bytes):
        kept = bytearray(kept)
    kept += data[: MAX_BODY - len(kept)]
    return kept
