"""Reports new captures to readers of the local API, as a stream of events (text/event-stream).

    event: exchange   an exchange began (`response` is null), or is over: the summary of `views`, with its id
    event: cleared    all captures were deleted
    event: gap        some events were left out: `{"missed": 12}`; read the list again

A reader never delays traffic: changes are stored as numbers, and reported in batches when the reader takes them.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Self

from tunnelctl.bounds import DeclaredBound
from tunnelctl.inspector.store import Capture, CaptureStore

MAX_READERS = 16
"""Maximum concurrent readers, as each costs a little time for every exchange. A further one is refused."""
MAX_UNTOLD = 200
"""Maximum exchanges that wait to be reported to one reader. When there are more, the oldest are skipped and a `gap`
event reports that: no person can read ten thousand requests a second."""
BATCH_SECONDS = 0.1
"""Seconds between two batches for one reader; with `MAX_UNTOLD` this limits what a reader costs."""
REST = 3
"""A reader waits this many times as long as its last batch took to generate: visitors choose the length of addresses
and headers, so one event may take 50 ms, and a reader may take only a quarter of the agent's time."""
BEAT_SECONDS = 15.0
"""Seconds without an event after which a comment is sent, to notice a reader that has gone."""

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
        worst_bytes=MAX_UNTOLD * 200,
        holds=("EventReader._untold",),
    ),
)

Summarize = Callable[[Capture], Awaitable[dict[str, Any]]]


class TooManyReaders(Exception):
    """There are already `MAX_READERS` readers."""


class EventReader:
    """The stream of events for one reader: a `CaptureListener`, and an async iterator over event texts.

    Args:
        on_closed: Called when the reader has gone.
    """

    def __init__(self, store: CaptureStore, summarize: Summarize, on_closed: Callable[["EventReader"], None]) -> None:
        self._store = store
        self._summarize = summarize
        self._on_closed = on_closed
        self._has_begun = False
        self._untold: dict[int, None] = {}
        self._missed = 0
        self._is_cleared = False
        self._rest = 0.0
        self._news = asyncio.Event()

    def changed(self, number: int) -> None:
        """Note a changed exchange; several changes of one exchange before the next batch are reported as one event."""
        if number in self._untold:
            return
        if len(self._untold) >= MAX_UNTOLD:
            del self._untold[next(iter(self._untold))]
            self._missed += 1
        self._untold[number] = None
        if not self._news.is_set():
            self._news.set()

    def cleared(self) -> None:
        """Drop all exchanges that wait to be reported, and note that all captures were deleted."""
        self._untold.clear()
        self._missed = 0
        self._is_cleared = True
        self._news.set()

    def __aiter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next events as text, or a comment when there were none for a while. The stream has no end."""
        if not self._has_begun:
            self._has_begun = True
            return b": open\n\n"
        await asyncio.sleep(max(BATCH_SECONDS, self._rest))
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
        began = self._store.clock()
        for number in untold:
            if (capture := self._store.find(number)) is not None:
                told = await self._summarize(capture)
                parts.append(event("exchange", told, told["id"]))
                await asyncio.sleep(0)
        self._rest = REST * (self._store.clock() - began)
        return b"".join(parts) or b": passed over\n\n"

    async def aclose(self) -> None:
        """Close the stream, as the reader has gone."""
        self._store.unlisten(self)
        self._on_closed(self)


class EventFeed:
    """The readers of one store of captures."""

    def __init__(self, store: CaptureStore) -> None:
        self._store = store
        self._readers: set[EventReader] = set()

    def open(self, summarize: Summarize) -> EventReader:
        """Open a stream of the events from now on. The reader counts until it is closed.

        Args:
            summarize: Function that returns the data reported for a capture.

        Raises:
            TooManyReaders: There is no room for another reader.
        """
        if len(self._readers) >= MAX_READERS:
            raise TooManyReaders
        reader = EventReader(self._store, summarize, self._readers.discard)
        self._readers.add(reader)
        self._store.listen(reader)
        return reader


def event(name: str, value: dict[str, Any], id_: str = "") -> bytes:
    """Return the text of one event. JSON contains no line ends, so the data is one line whatever a visitor sent."""
    id_line = f"id: {id_}\n" if id_ else ""
    return f"event: {name}\n{id_line}data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()
