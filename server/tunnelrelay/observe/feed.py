"""Notifies followers of topics that something has changed, at most a few times a second; followers then read the data.

A topic is a word, or a word and the owner or id that it is about:

    edge:<id>           an edge, its policy, or who serves it
    edges:<owner>       the list of an owner's edges; `domains:`, `credentials:`, `providers:`, `users:` alike
    tunnels:<owner>     a tunnel or its agent came, left, drains, or its health changed
    traffic:<owner>     exchanges have ended
    sessions:<owner>    a visitor signed in or out
    audit:<owner>       an event was written

A follower of `tunnels` is notified of every owner's; one of `tunnels:ann` of hers, and of `tunnels` published without
an owner. A notice carries the topic only, so access is checked where the data is read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Self
from weakref import WeakSet

from tunnelctl.bounds import DeclaredBound

GAP_SECONDS = 0.3
"""Between two wake-ups of one follower: people see no difference, and a page is not made anew for each request."""
MAX_FOLLOWERS = 1000
"""Open pages that are kept up to date, of the whole relay. Each costs a connection and a few kilobytes."""
MAX_OF_ONE = 20
"""Open pages of one user: a member must not use up the places that administrators watch their relay with, or the
relay's time. Tabs in the background do not count: their streams are closed."""

Publish = Callable[[str], None]
"""The type of `Feed.publish`, for modules that publish changes."""


BOUNDS = (
    DeclaredBound(
        name="open pages that are kept up to date",
        limit=MAX_FOLLOWERS,
        unit="pages",
        per="relay",
        when_full="503",
        worst_bytes=MAX_FOLLOWERS * 10_000,
        holds=(
            "Feed._followers",
            "Following._changed",
        ),
    ),
    DeclaredBound(
        name="open pages of one user",
        limit=MAX_OF_ONE,
        unit="pages",
        per="user",
        when_full="503",
        worst_bytes=0,
    ),
)


class TooManyFollowers(Exception):
    """There are too many followers; try again later."""


class Feed:
    """Topics and their followers.

    Args:
        sleep: Waits for so many seconds; tests bring their own.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._followers: WeakSet[Following] = WeakSet()

    @property
    def follower_count(self) -> int:
        """The number of open followings."""
        return len(self._followers)

    def publish(self, topic: str) -> None:
        """Notify the followers of a topic. Never waits, and costs very little without followers."""
        for follower in self._followers:
            follower.notify(topic)

    def follow(self, topics: Iterable[str], of: str = "") -> "Following":
        """Returns an async iterator of sets: which of these topics changed since the one before.

        The first set comes at once and has them all: whatever changed before it is read with it.

        Args:
            of: The user who follows; each may have `MAX_OF_ONE` at a time.

        Raises:
            TooManyFollowers: At the call, not when it is iterated.
        """
        same = sum(follower.of == of for follower in self._followers)
        if len(self._followers) >= MAX_FOLLOWERS or same >= MAX_OF_ONE:
            raise TooManyFollowers
        follower = Following(frozenset(topics), of, self._sleep, self._followers.discard)
        self._followers.add(follower)
        return follower


class Following:
    """An async iterator of what changed. `close` ends it; so does dropping the last reference to it.

    A wait for the next set may be cancelled and begun again: nothing is lost.
    """

    __slots__ = ("__weakref__", "_changed", "_has_yielded", "_is_closed", "_leave", "_sleep", "_waiter", "of", "topics")

    def __init__(
        self,
        topics: frozenset[str],
        of: str,
        sleep: Callable[[float], Awaitable[object]],
        leave: Callable[["Following"], object],
    ) -> None:
        self.topics = topics
        self.of = of
        self._sleep = sleep
        self._leave = leave
        self._changed = set(topics)
        self._waiter: asyncio.Future[None] | None = None
        self._has_yielded = False
        self._is_closed = False

    def notify(self, topic: str) -> None:
        """Note a published topic, if it is followed."""
        changed = _followed(self.topics, topic)
        if changed:
            self._changed.update(changed)
            self._wake()

    def close(self) -> None:
        """Unsubscribe and end the iteration."""
        self._is_closed = True
        self._leave(self)
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> frozenset[str]:
        if self._has_yielded and not self._is_closed:
            await self._sleep(GAP_SECONDS)
        self._has_yielded = True
        while not self._changed and not self._is_closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._is_closed:
            raise StopAsyncIteration
        changed = frozenset(self._changed)
        self._changed.clear()
        return changed

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _followed(topics: frozenset[str], published: str) -> set[str]:
    """Return the followed topics that a published one belongs to."""
    family, colon, _ = published.partition(":")
    if colon:
        return {published, family} & topics
    return {topic for topic in topics if topic == family or topic.startswith(f"{family}:")}
