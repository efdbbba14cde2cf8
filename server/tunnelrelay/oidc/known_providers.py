"""What is known of providers: metadata and keys, kept for a while, so many of them and no more.

Everything is kept per connection, never across owners by something an owner chose: one tenant's keys must not answer
for another's, and one tenant's many clients push out his own provider's documents, not a neighbour's. Who fetches them
is in `provider.py`.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.keys import KeySet
from tunnelctl.oidc.metadata import Metadata
from tunnelrelay.policy.rules import Connection

T = TypeVar("T")

FRESH_SECONDS = 3600.0
"""Metadata and keys are read again after this."""
STALE_SECONDS = 24 * 3600.0
"""And kept this long when that fails: a provider's short outage is no reason to forget where it was."""
FAILED_SECONDS = 30.0
"""A failure is remembered this long, so that a flood of visitors does not become a flood at the provider."""
KEYS_AGAIN_SECONDS = 60.0
"""At most one fetch of keys in this time for tokens whose key is unknown: random `kid`s must not turn into calls."""
MAX_PROVIDERS = 1_000
"""Of all owners. Beyond that the one goes that was not used for the longest time; it is fetched again when needed."""
MAX_OWNERS_PROVIDERS = 250
"""Of one owner, who may invent client after client."""
MAX_CALLS = 2
"""Calls under way at once per connection, so that a slow provider holds up its own visitors only."""
MAX_OWNERS_CALLS = 8
"""And per owner, who may have many connections whose providers never answer: all of them together hold up their own."""
BUSY_SECONDS = 10.0
"""How long it is remembered, from when the wait began, that a call got no turn: about as long as the wait itself, for
those who wait behind it. A failure of ours says nothing about the provider."""


class Busy(ProviderError):
    """Calls of ours stood in line before: the provider was not asked, and nothing is known against it."""

    def __init__(self) -> None:
        super().__init__("unreachable", "too many calls to this provider, or of this owner, are under way")


class Document(Generic[T]):
    """One fetched document: fresh for an hour, kept for a day when it cannot be read again. Single flight."""

    __slots__ = ("_failure", "_lock", "_value", "asked_at", "read_at", "tried_at")

    def __init__(self) -> None:
        self._value: T | None = None
        self._failure: ProviderError | None = None
        self._lock = asyncio.Lock()
        self.read_at = self.tried_at = self.asked_at = float("-inf")

    async def get(self, read: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> T:
        """The document, read when it is not known or no longer fresh. Raises ProviderError."""
        if self._value is not None and clock() - self.read_at < FRESH_SECONDS:
            return self._value
        async with self._lock:
            await self._refresh(read, clock())
        if self._value is None:
            assert self._failure is not None
            raise self._failure
        return self._value

    async def get_newer(self, read: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> T:
        """The document, read again unless that was tried a moment ago. Raises ProviderError."""
        async with self._lock:
            if clock() - self.asked_at >= KEYS_AGAIN_SECONDS:
                self.asked_at = clock()
                self.read_at = min(self.read_at, clock() - FRESH_SECONDS)
                await self._refresh(read, clock())
        return await self.get(read, clock)

    async def _refresh(self, read: Callable[[], Awaitable[T]], now: float) -> None:
        is_fresh = self._value is not None and now - self.read_at < FRESH_SECONDS
        has_just_failed = self._failure is not None and now - self.tried_at < FAILED_SECONDS
        if is_fresh or has_just_failed:
            return
        self.tried_at = now
        try:
            self._value, self._failure, self.read_at = await read(), None, now
        except ProviderError as error:
            self._failure = error
            if isinstance(error, Busy):
                self.tried_at = now - FAILED_SECONDS + BUSY_SECONDS
            if now - self.read_at > STALE_SECONDS:
                self._value = None


class Known:
    """What is known of one connection's provider.

    Attributes:
        calls: Turns to call it.
        owners_calls: Turns of the owner's calls, whomever they go to.
    """

    __slots__ = ("calls", "keys", "metadata", "owners_calls")

    def __init__(self, owners_calls: asyncio.Semaphore) -> None:
        self.owners_calls = owners_calls
        self.metadata: Document[Metadata] = Document()
        self.keys: Document[KeySet] = Document()
        self.calls = asyncio.Semaphore(MAX_CALLS)


class KnownProviders:
    """One `Known` for each connection in use, the least recently used first.

    A connection is an owner's client at an issuer; what else he may change about it (secret, scopes, rules) has no part
    in what is fetched, and makes no second entry.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._counts: Counter[str] = Counter()
        # Weak: an owner's turns last as long as a connection of theirs is known, or a call of theirs is under way.
        self._calls: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, connection: Connection) -> Known:
        """What is known of this connection's provider; nothing, at first."""
        key = (connection.owner, connection.id)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        if self._counts[connection.owner] >= MAX_OWNERS_PROVIDERS:
            self._forget(next(known_key for known_key in self._known if known_key[0] == connection.owner))
        elif len(self._known) >= MAX_PROVIDERS:
            self._forget(next(iter(self._known)))
        self._counts[connection.owner] += 1
        calls = self._calls.get(connection.owner) or asyncio.Semaphore(MAX_OWNERS_CALLS)
        self._calls[connection.owner] = calls
        known = self._known[key] = Known(calls)
        return known

    def _forget(self, key: tuple[str, str]) -> None:
        del self._known[key]
        self._counts[key[0]] -= 1
        if not self._counts[key[0]]:
            del self._counts[key[0]]
