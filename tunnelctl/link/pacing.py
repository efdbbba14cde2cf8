"""Limits how many websocket frames of a peer are read in one turn of the event loop, and how many empty ones in all.

A frame costs some microseconds however small it is, and one read of the socket can hold tens of thousands of them.
`FramePacer` finds where frames begin, so that `Link` reads only so many in a turn and lets other connections have
theirs. It reads lengths only: whether frames are right is the websockets library's to judge.
"""

from typing import Final

MAX_FRAMES_PER_TURN: Final = 16
"""Frames of one link, websocket frames and ours inside them together, read in one turn of the loop: the heads and
bodies of eight small answers, about half a millisecond of work. What a busy link has beyond that costs it one more look
at the sockets for every sixteen frames."""
MAX_IDLE_FRAMES: Final = 1024
"""Frames that carry nothing, at once: control frames, frames shorter than a header of ours, and small fragments. We
send none; a proxy in between may send a ping now and then. The link is ended at one more."""
IDLE_FRAMES_PER_SECOND: Final = 20.0
"""How fast that allowance comes back."""

_MIN_LENGTH: Final = 8
"""Payload bytes of the smallest websocket message that we send: one header of ours."""
_MIN_FRAGMENT: Final = 1024
"""Payload bytes from which a fragment is worth its cost; a proxy that re-frames messages uses some KiB."""
_FIN: Final = 0x80
_BINARY: Final = 0x02
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F


class FramePacer:
    """Walks over the bytes of a websocket from frame to frame (RFC 6455, section 5.2).

    Attributes:
        idle: Frames passed since it was last set to 0 that carry nothing.
    """

    __slots__ = ("_left", "_partial", "idle")

    def __init__(self) -> None:
        self.idle = 0
        self._left = 0
        self._partial = b""

    def is_one_message(self, data: bytes) -> bool:
        """Whether `data`, which follows what was passed before, is one whole message that carries something."""
        if self._left or self._partial or len(data) < 2 or data[0] != _FIN | _BINARY:
            return False
        length, header = data[1] & _LENGTH, 6 if data[1] & _MASKED else 2
        if length < 126:
            return length >= _MIN_LENGTH and len(data) == header + length
        return length == 126 and len(data) == header + 2 + (data[2] << 8 | data[3])

    def cut(self, data: bytes, max_frames: int) -> int:
        """Pass over the frames at the start of `data`, which follows what was passed before.

        Returns:
            How many bytes of `data` were passed: no more than `max_frames` frames begin in them.
        """
        partial = len(self._partial)
        if partial:
            data = self._partial + data
            self._partial = b""
        size, position = len(data), self._left
        while max_frames and position < size:
            end = self._end_of_frame(data, position)
            if end < 0:
                self._partial = data[position:]
                position = size
                break
            max_frames -= 1
            position = end
        self._left = max(0, position - size)
        return min(position, size) - partial

    def _end_of_frame(self, data: bytes, start: int) -> int:
        """Where the frame that begins at `start` ends, perhaps behind the data; -1 when half of its header is here."""
        available = len(data) - start
        if available < 2:
            return -1
        first, second = data[start], data[start + 1]
        length = second & _LENGTH
        body = 2 if length < 126 else 4 if length == 126 else 10
        if available < body:
            return -1
        if length >= 126:
            length = int.from_bytes(data[start + 2 : start + body], "big")
        if length < _MIN_FRAGMENT and (length < _MIN_LENGTH or first & _CONTROL or not first & _FIN):
            self.idle += 1
        return start + body + (4 if second & _MASKED else 0) + length
