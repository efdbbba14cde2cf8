"""The events that a session reports. Their names are in the past tense, as the session's state has already changed.

They are msgspec structs that the garbage collector does not track, because each exchange creates several of them.
"""

import msgspec

from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import ReceivedMessage
from tunnelctl.wire.stream import Stream


class Opened(msgspec.Struct, gc=False):
    """The peer opened a stream. `payload` is the payload of its OPEN frame; `frames.unpack_open` reads it."""

    stream: Stream
    payload: bytes
    fin: bool


class AboutReceived(msgspec.Struct, gc=False):
    """The opener described the visitor of a stream. `payload` is an ABOUT payload; `about.unpack_about` reads it."""

    stream: Stream
    payload: bytes


class HeadReceived(msgspec.Struct, gc=False):
    """A response head arrived, interim (1xx) or final. `payload` is a HEAD payload; `frames.unpack_head` reads it."""

    stream: Stream
    payload: bytes
    fin: bool


class DataReceived(msgspec.Struct, gc=False):
    """Body bytes arrived. The reader calls `Session.consumed` when done with them, even after the stream has ended.

    `data` may be a read-only view into the chunk that `receive_data` was given; the view keeps that chunk in memory.
    """

    stream: Stream
    data: bytes | memoryview
    fin: bool


class Ended(msgspec.Struct, gc=False):
    """The peer ended its half with an END frame. `trailers` holds field lines that end with CRLF, or is empty."""

    stream: Stream
    trailers: bytes


class WasReset(msgspec.Struct, gc=False):
    """The stream ended in both directions and its queued frames were dropped. With REFUSED, no work on it had begun."""

    stream: Stream
    code: Code
    reason: str


class Writable(msgspec.Struct, gc=False):
    """The stream's send queue, once above HIGH_WATER, has fallen below LOW_WATER: the user may send more."""

    stream: Stream


class ControlReceived(msgspec.Struct, gc=False):
    """The peer sent a control message."""

    message: ReceivedMessage


class PongReceived(msgspec.Struct, gc=False):
    """The peer answered a PING after `rtt` seconds."""

    rtt: float


class GoAwayReceived(msgspec.Struct, gc=False):
    """The peer accepts no new streams. For each open stream above `last_stream` a WasReset(REFUSED) event follows."""

    code: Code
    last_stream: int
    reason: str


Event = (
    Opened
    | AboutReceived
    | HeadReceived
    | DataReceived
    | Ended
    | WasReset
    | Writable
    | ControlReceived
    | PongReceived
    | GoAwayReceived
)
