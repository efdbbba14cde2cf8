"""How a frame lies on the wire: header, kinds, and the payloads that have a shape of their own. No state.

0        8                        32                       64
+--------+------------------------+------------------------+=========+
| first  | payload length         | stream id              | payload |
+--------+------------------------+------------------------+=========+
"""

from struct import Struct
from typing import Final, NamedTuple

from tunnelctl.bounds import DeclaredBound
from tunnelctl.wire.errors import Code, WireError

HEADER: Final = Struct(">II")
"""(first byte << 24 | payload length, stream id)."""
HEADER_SIZE: Final = 8
LENGTH_MASK: Final = 0xFFFFFF

MAX_PAYLOAD: Final = 64 * 1024
"""Bytes. Large enough to make headers free, small enough that one frame never holds up the others for long."""
MAX_REASON: Final = 512
"""Bytes of text in RESET and GOAWAY: a sentence for a log, not a place to put data."""

BOUNDS = (
    DeclaredBound(
        name="control message, or head of a request or response",
        limit=MAX_PAYLOAD,
        unit="bytes",
        per="message",
        when_full="the link is ended",
        worst_bytes=MAX_PAYLOAD,
    ),
    DeclaredBound(
        name="reason of an end",
        limit=MAX_REASON,
        unit="bytes",
        per="message",
        when_full="the link is ended",
        worst_bytes=0,
    ),
)
MAX_STREAM_ID: Final = 2**32 - 1
MAX_CREDIT: Final = 2**31 - 1
"""Credit a sender may hold. Far above any window we grant: it only keeps sums from running away."""

OPTIONAL: Final = 0x80
"""In the first byte: a peer that does not know this kind skips the frame."""
FIN: Final = 0x40
"""In the first byte: the sender's half of the stream ends with this frame."""
KIND_MASK: Final = 0x3F

OPEN: Final = 1
HEAD: Final = 2
DATA: Final = 3
END: Final = 4
RESET: Final = 5
WINDOW: Final = 6
PING: Final = 7
PONG: Final = 8
GOAWAY: Final = 9
CONTROL: Final = 10

OPEN_FIN: Final = OPEN | FIN
HEAD_FIN: Final = HEAD | FIN
DATA_FIN: Final = DATA | FIN
END_FIN: Final = END | FIN

TYPE_EXCHANGE: Final = 0
TYPE_UPGRADE: Final = 1
TYPE_TCP: Final = 2

BODY_NONE: Final = 0
BODY_LENGTH: Final = 1
BODY_CHUNKED: Final = 2

_U16: Final = Struct(">H")
_U32: Final = Struct(">I")
_OPEN: Final = Struct(">HBB")
_GOAWAY: Final = Struct(">II")


class OpenHead(NamedTuple):
    """What an OPEN payload says.

    Attributes:
        tunnel: Number of the tunnel within the link, as its bind chose it.
        type: TYPE_EXCHANGE, TYPE_UPGRADE or TYPE_TCP.
        framing: Whether a body follows, and if so how its end was told: BODY_NONE, BODY_LENGTH or BODY_CHUNKED.
        head: Request line and field lines, each ended by CRLF, without the empty line.
    """

    tunnel: int
    type: int
    framing: int
    head: bytes


def frame(first: int, stream_id: int, payload: bytes | memoryview = b"") -> bytes:
    """One whole frame. The payload is at most MAX_PAYLOAD bytes."""
    return HEADER.pack(first << 24 | len(payload), stream_id) + payload


def pack_open(tunnel: int, type_: int, framing: int, head: bytes) -> bytes:
    """The payload of an OPEN frame."""
    return _OPEN.pack(tunnel, type_, framing) + head


def unpack_open(payload: bytes) -> OpenHead:
    """Read the payload of an OPEN frame.

    Raises:
        WireError: It is shorter than 4 bytes, or names a type or body framing that does not exist.
    """
    if len(payload) < _OPEN.size:
        raise WireError(Code.PROTOCOL, "OPEN is too short")
    tunnel, type_, framing = _OPEN.unpack_from(payload)
    if type_ > TYPE_TCP or framing > BODY_CHUNKED:
        raise WireError(Code.PROTOCOL, "OPEN has an unknown type or body framing")
    return OpenHead(tunnel, type_, framing, payload[_OPEN.size :])


def pack_head(status: int, fields: bytes) -> bytes:
    """The payload of a HEAD frame: status, then field lines each ended by CRLF."""
    return _U16.pack(status) + fields


def unpack_head(payload: bytes) -> tuple[int, bytes]:
    """Status and field lines of a HEAD payload, which a session never lets through with less than 2 bytes."""
    return payload[0] << 8 | payload[1], payload[2:]


def is_interim(payload: bytes) -> bool:
    """Whether a HEAD payload is a 1xx that another head follows. 101 ends the exchange of heads (RFC 9110, 15.2)."""
    return payload[0] == 0 and 100 <= payload[1] < 200 and payload[1] != 101


def pack_reset(code: Code, reason: str) -> bytes:
    """The payload of a RESET frame."""
    return _U32.pack(code) + _cut(reason)


def unpack_reset(payload: bytes) -> tuple[Code, str]:
    """Read the payload of a RESET frame.

    Raises:
        WireError: It is too short, or its text too long.
    """
    if not 4 <= len(payload) <= 4 + MAX_REASON:
        raise WireError(Code.PROTOCOL, "RESET has a wrong length")
    return _code(_U32.unpack_from(payload)[0]), payload[4:].decode(errors="replace")


def pack_go_away(code: Code, last_stream: int, reason: str) -> bytes:
    """The payload of a GOAWAY frame."""
    return _GOAWAY.pack(code, last_stream) + _cut(reason)


def unpack_go_away(payload: bytes) -> tuple[Code, int, str]:
    """Read the payload of a GOAWAY frame: code, last stream taken, reason.

    Raises:
        WireError: It is too short, or its text too long.
    """
    if not 8 <= len(payload) <= 8 + MAX_REASON:
        raise WireError(Code.PROTOCOL, "GOAWAY has a wrong length")
    code, last_stream = _GOAWAY.unpack_from(payload)
    return _code(code), last_stream, payload[8:].decode(errors="replace")


def pack_window(credit: int) -> bytes:
    """The payload of a WINDOW frame."""
    return _U32.pack(credit)


def unpack_window(payload: bytes) -> int:
    """Read the payload of a WINDOW frame.

    Raises:
        WireError: It is not 4 bytes long, or grants nothing.
    """
    if len(payload) != 4 or not any(payload):
        raise WireError(Code.PROTOCOL, "WINDOW must grant credit in 4 bytes")
    credit: int = _U32.unpack(payload)[0]
    return credit


def _code(number: int) -> Code:
    """A code, where unknown ones of later versions count as INTERNAL."""
    try:
        return Code(number)
    except ValueError:
        return Code.INTERNAL


def _cut(reason: str) -> bytes:
    """At most MAX_REASON bytes; a character cut in half is dropped."""
    return reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore").encode()
