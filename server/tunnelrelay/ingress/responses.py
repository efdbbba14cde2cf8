"""Writes a response to a visitor with the relay's own framing, so that no agent can desynchronise the connection.

Agents are untrusted. Status, fields and body arrive separately; here they become one HTTP/1.1 response, framed by the
request and the declared length. A body with another length than declared ends the connection (RFC 9112 section 8).
"""

from collections.abc import Sequence
from http import HTTPStatus

from tunnelctl.http1.body import encode_trailers
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.fields import Field, to_lines
from tunnelctl.http1.head import RequestHead, ResponseHead, parse_response
from tunnelrelay.model import Reply
from tunnelrelay.policy.headers import response_block
from tunnelrelay.policy.rules import Policy

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"")) for status in range(100, 1000)}
_INTERIM_PASSED = (100, 102, 103)
MAX_INTERIM = 20
"""Interim (1xx) responses that are passed on for one request; an agent that sends more is refused."""

NONE, LENGTH, CHUNKED, CLOSE, OPAQUE = range(5)
"""How a response's body is framed: no body, by Content-Length, chunked, until the connection closes, or as the bytes of
an upgraded connection."""


class Framing:
    """The framing of one response's body, chosen by the heads of request and response.

    Attributes:
        mode: NONE, LENGTH, CHUNKED, CLOSE or OPAQUE.
        remaining: With LENGTH, bytes of the Content-Length that are not sent yet.
        keeps_alive: Whether the connection may carry another request.
    """

    __slots__ = ("keeps_alive", "mode", "remaining")

    def __init__(self, request: RequestHead, response: ResponseHead, *, fin: bool) -> None:
        self.keeps_alive = request.keep_alive
        self.remaining = 0
        length = response.content_length
        status = response.status
        if status == 101:
            self.mode = OPAQUE
            self.keeps_alive = False
        elif request.method == b"HEAD" or status in (204, 304):
            self.mode = NONE
        elif fin:
            if length:
                raise HttpError("agent_bad_response", "a length, but no body")
            self.mode = LENGTH
        elif length is not None:
            self.mode = LENGTH
            self.remaining = length
        elif request.minor:
            self.mode = CHUNKED
        else:
            self.mode = CLOSE
            self.keeps_alive = False

    def lines(self, response: ResponseHead, request: RequestHead) -> bytes:
        """Return the header lines that declare the framing: Content-Length, Transfer-Encoding and Connection."""
        if self.mode == LENGTH:
            framing = b"Content-Length: %d\r\n" % self.remaining
        elif self.mode == CHUNKED:
            framing = b"Transfer-Encoding: chunked\r\n"
        elif self.mode == OPAQUE:
            return b""
        elif self.mode == NONE and response.content_length is not None and response.status != 204:
            framing = b"Content-Length: %d\r\n" % response.content_length
        else:
            framing = b""
        if not self.keeps_alive:
            return framing + b"Connection: close\r\n"
        return framing if request.minor else framing + b"Connection: keep-alive\r\n"

    def body(self, data: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
        """Return a piece of the body in its framing.

        Raises:
            HttpError: The body is longer than its Content-Length, or the response may not have a body.
        """
        if self.mode == LENGTH:
            self.remaining -= len(data)
            if self.remaining < 0:
                raise HttpError("agent_bad_response", "more body than its Content-Length")
            return (data,)
        if self.mode == CHUNKED:
            return (b"%x\r\n" % len(data), data, b"\r\n")
        if self.mode == NONE:
            raise HttpError("agent_bad_response", "a body where none may be")
        return (data,)

    def end(self, trailers: Sequence[Field] = ()) -> bytes:
        """Return the bytes that end the body, with its trailer fields.

        Raises:
            HttpError: The body is shorter than its Content-Length.
        """
        if self.mode == CHUNKED:
            return encode_trailers(to_lines(list(trailers)))
        if self.remaining:
            raise HttpError("agent_bad_response", f"{self.remaining} bytes less than its Content-Length")
        return b""


def read_head(status: int, lines: bytes) -> ResponseHead:
    """Parse and check the response head that an agent has sent.

    Raises:
        HttpError: `agent_bad_response` when the head is invalid.
    """
    try:
        if not 100 <= status <= 999:
            raise HttpError("bad_request", f"status {status}")
        return parse_response(b"HTTP/1.1 %d \r\n%b\r\n" % (status, lines))
    except HttpError as error:
        raise HttpError("agent_bad_response", error.detail) from None


def interim(head: ResponseHead, request: RequestHead, policy: Policy, host: bytes, origin: bytes) -> bytes:
    """Return the head of an interim (1xx) response for the visitor; b"" for one that is not passed on.

    HTTP/1.0 visitors get none (RFC 9110 section 15.2), others only 100, 102 and 103.
    """
    if not request.minor or head.status not in _INTERIM_PASSED:
        return b""
    block = response_block(head.fields, policy=policy, host=host, origin=origin)
    return _STATUS_LINES[head.status] + block + b"\r\n"


def final(
    head: ResponseHead, request: RequestHead, framing: Framing, policy: Policy, host: bytes, origin: bytes
) -> bytes:
    """Return the head of the final response for the visitor, with the relay's own framing."""
    upgrade = request.upgrade if framing.mode == OPAQUE else b""
    block = response_block(head.fields, policy=policy, host=host, origin=origin, upgrade=upgrade)
    return _STATUS_LINES[head.status] + block + framing.lines(head, request) + b"\r\n"


def reply_head(reply: Reply, request: RequestHead, *, closes: bool) -> bytes:
    """Return the head of a response of the relay's own."""
    lines = to_lines(list(reply.fields))
    framing = b"Content-Length: %d\r\n" % len(reply.body) if reply.status not in (204, 304) else b""
    connection = b"Connection: close\r\n" if closes else b"" if request.minor else b"Connection: keep-alive\r\n"
    return b"".join((_STATUS_LINES[reply.status], lines, framing, connection, b"\r\n"))


def code_of(reply: Reply) -> str:
    """Return the error code in a response of the relay's own; "" for none."""
    return next((value.decode() for name, value in reply.fields if name == b"Tunnel-Error"), "")


def status_line(status: int) -> bytes:
    """Return the status line for a status, as in `HTTP/1.1 404 Not Found`, with CR LF."""
    return _STATUS_LINES[status]
