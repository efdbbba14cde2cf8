"""Notifies followers of a topic that its data has changed, at most a few times a second; followers then read the data.

A topic is a word, or a word with the owner or id that it is about:

    edge:<id>           an edge, its policy, or who serves it
    edges:<owner>       the list of an owner's edges; `domains:`, `credentials:`, `providers:`, `users:` alike
    tunnels:<owner>     a tunnel or its agent came, left, drains, or its health changed
    traffic:<owner>     exchanges have ended
    sessions:<owner>    a visitor signed in or out
    audit:<owner>       an event was written

A follower of `tunnels` is notified about all owners; a follower of `tunnels:ann` about Ann's tunnels, and about
`tunnels` published without an owner. A notification contains the topic only; access is checked where the data is read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Self
from weakref import WeakSet

from tunnelctl.bounds import DeclaredBound

GAP_SECONDS = 0.3
"""Minimum seconds between two notifications of one follower, so that a page is not rendered again for every request."""
MAX_FOLLOWERS = 1000
"""Maximum open pages that are updated live, on the whole relay. Each costs a connection and a few kilobytes."""
MAX_OF_ONE = 20
"""Maximum live pages of one user, so that one user cannot take all places, or all of the relay's time. Tabs in the
background do not count, as they close their streams."""

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
    """The maximum number of followers is reached; the caller may try again later."""


class Feed:
    """Maps topics to their followers and notifies them.

    Args:
        sleep: Function that waits for a number of seconds; tests pass their own.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._followers: WeakSet[Following] = WeakSet()

    @property
    def follower_count(self) -> int:
        """Number of open subscriptions."""
        return len(self._followers)

    def publish(self, topic: str) -> None:
        """Notify the followers of a topic. Never waits, and costs very little without followers."""
        for follower in self._followers:
            follower.notify(topic)

    def follow(self, topics: Iterable[str], of: str = "") -> "Following":
        """Return an async iterator of sets: the topics among `topics` that changed since the previous set.

        The first set comes at once and contains all topics, so that the follower reads the current data.

        Args:
            of: The user who follows; each may have `MAX_OF_ONE` subscriptions at a time.

        Raises:
            TooManyFollowers: Raised at the call, not during iteration.
        """
        same = sum(follower.of == of for follower in self._followers)
        if len(self._followers) >= MAX_FOLLOWERS or same >= MAX_OF_ONE:
            raise TooManyFollowers
        follower = Following(frozenset(topics), of, self._sleep, self._followers.discard)
        self._followers.add(follower)
        return follower


class Following:
    """A subscription: an async iterator over sets of changed topics.

    `close` ends it, as does dropping the last reference.

    Waiting for the next set may be cancelled and repeated without losing a notification.
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
