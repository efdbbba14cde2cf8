"""Decides which frames are sent next: first ready frames in order, then those of queued streams in round robin.

Frames of the link, and small frames of streams without a queue, are ready at once, so that control frames and small
exchanges do not wait behind bulk data. A RESET never overtakes the OPEN of its stream. A stream takes part in the round
robin only while it has queued frames that its credit allows to be sent.
"""

from collections import deque
from collections.abc import Collection
from typing import Final

from tunnelctl.wire.frames import DATA, DATA_FIN, FIN, HEADER, HEADER_SIZE, KIND_MASK, MAX_PAYLOAD
from tunnelctl.wire.stream import Part, Queue, Stream

QUANTUM: Final = 32 * 1024
"""Bytes that one stream may send in its turn while others wait."""
HIGH_WATER: Final = 256 * 1024
"""Queued bytes above which the user should stop sending on a stream; one read of a socket may bring as many."""
LOW_WATER: Final = 64 * 1024
"""Queued bytes below which a `Writable` event is emitted, early enough that the user can send more before the queue is
empty."""

MAX_SMALL: Final = 4096
"""Maximum bytes of a payload that is sent without waiting for a turn, if its stream has no queue."""
MAX_DIRECT: Final = 64 * 1024
"""Maximum bytes of small frames sent without a turn between two calls of `take`; further ones are queued and counted in
`queued`."""
MAX_DIRECT_BESIDE: Final = 16 * 1024
"""Maximum bytes of small frames sent without a turn while other streams wait for theirs; more would starve those
streams."""

_MIN_ROOM: Final = 1024
"""Bytes left in a message below which no frame is cut to fill it."""
_MERGE: Final = 4096
"""Small writes are merged into frames of up to QUANTUM bytes, so that a peer that sends single bytes does not cost a
tuple and a frame for each."""


_pack_header: Final = HEADER.pack


class Scheduler:
    """The outgoing frames of a link and of all its streams, in the order in which they are sent."""

    __slots__ = ("_ready", "_ready_size", "_ring")

    def __init__(self) -> None:
        self._ready: list[Part] = []
        self._ready_size = 0
        self._ring: deque[Stream] = deque()

    @property
    def has_frames(self) -> bool:
        """Return whether any frame may be sent now."""
        return bool(self._ready or self._ring)

    def put(self, first: int, number: int, payload: bytes = b"") -> None:
        """Make a frame ready to send, regardless of its size."""
        self._ready.append(_pack_header(first << 24 | len(payload), number) + payload)
        self._ready_size += HEADER_SIZE + len(payload)

    def send(self, stream: Stream, first: int, payload: Part) -> None:
        """Make a frame of the stream ready to send, or queue it. DATA payloads may have any size."""
        size = len(payload)
        cost = size if first & KIND_MASK == DATA else 0
        if (
            size > MAX_SMALL
            or stream.queue
            or cost > stream.credit
            or self._ready_size > (MAX_DIRECT_BESIDE if self._ring else MAX_DIRECT)
        ):
            self._enqueue(stream, first, payload)
            return
        stream.credit -= cost
        self._ready.append(_pack_header(first << 24 | size, stream.id) + payload)
        self._ready_size += HEADER_SIZE + size

    def wake(self, stream: Stream) -> None:
        """Let the stream take turns again if its first queued frame may be sent."""
        if not stream.is_waiting and _is_sendable(stream):
            stream.is_waiting = True
            self._ring.append(stream)

    def drop(self, stream: Stream) -> None:
        """Discard the stream's queued frames."""
        stream.queue = None
        stream.queued = 0
        if stream.is_waiting:
            stream.is_waiting = False
            self._ring.remove(stream)

    def take(self, max_bytes: int) -> tuple[bytes, Collection[Stream]]:
        """Return frames of up to about `max_bytes` in total (see `Session.data_to_send`), and the streams that sent
        any.
        """
        parts = self._ready
        room = max_bytes - self._ready_size
        if room < 0:
            return self._take_ready(max_bytes), ()
        self._ready = []
        self._ready_size = 0
        served = self._take_turns(parts, room) if self._ring else ()
        return b"".join(parts), served

    def clear(self) -> None:
        """Discard the ready frames."""
        self._ready = []
        self._ready_size = 0

    def _take_ready(self, max_bytes: int) -> bytes:
        """Return the ready frames that fit into `max_bytes`, but at least one."""
        size = count = 0
        for part in self._ready:
            if count and size + len(part) > max_bytes:
                break
            size += len(part)
            count += 1
        parts, self._ready = self._ready[:count], self._ready[count:]
        self._ready_size -= size
        return b"".join(parts)

    def _take_turns(self, parts: list[Part], room: int) -> set[Stream]:
        """Append queued frames of at most `room` bytes to `parts`. Return the streams that had a turn."""
        ring = self._ring
        served = set()
        while ring and (room >= _MIN_ROOM or not parts):
            stream = ring.popleft()
            taken = _serve(stream, parts, room, QUANTUM if ring else MAX_PAYLOAD)
            room -= taken
            served.add(stream)
            if not _is_sendable(stream):
                stream.is_waiting = False
            elif taken:
                ring.append(stream)
            else:
                ring.appendleft(stream)
                break
        return served

    def _enqueue(self, stream: Stream, first: int, payload: Part) -> None:
        if stream.queue is None:
            stream.queue = deque()
        stream.queued += len(payload)
        stream.is_full = stream.is_full or stream.queued > HIGH_WATER
        if not (stream.queue and _merge(stream.queue, first, payload)):
            stream.queue.append((first, bytearray(payload) if len(payload) <= _MERGE else payload))
        self.wake(stream)


def _is_sendable(stream: Stream) -> bool:
    """Return whether the stream's first queued frame may be sent: only DATA with a payload needs credit."""
    if not stream.queue:
        return False
    first, payload = stream.queue[0]
    return stream.credit > 0 or first & KIND_MASK != DATA or not payload


def _serve(stream: Stream, parts: list[Part], room: int, quantum: int) -> int:
    """Move the frames of one turn from the stream's queue to `parts`. Return their size in bytes."""
    queue = stream.queue
    taken = 0
    while queue and taken < quantum:
        first, payload = queue[0]
        size = len(payload)
        if first & KIND_MASK == DATA:
            allowed = min(stream.credit, quantum - taken, room - taken - HEADER_SIZE)
            if allowed < size:
                if allowed <= 0:
                    break
                rest = memoryview(payload)
                queue[0] = (first, rest[allowed:])
                first, payload, size = DATA, rest[:allowed], allowed
            else:
                queue.popleft()
            stream.credit -= size
        elif parts and size + HEADER_SIZE > room - taken:
            break
        else:
            queue.popleft()
        parts.append(_pack_header(first << 24 | size, stream.id))
        parts.append(payload)
        stream.queued -= size
        taken += size + HEADER_SIZE
    return taken


def _merge(queue: Queue, first: int, payload: Part) -> bool:
    """Merge a frame into the last one in the queue if both are DATA. Only a bytearray payload can be extended."""
    kind, last = queue[-1]
    if kind != DATA:
        return False
    if first & FIN and not payload:
        queue[-1] = (DATA_FIN, last)
        return True
    if not isinstance(last, bytearray) or first & KIND_MASK != DATA or len(last) + len(payload) > QUANTUM:
        return False
    last += payload
    queue[-1] = (first, last)
    return True
