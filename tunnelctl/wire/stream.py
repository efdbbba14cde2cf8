"""One stream of a link: the states of its two halves, and the byte counts that flow control needs.

The peer's session holds the mirror image of each stream. Rules that need more than a frame's header (credit, limits)
are in `session` and `window`.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from tunnelctl.wire.frames import DATA, DATA_FIN, END_FIN, HEAD, HEAD_FIN

INITIAL_WINDOW: Final = 64 * 1024
"""Bytes that each half may send before it has received a WINDOW frame."""

HEAD_DUE: Final = 0
"""State: the half that responds has not sent its final head yet."""
FLOWING: Final = 1
"""State: DATA may follow. The opening half is in it after OPEN, the responding half after its final head."""
ENDED: Final = 2
"""State: the half ended with FIN."""
WAS_RESET: Final = 3
"""State: the half ended without FIN, because either side sent RESET or the link was lost."""

INTERIM: Final = 0
"""Step in the table `NEXT` for a HEAD frame with a 1xx status. Every other step equals the first byte of the frame."""

NEXT: Final[tuple[Mapping[int, int], ...]] = (
    {INTERIM: HEAD_DUE, HEAD: FLOWING, HEAD_FIN: ENDED},  # HEAD_DUE
    {DATA: FLOWING, DATA_FIN: ENDED, END_FIN: ENDED},  # FLOWING
    {},  # ENDED
    {},  # WAS_RESET
)
"""State table of one half: NEXT[state][step] is the next state; a step that is missing is refused. RESET is allowed in
every state."""

Part = bytes | bytearray | memoryview
Queue = deque[tuple[int, Part]]


class Stream:
    """A stream of a link: one byte channel in each direction.

    Attributes for users (read only, except `owner`):
        id: Number of the stream on its link.
        owner: The user's object for this stream. Events carry the stream, and so lead to the owner.
        queued: Bytes given to `Session.send_data` (and heads, trailers) that `data_to_send` has not yet returned,
            except small frames that were made ready at once (at most `scheduler.MAX_DIRECT` on the whole link).
        is_closed: True when both halves have ended or the stream was reset.

    Attributes for the session: `sending` and `receiving` are the states of the halves; `credit` is how many bytes we
    may still send, `left` how many the peer may, `window` how many received bytes may be unconsumed, `owed` how many
    were consumed and not granted again; `flowed` and `since` measure how fast a window is used; `interim` counts bytes
    of 1xx heads; `has_about` is set once an ABOUT frame was sent or received.
    """

    __slots__ = (
        "credit",
        "flowed",
        "has_about",
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
        self.has_about = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be sent or received."""
        return self.sending >= ENDED and self.receiving >= ENDED and not self.queue

    @property
    def unconsumed(self) -> int:
        """Received bytes that the user has not yet reported with `Session.consumed`."""
        return self.window - self.left - self.owed

    def __repr__(self) -> str:
        return f"Stream(id={self.id}, sending={self.sending}, receiving={self.receiving}, queued={self.queued})"
