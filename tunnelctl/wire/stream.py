"""One stream: two halves, each in a state of the table below, and what is counted for each.

A session at the other end has the mirror image of it. The rules that need more than one frame's header (credit,
limits) are in `session` and `window`.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from tunnelctl.wire.frames import DATA, DATA_FIN, END_FIN, HEAD, HEAD_FIN

INITIAL_WINDOW: Final = 64 * 1024
"""Bytes each half may send before any WINDOW frame came."""

HEAD_DUE: Final = 0
"""The answering half before its final head."""
FLOWING: Final = 1
"""DATA may follow: the opening half after OPEN, the answering half after its final head."""
ENDED: Final = 2
"""FIN was seen."""
WAS_RESET: Final = 3
"""Ended without FIN: by either side's RESET, or with the link."""

INTERIM: Final = 0
"""A HEAD frame with a 1xx status. Apart from this a step is the first byte of the frame."""

NEXT: Final[tuple[Mapping[int, int], ...]] = (
    {INTERIM: HEAD_DUE, HEAD: FLOWING, HEAD_FIN: ENDED},  # HEAD_DUE
    {DATA: FLOWING, DATA_FIN: ENDED, END_FIN: ENDED},  # FLOWING
    {},  # ENDED
    {},  # WAS_RESET
)
"""NEXT[state of a half][step] is its next state; a step that is missing is refused. RESET may come in any state."""

Part = bytes | bytearray | memoryview
Queue = deque[tuple[int, Part]]


class Stream:
    """One byte channel in each direction.

    Attributes for users (read only, except `owner`):
        id: Number of the stream on its link.
        owner: The user's object for the stream; events carry the stream.
        queued: Bytes taken by `Session.send_data` (and heads, trailers) and not yet handed to `data_to_send`, apart
            from small frames that were made ready at once (at most `scheduler.MAX_DIRECT` on the whole link).
        is_closed: True when both halves have ended or the stream was reset.

    Attributes for the session: `sending` and `receiving` are the states of the halves; `credit` is what we may still
    send, `left` what the peer may, `window` how much of the peer's may be unconsumed, `owed` what was consumed and not
    granted again; `flowed` and `since` measure how fast a window goes by; `interim` counts bytes of 1xx heads.
    """

    __slots__ = (
        "credit",
        "flowed",
        "id",
        "interim",
        "is_full",
        "is_waiting",
        "left",
        "owed",
        "owner",
        "queue",
        "queued",
        "receiving",
        "sending",
        "since",
        "window",
    )

    def __init__(self, stream_id: int, sending: int, receiving: int) -> None:
        self.id = stream_id
        self.owner: Any = None
        self.sending = sending
        self.receiving = receiving
        self.queue: Queue | None = None
        self.queued = 0
        self.is_waiting = False
        self.is_full = False
        self.credit = INITIAL_WINDOW
        self.left = INITIAL_WINDOW
        self.window = INITIAL_WINDOW
        self.owed = 0
        self.flowed = 0
        self.since = 0.0
        self.interim = 0

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be sent or received."""
        return self.sending >= ENDED and self.receiving >= ENDED and not self.queue

    @property
    def unconsumed(self) -> int:
        """Bytes received that the user has not called consumed."""
        return self.window - self.left - self.owed

    def __repr__(self) -> str:
        return f"Stream(id={self.id}, sending={self.sending}, receiving={self.receiving}, queued={self.queued})"
