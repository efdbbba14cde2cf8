"""Limits how many websocket frames of a peer are read in one turn of the event loop, and the rate of empty frames.

A frame costs some microseconds however small it is, and one read of the socket can hold tens of thousands of them.
`FramePacer` finds where frames begin, so that `Link` can limit how many it reads in a turn and other connections get
theirs. It reads lengths only; the websockets library checks whether frames are valid.
"""

from typing import Final

MAX_FRAMES_PER_TURN: Final = 16
"""Maximum frames of one link, websocket frames and our frames inside them together, that are read in one turn of the
loop: the heads and bodies of eight small responses, about half a millisecond of work. A busy link with more costs one
extra poll of the sockets for every sixteen frames."""
MAX_IDLE_FRAMES: Final = 1024
"""Maximum burst of frames without useful content: control frames, frames shorter than the header of one of ours, and
small fragments. We send none; a proxy in between may send a ping now and then. One more ends the link."""
IDLE_FRAMES_PER_SECOND: Final = 20.0
"""Frames per second by which the allowance of `MAX_IDLE_FRAMES` refills."""

_MIN_LENGTH: Final = 8
"""Payload bytes of the smallest websocket message that we send: the header of one frame."""
_MIN_FRAGMENT: Final = 1024
"""Minimum payload bytes of a useful fragment of a websocket message; proxies that re-fragment messages use some KiB."""
_FIN: Final = 0x80
_BINARY: Final = 0x02
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F


class FramePacer:
    """Finds the frame boundaries in the bytes of a websocket (RFC 6455, section 5.2).

    Attributes:
        idle: Number of frames without useful content that were passed since the caller last set this to 0.
    """

    __slots__ = ("_left", "_partial", "idle")

    def __init__(self) -> None:
        self.idle = 0
        self._left = 0
        self._partial = b""

    def is_one_message(self, data: bytes) -> bool:
        """Return whether `data`, the next bytes of the websocket, is exactly one complete message with useful
        content.
        """
        if self._left or self._partial or len(data) < 2 or data[0] != _FIN | _BINARY:
            return False
        length, header = data[1] & _LENGTH, 6 if data[1] & _MASKED else 2
        if length < 126:
            return length >= _MIN_LENGTH and len(data) == header + length
        return length == 126 and len(data) == header + 2 + (data[2] << 8 | data[3])

    def cut(self, data: bytes, max_frames: int) -> int:
        """Pass over the frames at the start of `data`, the next bytes of the websocket.

        Returns:
            Number of bytes of `data` that were passed: at most `max_frames` frames begin in them.
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
        """Return where the frame at `start` ends, possibly beyond the data; -1 when its header is incomplete."""
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
