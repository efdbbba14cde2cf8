"""The client of the local API, with what another program than an agent may answer at its port."""

from collections.abc import Iterator

import httpx
import pytest

from tunnelctl.cli.exits import Failure
from tunnelctl.cli.local_client import MAX_LINE, LocalClient


class Endless(httpx.SyncByteStream):
    """A body that has no end, and counts the bytes that were read of it."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[bytes]:
        yield b": open\n\nevent: gap\nda"
        yield b'ta: {"missed": 1}\n\n'
        while self.read < 8 * MAX_LINE:
            self.read += 64 * 1024
            yield b"x" * 64 * 1024


def test_a_line_without_an_end_is_not_read_to_its_end():
    body = Endless()
    client = LocalClient("127.0.0.1:4040", httpx.MockTransport(lambda request: httpx.Response(200, stream=body)))
    events = client.events("/api/requests/events")
    assert [next(events), next(events)] == [("open", None), ("gap", {"missed": 1})]
    with pytest.raises(Failure, match="it is no agent"):
        next(events)
    assert body.read <= 2 * MAX_LINE
    client.close()
