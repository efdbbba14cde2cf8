"""Converts header fields from and to lines of text, and lists the fields that must not be forwarded."""

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
"""Field names that concern one connection only and are not forwarded: those of RFC 9110 section 7.6.1, the older ones
of RFC 2616 section 13.5.1, and those of h2c."""

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
"""Field names that are dropped from trailers because they control framing, routing, authentication or forwarding (RFC
9110 section 6.5.1). `_FORBIDDEN_PREFIXES` adds those that carry a visitor's identity."""

_LOOSE = bytes(byte if chr(byte).isalnum() else 0x2D for byte in bytes(range(128)).lower()) + b"-" * 128
_FORBIDDEN_PREFIXES = (b"x-tunnel-", b"x-auth-", b"x-forwarded-", b"x-real-", b"ngrok-auth-", b"tunnel-", b"remote-")
_LINES = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
"""Pattern of field lines. It can match in one way only: with a second way for each line, an invalid last line would
cost two to the power of the number of lines."""


def loose_name(name: bytes) -> bytes:
    """Return a field name in lower case with all punctuation replaced by `-`, as the most lenient upstream compares
    names.

    CGI, WSGI and Rack turn field names into variables. All replace `-` by `_`, PHP also `.`, and lighttpd every byte
    that is no letter or digit, so that `X-Tunnel.User` and `X-Tunnel-User` become one variable there.
    """
    return name.translate(_LOOSE)


def to_lines(fields: list[Field]) -> bytes:
    """Return the fields as lines of text, each ended by CR LF."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def from_lines(lines: bytes) -> list[Field]:
    """Parse field lines from an untrusted peer; the reverse of `to_lines`.

    Raises:
        HttpError: `bad_request` when a line is not `name: value`.
    """
    if not _LINES.fullmatch(lines):
        raise HttpError("bad_request", "field lines")
    return [
        (name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines.split(b"\r\n")[:-1])
    ]


def safe_trailers(fields: list[Field]) -> list[Field]:
    """Return only the trailers that may be forwarded: those that could not act as a header field at the receiver."""
    return [(name, value) for name, value in fields if _may_trail(loose_name(name))]


def _may_trail(name: bytes) -> bool:
    return name not in FORBIDDEN_IN_TRAILERS and not name.startswith(_FORBIDDEN_PREFIXES)
