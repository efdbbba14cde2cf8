"""The exchanges that were captured, the newest of them, in memory only. START HERE.

A `Capture` listens to one exchange and keeps its heads, the beginning of its bodies, and when each part came. On the
hot path it does no more than to keep references and to count; whatever is shown is made when somebody looks: `views`
makes ngrok's JSON of a capture, `masking` takes credentials out of it, `har` makes an archive. `events` tells readers
what is new, `replays` sends a request once more, `routes` are the paths of the local API that lead to all of them.

Nothing here is ever written to a disk or a log.
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
"""Exchanges that are kept; the oldest is forgotten."""
MAX_BODY = 64 * 1024
"""Bytes kept of each body. What is longer is counted, and carried as ever."""
DEFAULT_BYTES = 50 * 1000 * 1000
"""What all captures together may take; `inspect_db_size` in the configuration file sets another figure."""
CAPTURE_BYTES = 1200
"""What a capture takes besides heads and bodies, for the sum: the object, its numbers, the headers of its bytes."""
BYTEARRAY_SLACK = 8
"""A `bytearray` that grows takes up to an eighth more than it holds."""
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
    """Hears what becomes of captures. Called in the event loop on the hot path: never block or raise."""

    def changed(self, number: int) -> None:
        """An exchange began, or is over."""

    def cleared(self) -> None:
        """All were forgotten, as a user asked."""


class Capture:
    """One exchange; an `ExchangeTap`.

    Attributes:
        number: Counts up in the store.
        tunnel: Name of its tunnel.
        opened: The request's head and how its body was framed, as the relay sent them.
        replay_of: Number of the capture that it repeats, 0 for a visitor's request.
        started_at: Unix time.
        visitor: The ABOUT payload with which the relay told about the visitor; b"" when it told nothing.
        status: Of the final response, 0 while there is none.
        lines: The response's field lines, each with its CR LF.
        request_size, response_size: Bytes of the bodies in all.
        request_body, response_body: The first `MAX_BODY` bytes of them. Nothing is kept of what follows a switch of
            protocols.
        began, sent_from, sent_to, answered_at, over_at: As the store's clock has it: when the exchange began, the
            request went out, it was complete, the response's head came, and it was over; 0 before that.
        code, reason: Why the exchange failed; None and "" when it did not.
        is_kept: The store has it. One that was forgotten keeps nothing any more.
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
        """Whether nothing more comes."""
        return self.over_at > 0.0

    @property
    def is_upgrade(self) -> bool:
        """Whether it asked for another protocol."""
        return self.opened.type == TYPE_UPGRADE

    @property
    def replays_as_sent(self) -> bool:
        """Whether all of its request is here."""
        return self.request_size == len(self.request_body)

    # ExchangeTap

    def about(self, payload: bytes) -> None:
        """What the relay tells about the visitor."""
        if self.is_kept:
            self.visitor = payload
            self._store.grew(self, len(payload))

    def sending(self) -> None:
        """The request goes out."""
        self.sent_from = self._store.clock()

    def request_data(self, data: Piece) -> None:
        """A piece of the request's body."""
        self.request_size += len(data)
        kept = self.request_body
        before = len(kept)
        if before < MAX_BODY and self.is_kept and self.status != 101:
            self.request_body = more = with_more(kept, data)
            self._store.grew(self, len(more) - before)

    def request_ended(self) -> None:
        """The request is complete."""
        self.sent_to = self._store.clock()

    def answered(self, status: int, lines: bytes) -> None:
        """The response's head."""
        self.answered_at = self._store.clock()
        self.status = status
        if self.is_kept:
            self.lines = lines
            self._store.grew(self, len(lines))

    def response_data(self, data: Piece) -> None:
        """A piece of the response's body."""
        self.response_size += len(data)
        kept = self.response_body
        before = len(kept)
        if before < MAX_BODY and self.is_kept and self.status != 101:
            self.response_body = more = with_more(kept, data)
            self._store.grew(self, len(more) - before)

    def ended(self, code: Code | None, reason: str) -> None:
        """The exchange is over."""
        self.over_at = self._store.clock()
        self.code = code
        self.reason = reason
        self._store.note_over(self)

    def forget(self) -> None:
        """Let go of what is kept: the store has no room for it. The exchange may go on."""
        self.is_kept = False
        self.visitor = self.lines = self.request_body = self.response_body = b""


class CaptureStore:
    """The newest captures.

    Args:
        max_bytes: For all of them together; 0 for a store that keeps none.
        clock: Seconds, for durations.
        now: Unix time.

    Attributes:
        max_bytes: As given.
        size: Bytes that are counted now.
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
        """Capture an exchange that begins now."""
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
        """Count more bytes of a capture that is kept."""
        capture.size += size
        self.size += size
        if self.size > self.max_bytes:
            self._make_room()

    def note_over(self, capture: Capture) -> None:
        """Tell listeners that an exchange is over."""
        if self._listeners and capture.is_kept:
            self._tell(capture.number)

    def find(self, number: int) -> Capture | None:
        """The capture of this number; None when it was forgotten, or never was."""
        if not self._captures:
            return None
        at = number - self._captures[0].number  # numbers have no gaps
        return self._captures[at] if 0 <= at < len(self._captures) else None

    def id_of(self, number: int) -> str:
        """The id under which programs know a capture: 16 hexadecimal digits that grow, over restarts too."""
        return f"{self._first_id + number:016x}"

    def number_of(self, id_: str) -> int:
        """The number that an id stands for; 0 for what is none of this agent's."""
        if len(id_) != 16 or not set(id_) <= HEX_DIGITS:
            return 0
        number = int(id_, 16) - self._first_id
        return number if 0 < number <= self._last_number else 0

    def newest(self) -> Iterator[Capture]:
        """All of them, the newest first. For use without a wait in between: captures come and go."""
        return reversed(self._captures)

    def clear(self) -> None:
        """Forget all of them, those of open exchanges too."""
        while self._captures:
            self._drop_oldest()
        for listener in self._listeners:
            listener.cleared()

    def listen(self, listener: CaptureListener) -> None:
        """Tell this one of changes from now on."""
        self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: CaptureListener) -> None:
        """Tell this one no more."""
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
    """What is kept of a body, with as much of its next piece as belongs to it."""
    if not kept:
        return bytes(data[:MAX_BODY])  # the whole body as a rule
    if isinstance(kept, bytes):
        kept = bytearray(kept)
    kept += data[: MAX_BODY - len(kept)]
    return kept
