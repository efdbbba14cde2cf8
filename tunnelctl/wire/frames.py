"""Encodes and decodes frames: the header, the kinds of frames, and their payloads. Keeps no state.

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
"""The two 32-bit numbers of a frame's header: (first byte << 24 | payload length, stream id)."""
HEADER_SIZE: Final = 8
LENGTH_MASK: Final = 0xFFFFFF

MAX_PAYLOAD: Final = 64 * 1024
"""Maximum payload of a frame in bytes. Headers cost little at this size, and one frame delays other streams only
briefly."""
MAX_REASON: Final = 512
"""Maximum bytes of the reason text in RESET and GOAWAY, which is meant for a log and must not carry data."""

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
"""Maximum credit in bytes that a sender may hold. Far above any window that is granted; it only prevents overflow."""

OPTIONAL: Final = 0x80
"""Bit of a frame's first byte which means that a peer that does not know this kind of frame skips it."""
FIN: Final = 0x40
"""Bit of a frame's first byte which means that this frame ends the sender's half of the stream."""
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
ABOUT: Final = 11

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
    """The decoded payload of an OPEN frame.

    Attributes:
        tunnel: Number of the tunnel within the link, chosen by the agent when it bound the tunnel.
        type: TYPE_EXCHANGE, TYPE_UPGRADE or TYPE_TCP.
        framing: Whether a request body follows and how its length was declared: BODY_NONE, BODY_LENGTH or BODY_CHUNKED.
        head: Request line and field lines, each ended by CRLF, without the empty line.
    """

    tunnel: int
    type: int
    framing: int
    head: bytes


def frame(first: int, stream_id: int, payload: bytes | memoryview = b"") -> bytes:
    """Return one complete frame. The payload may have at most MAX_PAYLOAD bytes."""
    return HEADER.pack(first << 24 | len(payload), stream_id) + payload


def pack_open(tunnel: int, type_: int, framing: int, head: bytes) -> bytes:
    """Return the payload of an OPEN frame."""
    return _OPEN.pack(tunnel, type_, framing) + head


def unpack_open(payload: bytes) -> OpenHead:
    """Decode the payload of an OPEN frame.

    Raises:
        WireError: The payload is shorter than 4 bytes, or contains an unknown type or body framing.
    """
    if len(payload) < _OPEN.size:
        raise WireError(Code.PROTOCOL, "OPEN is too short")
    tunnel, type_, framing = _OPEN.unpack_from(payload)
    if type_ > TYPE_TCP or framing > BODY_CHUNKED:
        raise WireError(Code.PROTOCOL, "OPEN has an unknown type or body framing")
    return OpenHead(tunnel, type_, framing, payload[_OPEN.size :])


def pack_head(status: int, fields: bytes) -> bytes:
    """Return the payload of a HEAD frame: the status, then field lines that each end with CRLF."""
    return _U16.pack(status) + fields


def unpack_head(payload: bytes) -> tuple[int, bytes]:
    """Decode a HEAD payload into status and field lines. The session has checked that it has at least 2 bytes."""
    return payload[0] << 8 | payload[1], payload[2:]


def is_interim(payload: bytes) -> bool:
    """Return whether a HEAD payload is an interim response (1xx). 101 is not, as no other head follows (RFC 9110,
    15.2).
    """
    return payload[0] == 0 and 100 <= payload[1] < 200 and payload[1] != 101


def pack_reset(code: Code, reason: str) -> bytes:
    """Return the payload of a RESET frame."""
    return _U32.pack(code) + _cut(reason)


def unpack_reset(payload: bytes) -> tuple[Code, str]:
    """Decode the payload of a RESET frame.

    Raises:
        WireError: The payload is too short, or its text is too long.
    """
    if not 4 <= len(payload) <= 4 + MAX_REASON:
        raise WireError(Code.PROTOCOL, "RESET has a wrong length")
    return _code(_U32.unpack_from(payload)[0]), payload[4:].decode(errors="replace")


def pack_go_away(code: Code, last_stream: int, reason: str) -> bytes:
    """Return the payload of a GOAWAY frame."""
    return _GOAWAY.pack(code, last_stream) + _cut(reason)


def unpack_go_away(payload: bytes) -> tuple[Code, int, str]:
    """Decode the payload of a GOAWAY frame into code, id of the last accepted stream, and reason.

    Raises:
        WireError: The payload is too short, or its text is too long.
    """
    if not 8 <= len(payload) <= 8 + MAX_REASON:
        raise WireError(Code.PROTOCOL, "GOAWAY has a wrong length")
    code, last_stream = _GOAWAY.unpack_from(payload)
    return _code(code), last_stream, payload[8:].decode(errors="replace")


def pack_window(credit: int) -> bytes:
    """Return the payload of a WINDOW frame."""
    return _U32.pack(credit)


def unpack_window(payload: bytes) -> int:
    """Decode the payload of a WINDOW frame.

    Raises:
        WireError: The payload is not 4 bytes long, or grants no credit.
    """
    if len(payload) != 4 or not any(payload):
        raise WireError(Code.PROTOCOL, "WINDOW must grant credit in 4 bytes")
    credit: int = _U32.unpack(payload)[0]
    return credit


def _code(number: int) -> Code:
    """Return the Code of a number; codes of later protocol versions count as INTERNAL."""
    try:
        return Code(number)
    except ValueError:
        return Code.INTERNAL


def _cut(reason: str) -> bytes:
    """Encode a reason as UTF-8, cut to MAX_REASON bytes without leaving a partial character."""
    return reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore").encode()
