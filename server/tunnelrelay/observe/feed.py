"""Who wants to know that something has changed, told at most a few times a second. What has changed they read anew.

A topic is a word, or a word and whose or which it is of:

    edge:<id>           an edge, its policy, or who serves it
    edges:<owner>       the list of an owner's edges; `domains:`, `credentials:`, `providers:`, `users:` alike
    tunnels:<owner>     a tunnel or its agent came, left, drains, or its health changed
    traffic:<owner>     exchanges have ended
    sessions:<owner>    a visitor signed in or out
    audit:<owner>       an event was written

Whoever follows `tunnels` hears of every owner's; `tunnels:ann` hears of hers, and of `tunnels` published without an
owner. Nothing but the topic is told, so that what somebody may see is decided where it is read.
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
"""Of one user, so that no member can use up what the administrators watch their relay with, or the relay's time. Tabs
that nobody looks at do not count: they rest."""

Publish = Callable[[str], None]
"""What tells of changes: `Feed.publish`."""


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
            "Following._news",
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
    """There is no room for another one: try again later."""


class Feed:
    """See the module.

    Args:
        sleep: Waits for so many seconds; tests bring their own.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._followers: WeakSet[Following] = WeakSet()

    @property
    def follower_count(self) -> int:
        """How many follow anything."""
        return len(self._followers)

    def publish(self, topic: str) -> None:
        """Something has changed. Never waits, and costs next to nothing while nobody follows."""
        for follower in self._followers:
            follower.hear(topic)

    def follow(self, topics: Iterable[str], of: str = "") -> "Following":
        """Returns an async iterator of sets: which of these topics changed since the one before.

        The first set comes at once and has them all: whatever changed before it is read with it.

        Args:
            of: Who follows; each may follow so much.

        Raises:
            TooManyFollowers: Now, not when it is iterated.
        """
        same = sum(follower.of == of for follower in self._followers)
        if len(self._followers) >= MAX_FOLLOWERS or same >= MAX_OF_ONE:
            raise TooManyFollowers
        follower = Following(frozenset(topics), of, self._sleep, self._followers.discard)
        self._followers.add(follower)
        return follower


class Following:
    """An async iterator of what changed. `close` ends it; one that nobody holds any more is over too.

    A wait for the next set may be cancelled and begun again: nothing is lost.
    """

    __slots__ = ("__weakref__", "_is_closed", "_leave", "_news", "_sleep", "_waiter", "_was_told", "of", "topics")

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
        self._news = set(topics)
        self._waiter: asyncio.Future[None] | None = None
        self._was_told = False
        self._is_closed = False

    def hear(self, topic: str) -> None:
        """Something was published."""
        heard = _followed(self.topics, topic)
        if heard:
            self._news.update(heard)
            self._wake()

    def close(self) -> None:
        """No more comes."""
        self._is_closed = True
        self._leave(self)
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> frozenset[str]:
        if self._was_told and not self._is_closed:
            await self._sleep(GAP_SECONDS)
        self._was_told = True
        while not self._news and not self._is_closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._is_closed:
            raise StopAsyncIteration
        news = frozenset(self._news)
        self._news.clear()
        return news

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _followed(topics: frozenset[str], published: str) -> set[str]:
    """The followed topics that a published one is news of."""
    family, colon, _ = published.partition(":")
    if colon:
        return {published, family} & topics
    return {topic for topic in topics if topic == family or topic.startswith(f"{family}:")}
