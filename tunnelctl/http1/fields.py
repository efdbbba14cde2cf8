"""Field lines as text, and which fields concern one hop only."""

import re

from tunnelctl.http1.errors import HttpError

Field = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
"""RFC 9110 section 7.6.1, with the old ones of RFC 2616 section 13.5.1 and what belongs to h2c."""

FORBIDDEN_IN_TRAILERS = HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"content-encoding",
    b"content-type",
    b"content-range",
    b"authorization",
    b"cookie",
    b"set-cookie",
    b"expect",
    b"range",
    b"cache-control",
    b"location",
    b"forwarded",
    b"max-forwards",
}
"""Fields that frame, route, authenticate or forward (RFC 9110 section 6.5.1); so do all `X-…-` identity names."""

_LOOSE = bytes(byte if chr(byte).isalnum() else 0x2D for byte in bytes(range(128)).lower()) + b"-" * 128
_FORBIDDEN_PREFIXES = (b"x-tunnel-", b"x-auth-", b"x-forwarded-", b"x-real-", b"ngrok-auth-", b"tunnel-", b"remote-")
_LINES = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
"""One way to match only: with a second for each line, a bad last one costs two to the power of their number."""


def loose_name(name: bytes) -> bytes:
    """A field name in the form of the loosest reader behind us: in lower case, with one byte for all punctuation.

    CGI, WSGI and Rack make a variable of it: `-` becomes `_` in all, `.` in PHP, and in lighttpd every byte that is no
    letter or digit, so that `X-Tunnel.User` and `X-Tunnel-User` are one variable there.
    """
    return name.translate(_LOOSE)


def to_lines(fields: list[Field]) -> bytes:
    """Fields as text, each line ended by CR LF."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def from_lines(lines: bytes) -> list[Field]:
    """The reverse of `to_lines`, for lines from an untrusted peer.

    Raises:
        HttpError: `bad_request` when a line is not `name: value`.
    """
    if not _LINES.fullmatch(lines):
        raise HttpError("bad_request", "field lines")
    return [
        (name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines.split(b"\r\n")[:-1])
    ]


def safe_trailers(fields: list[Field]) -> list[Field]:
    """The trailers that may be passed on: a trailer must never act as a header would."""
    return [(name, value) for name, value in fields if _may_trail(loose_name(name))]


def _may_trail(name: bytes) -> bool:
    return name not in FORBIDDEN_IN_TRAILERS and not name.startswith(_FORBIDDEN_PREFIXES)
