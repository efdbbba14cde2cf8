"""The events of a session. They are in the past tense: the session's state has changed already.

Structs of msgspec, untracked by the garbage collector: several are made for every exchange.
"""

import msgspec

from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import Message
from tunnelctl.wire.stream import Stream


class Opened(msgspec.Struct, gc=False):
    """The peer opened a stream. `payload` is an OPEN payload, see `frames.unpack_open`."""

    stream: Stream
    payload: bytes
    fin: bool


class HeadReceived(msgspec.Struct, gc=False):
    """A response head came, interim or final. `payload` is a HEAD payload, see `frames.unpack_head`."""

    stream: Stream
    payload: bytes
    fin: bool


class DataReceived(msgspec.Struct, gc=False):
    """Bytes came. Their reader calls `Session.consumed` when done with them, also after the stream's end.

    `data` may be a read-only view into the chunk given to `receive_data`, which it keeps alive.
    """

    stream: Stream
    data: bytes | memoryview
    fin: bool


class Ended(msgspec.Struct, gc=False):
    """The peer's half ended with an END frame. `trailers` are field lines ended by CRLF, or empty."""

    stream: Stream
    trailers: bytes


class WasReset(msgspec.Struct, gc=False):
    """The stream is gone in both directions; what was queued is dropped. REFUSED: nothing was begun."""

    stream: Stream
    code: Code
    reason: str


class Writable(msgspec.Struct, gc=False):
    """The stream's queue was over HIGH_WATER and has fallen below LOW_WATER."""

    stream: Stream


class ControlReceived(msgspec.Struct, gc=False):
    """The peer sent a message."""

    message: Message


class PongReceived(msgspec.Struct, gc=False):
    """A PING came back after `rtt` seconds."""

    rtt: float


class GoAwayReceived(msgspec.Struct, gc=False):
    """The peer takes no new streams. Streams above `last_stream` are told apart by a WasReset(REFUSED) each."""

    code: Code
    last_stream: int
    reason: str


Event = (
    Opened | HeadReceived | DataReceived | Ended | WasReset | Writable | ControlReceived | PongReceived | GoAwayReceived
)
