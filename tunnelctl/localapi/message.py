"""What the local API is asked and what it answers, as values."""

import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a TCP connection, each an IP literal and a port.

    Attributes:
        peer: Of the client.
        local: Of the API.
    """

    peer: tuple[str, int]
    local: tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request.

    Attributes:
        path: As sent, percent-encoded, without the query.
        query: Behind the question mark, "" without one.
        fields: By lower-case name; the first value of each.
        ends: Of the connection that it came by, None when they are not known.
    """

    method: str
    path: str
    query: str = ""
    host: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ends: Ends | None = None


class ByteStream(Protocol):
    """A body that is made while it is sent. An async generator is one."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Its pieces."""

    def __anext__(self) -> Awaitable[bytes]:
        """The next of them."""

    async def aclose(self) -> None:
        """Called once at its end, or when its client is gone, also when nothing was taken of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAnswer:
    """One response.

    Attributes:
        stream: The body in place of `body`.
    """

    status: int
    body: bytes = b""
    stream: ByteStream | None = None
    content_type: str = ""
    fields: tuple[tuple[str, str], ...] = ()


class ApiError(Exception):
    """A request cannot be done; raised by what serves it, and answered in ngrok's envelope.

    Attributes:
        status: Of HTTP.
        message: Which error it is: clients compare it.
        details: What exactly.
        code: ngrok's number for it, 100 to 107; None for what has none.
        fields: Further header fields.
    """

    def __init__(
        self,
        status: int,
        message: str,
        details: Mapping[str, object],
        code: int | None = None,
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = dict(details)
        self.code = code
        self.fields = fields

    def answer(self) -> ApiAnswer:
        """The envelope."""
        envelope: dict[str, object] = {} if self.code is None else {"error_code": self.code}
        envelope |= {"status_code": self.status, "msg": self.message, "details": self.details}
        return json_answer(envelope, self.status, self.fields)


def json_answer(value: Any, status: int = 200, fields: tuple[tuple[str, str], ...] = ()) -> ApiAnswer:
    """An answer that is this JSON and a line end."""
    body = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    return ApiAnswer(status=status, body=body, content_type=JSON, fields=fields)


def text_answer(text: str, status: int = 200) -> ApiAnswer:
    """An answer in plain text."""
    return ApiAnswer(status=status, body=f"{text}\n".encode(), content_type="text/plain; charset=utf-8")


def encode_answer(answer: ApiAnswer, *, keeps: bool, has_body: bool) -> bytes:
    """The bytes of an answer; of one with a stream those of its head.

    Args:
        keeps: The connection carries another request.
        has_body: False in answer to HEAD.
    """
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    if answer.content_type:
        lines.append(f"Content-Type: {answer.content_type}")
    if answer.stream is not None:
        lines += ["Transfer-Encoding: chunked"] if keeps else []  # else it ends with the connection
    elif answer.status != HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {len(answer.body)}")
    lines += [f"{name}: {value}" for name, value in answer.fields]
    lines += ["Cache-Control: no-store", "X-Content-Type-Options: nosniff", "Cross-Origin-Resource-Policy: same-origin"]
    if not keeps:
        lines.append("Connection: close")
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("ascii") + (answer.body if has_body else b"")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
