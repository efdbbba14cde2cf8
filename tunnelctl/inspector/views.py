"""The JSON of a captured exchange: ngrok's format with additions. All content has been masked by `masking`. Does no
I/O.
"""

import base64
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from tunnelctl.agent.proxy_header import visitor_address
from tunnelctl.inspector.masking import ShownBody, mask_address, mask_field, mask_text, show_body
from tunnelctl.inspector.store import Capture
from tunnelctl.wire.about import About, unpack_about
from tunnelctl.wire.errors import Code

REQUESTS_PATH = "/api/requests/http"
NANOSECONDS = 1_000_000_000
_WORDS = {
    Code.NO_ERROR: "broken off",
    Code.CANCELLED: "the visitor left",
    Code.HEARTBEAT: "the link was lost",
    Code.UPSTREAM_UNREACHABLE: "the local service cannot be reached",
    Code.UPSTREAM_BROKEN: "the local service broke it off",
}
"""Texts that describe failures of exchanges for which no reason is known."""

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownMessage:
    """A request or a response, masked for display.

    Attributes:
        first: First line of its head.
        headers: Header fields in their order, masked.
        size: Total bytes of the body.
        kept: Captured bytes of the body.
    """

    first: str
    headers: Headers
    body: ShownBody
    size: int
    kept: int

    @property
    def content_type(self) -> str:
        """Content type of the body; "" for none."""
        return field_of(self.headers, "content-type")

    @property
    def raw(self) -> bytes:
        """Head and body as one text in bytes."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return f"{self.first}\r\n{lines}\r\n".encode("latin-1") + self.body.data


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownExchange:
    """An exchange, masked for display; `views` and `har` format it.

    Attributes:
        target: Path and query.
        response: The response; None before it.
    """

    method: str
    target: str
    request: ShownMessage
    status: int
    response: ShownMessage | None


def show(capture: Capture) -> ShownExchange:
    """Return a capture masked for display."""
    first, _, lines = capture.opened.head.decode("latin-1").partition("\r\n")
    method, target, _ = (*first.split(" ", 2), "", "")[:3]
    target = mask_address(target)
    request = _message(f"{method} {target} HTTP/1.1", lines, capture.request_body, capture.request_size)
    response = None
    if capture.status:
        first = f"HTTP/1.1 {status_words(capture.status)}"
        response = _message(first, capture.lines.decode("latin-1"), capture.response_body, capture.response_size)
    return ShownExchange(method=method, target=target, request=request, status=capture.status, response=response)


def view(capture: Capture, id_: str, replay_of: str) -> dict[str, Any]:
    """Return the complete JSON object of a capture.

    Args:
        id_: Id of the capture.
        replay_of: Id of the capture that it replays; "" for a visitor's request.
    """
    shown = show(capture)
    whole = _common(capture, id_, replay_of)
    whole["request"] = {
        "method": shown.method,
        "proto": "HTTP/1.1",
        "headers": _grouped(shown.request.headers),
        "uri": shown.target,
        "raw": base64.b64encode(shown.request.raw).decode("ascii"),
        "body": _body(shown.request),
    }
    whole["response"] = None
    if shown.response is not None:
        whole["response"] = {
            **_status(shown.status),
            "headers": _grouped(shown.response.headers),
            "raw": base64.b64encode(shown.response.raw).decode("ascii"),
            "body": _body(shown.response),
        }
    return whole


def summary(capture: Capture, id_: str, replay_of: str, *, has_headers: bool = False) -> dict[str, Any]:
    """Return the JSON object without raw bytes and bodies, for events and lists.

    Args:
        has_headers: Include the headers of request and response, for a reader who filters by them.
    """
    whole = _common(capture, id_, replay_of)
    first, _, lines = capture.opened.head.decode("latin-1").partition("\r\n")
    method, target, _ = (*first.split(" ", 2), "", "")[:3]
    whole["request"] = {"method": method, "uri": mask_address(target), "body": {"size": capture.request_size}}
    whole["response"] = None
    if has_headers:
        whole["request"]["headers"] = _grouped(_masked_fields(fields_of(lines)))
    if capture.status:
        fields = fields_of(capture.lines.decode("latin-1"))
        kind = mask_text(field_of(fields, "content-type"))
        whole["response"] = {**_status(capture.status), "body": {"size": capture.response_size, "type": kind}}
        if has_headers:
            whole["response"]["headers"] = _grouped(_masked_fields(fields))
    return whole


def fields_of(lines: str) -> Headers:
    """Return field lines as (name, value) pairs."""
    pairs = (line.partition(":") for line in lines.split("\r\n") if line)
    return tuple((name, value.strip()) for name, _, value in pairs)


def field_of(fields: Headers, wanted: str) -> str:
    """Return the first value of a field, by its lower-case name; "" without it."""
    return next((value for name, value in fields if name.lower() == wanted), "")


def started_at(capture: Capture) -> str:
    """Return the time at which the exchange began, as RFC 3339 in local time."""
    return datetime.fromtimestamp(capture.started_at).astimezone().isoformat(timespec="milliseconds")


def visitor_of(capture: Capture) -> About | None:
    """Return what the relay reported about the visitor; None without a report."""
    return unpack_about(capture.visitor) if capture.visitor else None


def timing(capture: Capture, about: About | None = None) -> dict[str, int | None]:
    """Return the durations of the exchange's phases in nanoseconds; None for unknown ones."""
    connected, sent = capture.sent_from, max(capture.sent_to, capture.sent_from)
    answered, over = capture.answered_at, capture.over_at
    if answered:
        sent = min(sent, answered)  # a response may come before the request is complete
    return {
        "gate": about.gate_ns if about is not None else None,
        "connect": _between(capture.began, connected),
        "send": _between(connected, sent),
        "wait": _between(sent, answered),
        "receive": _between(answered, over),
    }


def status_words(status: int) -> str:
    """Return a status with its phrase, such as `502 Bad Gateway`."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def duration(capture: Capture) -> int:
    """Return the duration in nanoseconds; 0 while the exchange is open."""
    return _between(capture.began, capture.over_at) or 0


def _common(capture: Capture, id_: str, replay_of: str) -> dict[str, Any]:
    source, about = visitor_address(capture.opened.head), visitor_of(capture)
    return {
        "uri": f"{REQUESTS_PATH}/{id_}",
        "id": id_,
        "tunnel_name": capture.tunnel,
        "remote_addr": "" if source is None else str(source[0]),
        "start": started_at(capture),
        "duration": duration(capture),
        "is_over": capture.is_over,
        "is_upgrade": capture.is_upgrade,
        "visitor": _visitor(about) if about is not None else None,
        "timing": timing(capture, about),
        "replay_of": replay_of,
        "error": _error(capture),
    }


def _visitor(about: About) -> dict[str, str]:
    texts = {name: getattr(about, name) for name in ("address", "subject", "email", "name", "rule", "how")}
    return {name: mask_text(text) for name, text in texts.items()}


def _error(capture: Capture) -> str:
    if capture.code is None:
        return ""
    return capture.reason or _WORDS.get(capture.code, capture.code.name.lower())


def _message(first: str, lines: str, kept: bytes | bytearray, size: int) -> ShownMessage:
    fields = fields_of(lines)
    body = show_body(
        bytes(kept),
        content_type=field_of(fields, "content-type"),
        encoding=field_of(fields, "content-encoding"),
        is_whole=len(kept) == size,
    )
    return ShownMessage(first=first, headers=_masked_fields(fields), body=body, size=size, kept=len(kept))


def _masked_fields(fields: Headers) -> Headers:
    return tuple((name, mask_field(name, value)) for name, value in fields)


def _status(status: int) -> dict[str, Any]:
    return {"status": status_words(status), "status_code": status, "proto": "HTTP/1.1"}


def _body(message: ShownMessage) -> dict[str, Any]:
    return {
        "size": message.size,
        "kept": message.kept,
        "type": message.content_type,
        "encoding": message.body.encoding,
        "is_shown": message.body.is_shown,
        "is_cut": message.body.is_cut,
    }


def _grouped(headers: Headers) -> dict[str, list[str]]:
    """Return values by field name, with names in Go's spelling, as in ngrok: `Content-Type`."""
    grouped: dict[str, list[str]] = {}
    for name, value in headers:
        grouped.setdefault("-".join(map(str.capitalize, name.split("-"))), []).append(value)
    return grouped


def _between(start: float, end: float) -> int | None:
    """Return nanoseconds between two times; None if one of them has not come."""
    return round(max(0.0, end - start) * NANOSECONDS) if start and end else None
