"""Captures made without a network."""

from typing import Any

from tunnelctl.inspector.store import Capture, CaptureStore
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import BODY_LENGTH, BODY_NONE, TYPE_EXCHANGE, TYPE_UPGRADE, OpenHead


class Clock:
    """Time that stands until a test turns it."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def opened(line: str = "GET / HTTP/1.1", *fields: str, is_upgrade: bool = False, framing: int = BODY_NONE) -> OpenHead:
    """What the relay opens a stream with."""
    head = "".join(f"{one}\r\n" for one in (line, "Host: demo.tun.example", *fields)).encode("latin-1")
    return OpenHead(1, TYPE_UPGRADE if is_upgrade else TYPE_EXCHANGE, framing, head)


def captured(
    store: CaptureStore,
    line: str = "GET / HTTP/1.1",
    *fields: str,
    tunnel: str = "web",
    body: bytes = b"",
    status: int = 200,
    response: tuple[str, ...] = ("Content-Type: text/plain",),
    answer: bytes = b"ok",
    code: Code | None = None,
    reason: str = "",
    **more: Any,
) -> Capture:
    """An exchange that is over; `status` 0 for one without a response."""
    more.setdefault("framing", BODY_LENGTH if body else BODY_NONE)
    capture = store.begin(tunnel, opened(line, *fields, **more))
    capture.sending()
    if body:
        capture.request_data(body)
        capture.request_ended()
    if status:
        capture.answered(status, "".join(f"{one}\r\n" for one in response).encode("latin-1"))
        capture.response_data(answer)
    capture.ended(code, reason)
    return capture
