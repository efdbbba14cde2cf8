"""Writes one response to a visitor with framing of our own, so that no agent can desynchronise the connection.

Agents are untrusted. Status, fields and body arrive separately; here they become one HTTP/1.1 response, framed by the
request and the declared length. A body that breaks its declared length ends the connection without a clean end (RFC
9112
section 8).
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
"""1xx responses passed on for one request; more is an agent that keeps a visitor waiting for nothing."""

NONE, LENGTH, CHUNKED, CLOSE, OPAQUE = range(5)
"""How the body goes out: not at all, counted, chunked, until the connection closes, or as an upgraded connection."""


class Framing:
    """How one response is framed, decided from both heads.

    Attributes:
        mode: One of the constants above.
        remaining: Bytes promised by Content-Length and not yet sent, with LENGTH.
        keeps_alive: The connection may carry another request.
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
        """The framing's own field lines."""
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
        """A piece of the body as it goes on the connection.

        Raises:
            HttpError: More than was promised, or a body where none may be.
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
        """What ends the body.

        Raises:
            HttpError: Less came than was promised.
        """
        if self.mode == CHUNKED:
            return encode_trailers(to_lines(list(trailers)))
        if self.remaining:
            raise HttpError("agent_bad_response", f"{self.remaining} bytes less than its Content-Length")
        return b""


def read_head(status: int, lines: bytes) -> ResponseHead:
    """A response head from an agent, checked.

    Raises:
        HttpError: `agent_bad_response`.
    """
    try:
        if not 100 <= status <= 999:
            raise HttpError("bad_request", f"status {status}")
        return parse_response(b"HTTP/1.1 %d \r\n%b\r\n" % (status, lines))
    except HttpError as error:
        raise HttpError("agent_bad_response", error.detail) from None


def interim(head: ResponseHead, request: RequestHead, policy: Policy, host: bytes, origin: bytes) -> bytes:
    """A 1xx as it is passed on, or b"" when the visitor must not see it (RFC 9110 section 15.2)."""
    if not request.minor or head.status not in _INTERIM_PASSED:
        return b""
    block = response_block(head.fields, policy=policy, host=host, origin=origin)
    return _STATUS_LINES[head.status] + block + b"\r\n"


def final(
    head: ResponseHead, request: RequestHead, framing: Framing, policy: Policy, host: bytes, origin: bytes
) -> bytes:
    """The head of the final response."""
    upgrade = request.upgrade if framing.mode == OPAQUE else b""
    block = response_block(head.fields, policy=policy, host=host, origin=origin, upgrade=upgrade)
    return _STATUS_LINES[head.status] + block + framing.lines(head, request) + b"\r\n"


def reply_head(reply: Reply, request: RequestHead, *, closes: bool) -> bytes:
    """The head of an answer of the relay's own."""
    lines = to_lines(list(reply.fields))
    framing = b"Content-Length: %d\r\n" % len(reply.body) if reply.status not in (204, 304) else b""
    connection = b"Connection: close\r\n" if closes else b"" if request.minor else b"Connection: keep-alive\r\n"
    return b"".join((_STATUS_LINES[reply.status], lines, framing, connection, b"\r\n"))


def code_of(reply: Reply) -> str:
    """The error code of an answer of the relay's own, "" for none."""
    return next((value.decode() for name, value in reply.fields if name == b"Tunnel-Error"), "")


def status_line(status: int) -> bytes:
    """`HTTP/1.1 404 Not Found` with its CR LF."""
    return _STATUS_LINES[status]
