"""What a caller of `RequestReader` gets that takes each request as soon as it can, for the tests and for fuzzing."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import h11

from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import RequestHead
from tunnelctl.http1.request_reader import RequestReader

CODES = {
    "bad_request",
    "expectation_failed",
    "head_too_large",
    "method_not_allowed",
    "not_implemented",
    "target_too_long",
    "version_not_supported",
}
"""What the reader may raise while nothing is skipped."""


@dataclass(kw_only=True)
class Message:
    """One request, as far as it was read.

    Attributes:
        sent: Its bytes, as they came.
        is_whole: Its end was there.
    """

    head: RequestHead
    sent: bytes
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    is_whole: bool = False

    @property
    def start(self) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
        """What its head says."""
        return self.head.method, self.head.target, self.head.fields


def read_all(pieces: Iterable[bytes]) -> tuple[list[Message], str]:
    """Every request of a connection on which these pieces come, and the code of the error that ended it, or ""."""
    reader, messages = RequestReader(), list[Message]()
    try:
        for piece in pieces:
            reader.feed(piece)
            _take(reader, messages)
    except HttpError as error:
        return messages, error.code
    return messages, ""


def _take(reader: RequestReader, messages: list[Message]) -> None:
    while before := reader.kept:
        if reader.is_in_body:
            latest = messages[-1]
            latest.body += b"".join(map(bytes, reader.take_body()))
            latest.sent += before[: len(before) - len(reader.kept)]
            latest.is_whole = not reader.is_in_body
            if latest.is_whole:
                latest.trailers = reader.trailers
        elif reader.has_head():
            head, block = reader.take_head()
            messages.append(Message(head=head, sent=block, is_whole=not reader.is_in_body))
        if reader.kept == before:
            return


def assert_same_in_pieces(pieces: list[bytes]) -> list[Message]:
    """The requests are the same whether their bytes come at once or in these pieces. Returns those that came at once.

    Of a body that is broken, more or less may have been given before the fault was there.
    """
    (whole, error), (cut, later_error) = read_all([b"".join(pieces)]), read_all(pieces)
    assert {error, later_error} <= CODES | {""}
    assert bool(error) == bool(later_error), (error, later_error)
    assert len(whole) == len(cut)
    for number, (one, other) in enumerate(zip(whole, cut, strict=True)):
        assert one.start == other.start
        if error and number == len(whole) - 1 and not one.is_whole:
            assert one.body.startswith(other.body) or other.body.startswith(one.body)
        else:
            assert (one.sent, one.body, one.trailers, one.is_whole) == (
                other.sent, other.body, other.trailers, other.is_whole,
            )  # fmt: skip
    return whole


def assert_h11_agrees(message: Message) -> None:
    """h11 finds the same request in these bytes, the same body, and its end at the same byte."""
    theirs = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    theirs.receive_data(message.sent)
    request, body = theirs.next_event(), b""
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == message.start[:2]
    while isinstance(event := theirs.next_event(), h11.Data):
        body += event.data
    assert body == message.body
    assert isinstance(event, h11.EndOfMessage) == message.is_whole
    assert not message.is_whole or theirs.trailing_data[0] == b""
