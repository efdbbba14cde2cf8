"""The requests and responses of the local API, as values."""

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
        peer: Address and port of the client.
        local: Address and port of the API.
    """

    peer: tuple[str, int]
    local: tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request to the local API.

    Attributes:
        path: Path as sent, percent-encoded, without the query.
        query: Text after the question mark; "" without one.
        fields: Header fields by lower-case name; the first value of each.
        ends: The ends of the connection; None when unknown.
    """

    method: str
    path: str
    query: str = ""
    host: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ends: Ends | None = None


class ByteStream(Protocol):
    """A response body that is generated while it is sent, such as an async generator."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the iterator over the body's pieces."""

    def __anext__(self) -> Awaitable[bytes]:
        """Return the next piece."""

    async def aclose(self) -> None:
        """Release resources. Called once at the body's end, or when the client has gone, even if no piece was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAnswer:
    """A response of the local API.

    Attributes:
        stream: A generated body, used instead of `body`.
    """

    status: int
    body: bytes = b""
    stream: ByteStream | None = None
    content_type: str = ""
    fields: tuple[tuple[str, str], ...] = ()


class ApiError(Exception):
    """The refusal of a request, raised by its handler and sent in ngrok's error format.

    Attributes:
        status: HTTP status.
        message: Name of the error, which clients compare.
        details: Description of this case.
        code: ngrok's error number, 100 to 107; None without one.
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
        """Return the response in ngrok's error format."""
        envelope: dict[str, object] = {} if self.code is None else {"error_code": self.code}
        envelope |= {"status_code": self.status, "msg": self.message, "details": self.details}
        return json_answer(envelope, self.status, self.fields)


def json_answer(value: Any, status: int = 200, fields: tuple[tuple[str, str], ...] = ()) -> ApiAnswer:
    """Return a response with this JSON and a line end."""
    body = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    return ApiAnswer(status=status, body=body, content_type=JSON, fields=fields)


def text_answer(text: str, status: int = 200) -> ApiAnswer:
    """Return a response in plain text."""
    return ApiAnswer(status=status, body=f"{text}\n".encode(), content_type="text/plain; charset=utf-8")


def encode_answer(answer: ApiAnswer, *, keeps: bool, has_body: bool) -> bytes:
    """Return the bytes of a response; for one with a stream, those of its head.

    Args:
        keeps: The connection carries another request.
        has_body: False for the response to HEAD.
    """
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    if answer.content_type:
        lines.append(f"Content-Type: {answer.content_type}")
    if answer.stream is not None:
        lines += ["Transfer-Encoding: chunked"] if keeps else []  # otherwise the body ends with the connection
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
