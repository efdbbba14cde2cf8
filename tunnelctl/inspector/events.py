"""Tells readers of the local API what is new among the captures, as a stream of events (text/event-stream).

    event: exchange   an exchange began (`response` is null), or is over: the summary of `views`, with its id
    event: cleared    all were forgotten
    event: gap        more came than was told: `{"missed": 12}`; read the list again

A reader never holds up traffic: what has changed is noted as a number, and told in batches when the reader takes them.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

from tunnelctl.bounds import DeclaredBound
from tunnelctl.inspector.store import Capture, CaptureStore

MAX_READERS = 16
"""At once: each costs a little with every exchange. The next one is refused."""
MAX_UNTOLD = 200
"""Exchanges that one reader has still to be told about. Beyond it the oldest are passed over, and `gap` says so: at
ten thousand requests a second no person reads each of them."""
BATCH_SECONDS = 0.1
"""Between two batches for one reader; together with `MAX_UNTOLD` it bounds what a reader costs."""
BEAT_SECONDS = 15.0
"""After so long without an event a comment is sent, so that a reader that is gone is noticed."""

BOUNDS = (
    DeclaredBound(
        name="readers of inspected exchanges",
        limit=MAX_READERS,
        unit="readers",
        per="agent",
        when_full="503",
        worst_bytes=MAX_READERS * 4096,
        holds=("EventFeed._readers",),
    ),
    DeclaredBound(
        name="inspected exchanges to tell a reader about",
        limit=MAX_UNTOLD,
        unit="exchanges",
        per="reader",
        when_full="the oldest are passed over, and the reader is told how many",
        worst_bytes=MAX_UNTOLD * 128,
        holds=("EventReader._untold",),
    ),
)

Summary = Callable[[Capture], dict[str, Any]]


class TooManyReaders(Exception):
    """There are `MAX_READERS` already."""


class EventReader:
    """What one reader has still to be told: a `CaptureListener`, and the stream of events as an async iterator.

    Args:
        on_closed: Called when the reader is gone.
    """

    def __init__(self, store: CaptureStore, summary: Summary, on_closed: Callable[["EventReader"], None]) -> None:
        self._store = store
        self._summary = summary
        self._on_closed = on_closed
        self._has_begun = False
        self._untold: dict[int, None] = {}
        self._missed = 0
        self._is_cleared = False
        self._news = asyncio.Event()

    def changed(self, number: int) -> None:
        """Note an exchange, once however often it changes until it is told."""
        if number in self._untold:
            return
        if len(self._untold) >= MAX_UNTOLD:
            del self._untold[next(iter(self._untold))]
            self._missed += 1
        self._untold[number] = None
        if not self._news.is_set():
            self._news.set()

    def cleared(self) -> None:
        """Note that there is nothing left to be told about."""
        self._untold.clear()
        self._missed = 0
        self._is_cleared = True
        self._news.set()

    def __aiter__(self) -> Self:
        """The stream."""
        return self

    async def __anext__(self) -> bytes:
        """The next events as text, a comment when there were none for a while. It has no end."""
        if not self._has_begun:
            self._has_begun = True
            return b": open\n\n"
        await asyncio.sleep(BATCH_SECONDS)
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                await self._news.wait()
        except TimeoutError:
            return b": still here\n\n"
        self._news.clear()
        untold, self._untold = self._untold, {}
        missed, self._missed = self._missed, 0
        is_cleared, self._is_cleared = self._is_cleared, False
        parts = [event("cleared", {})] if is_cleared else []
        parts += [event("gap", {"missed": missed})] if missed else []
        for number in untold:
            if (capture := self._store.find(number)) is not None:
                told = self._summary(capture)
                parts.append(event("exchange", told, told["id"]))
        return b"".join(parts) or b": passed over\n\n"

    async def aclose(self) -> None:
        """The reader is gone."""
        self._store.unlisten(self)
        self._on_closed(self)


class EventFeed:
    """The readers of one store.

    Args:
        summary: What is told of a capture.
    """

    def __init__(self, store: CaptureStore, summary: Summary) -> None:
        self._store = store
        self._summary = summary
        self._readers: set[EventReader] = set()

    def open(self) -> EventReader:
        """The events from now on, for a reader that is counted until it is closed.

        Raises:
            TooManyReaders: There is no room for another.
        """
        if len(self._readers) >= MAX_READERS:
            raise TooManyReaders
        reader = EventReader(self._store, self._summary, self._readers.discard)
        self._readers.add(reader)
        self._store.listen(reader)
        return reader


def event(name: str, value: dict[str, Any], id_: str = "") -> bytes:
    """One event. JSON has no line ends in it, so that it is one line whatever a visitor sent."""
    id_line = f"id: {id_}\n" if id_ else ""
    return f"event: {name}\n{id_line}data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()
