"""Drivers for what visitors make an agent's inspector keep, and what programs on its machine make it do."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.bounds.driving import drives, measured, table
from tunnelctl.bounds import DeclaredBound
from tunnelctl.inspector.events import EventFeed, TooManyReaders
from tunnelctl.inspector.replays import ReplayChanges, Replayer, TooManyReplays
from tunnelctl.inspector.store import MAX_BODY, Capture, CaptureStore
from tunnelctl.wire.frames import BODY_NONE, TYPE_EXCHANGE, OpenHead


def visit(store: CaptureStore, number: int, head: int = 200, body: int = 0) -> Capture:
    """An exchange whose heads and bodies are as long, and no other's."""
    text = f"GET /{number} HTTP/1.1\r\n".encode()
    capture = store.begin("web", OpenHead(1, TYPE_EXCHANGE, BODY_NONE, (text + b"A: ").ljust(head, b"x") + b"\r\n"))
    capture.about(f"{number}".encode().ljust(300))
    capture.sending()
    capture.answered(200, f"A: {number}\r\n".encode().ljust(head, b"x"))
    for _ in range(2):  # in two pieces, which takes more than one
        capture.request_data(bytes(body // 2))
        capture.response_data(bytes(body // 2))
    capture.ended(None, "")
    return capture


@drives("captured exchanges")
def drive_captures(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CaptureStore()
    with measured() as memory:
        for number in range(2 * bound.limit):
            visit(store, number)
            assert len(table(store, bound)) <= bound.limit
        assert len(table(store, bound)) == bound.limit
        assert memory.taken <= store.size <= bound.worst_bytes


@drives("bytes of captured exchanges")
def drive_bytes(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CaptureStore()
    with measured() as memory:
        for number in range(2 * bound.limit // (2 * MAX_BODY)):
            visit(store, number, head=30_000, body=2 * MAX_BODY)
            assert store.size <= bound.limit
        assert memory.taken <= bound.worst_bytes
        assert memory.most <= bound.worst_bytes + MAX_BODY


@drives("captured bytes of one body")
def drive_body(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = visit(CaptureStore(), 0)
    with measured() as memory:
        for _ in range(2 * bound.limit):
            capture.response_data(b"x")
        assert len(capture.response_body) == bound.limit
        assert memory.taken <= bound.worst_bytes


async def no_summary(capture: Capture) -> dict[str, Any]:
    return {"id": "x"}


@drives("readers of inspected exchanges")
async def drive_readers(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    feed, refused = EventFeed(CaptureStore()), 0
    with measured() as memory:
        for _ in range(2 * bound.limit):
            try:
                feed.open(no_summary)
            except TooManyReaders:
                refused += 1
        assert (len(table(feed, bound)), refused) == (bound.limit, bound.limit)
        assert memory.taken <= bound.worst_bytes


@drives("inspected exchanges to tell a reader about")
async def drive_untold(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CaptureStore()
    reader = EventFeed(store).open(no_summary)
    with measured() as memory:
        for number in range(2 * bound.limit):
            reader.changed(number)
            assert len(table(reader, bound)) <= bound.limit
        assert memory.taken <= bound.worst_bytes
    await anext(reader)
    assert b'{"missed":%d}' % bound.limit in await anext(reader)


@drives("replays under way")
async def drive_replays(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    def replay(*_: Any) -> Any:
        """A service that never answers."""
        return SimpleNamespace(is_over=False, is_sent=True, abort=lambda code, reason: None)

    tunnel = SimpleNamespace(config=SimpleNamespace(is_tcp=False), replay=replay)
    store, refused = CaptureStore(), 0
    replayer = Replayer(SimpleNamespace(tunnels={"web": tunnel}), store)  # type: ignore[arg-type]  # a fake
    capture = visit(store, 0, head=30_000)
    with measured() as memory:
        for _ in range(2 * bound.limit):
            try:
                replayer.start(capture, ReplayChanges())
            except TooManyReplays:
                refused += 1
        assert (len(table(replayer, bound)), refused) == (bound.limit, bound.limit)
        assert memory.taken <= bound.worst_bytes
