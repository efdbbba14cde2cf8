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

from tunnelctl.bounds import DeclaredBound
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.keys import KeySet
from tunnelctl.oidc.metadata import Metadata
from tunnelrelay.policy.rules import Connection

T = TypeVar("T")

FRESH_SECONDS = 3600.0
"""Metadata and keys are read again after this."""
STALE_SECONDS = 24 * 3600.0
"""And kept this long when that fails: a provider's short outage is no reason to forget where it was."""
MIN_FAILED_SECONDS, MAX_FAILED_SECONDS = 1.0, 30.0
"""How long a failed read is remembered, so that a flood of visitors does not become a flood at the provider: as long as
the read took, at least the one; twice as long after each further failure, up to the other. A provider that was started
a moment after its tunnel is found by the next visitor, and one that is away for long is called twice a minute."""
KEYS_AGAIN_SECONDS = 60.0
"""After documents were read before their time and that helped nothing, they are not read so again for this long:
tokens that a stranger makes up must not turn into calls. A re-read that helped costs nothing: the provider did change,
and may change again within the minute. Worst case for one connection: four calls a minute for tokens (two for those of
logins, two for those that strangers send) and one for endpoints that do not answer."""
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
    """One fetched document: fresh for an hour, kept for a day when it cannot be read again. Single flight.

    Attributes:
        value: What was read last, however old; None when there is nothing to go by.
    """

    __slots__ = ("_failed_seconds", "_failure", "_lock", "_read_at", "_retry_at", "value")

    def __init__(self) -> None:
        self.value: T | None = None
        self._failure: ProviderError | None = None
        self._failed_seconds = 0.0
        self._lock = asyncio.Lock()
        self._read_at = self._retry_at = float("-inf")

    async def get(self, read: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> T:
        """The document, read when it is not known or no longer fresh. Raises ProviderError."""
        if self.value is not None and clock() - self._read_at < FRESH_SECONDS:
            return self.value
        async with self._lock:
            if self.value is None or clock() - self._read_at >= FRESH_SECONDS:
                await self._read(read, clock)
        if self.value is None:
            assert self._failure is not None
            raise self._failure
        return self.value

    async def read_again(self, read: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> bool:
        """Reads it before its time. False when that failed, now or a moment ago; then the old one is kept."""
        async with self._lock:
            await self._read(read, clock)
        return self._failure is None

    async def _read(self, read: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> None:
        """Reads, unless that failed a moment ago."""
        began = clock()
        if began < self._retry_at:
            return
        try:
            self.value, self._read_at = await read(), began
            self._failure, self._failed_seconds, self._retry_at = None, 0.0, float("-inf")
        except ProviderError as error:
            self._failure = error
            self._retry_at = self._next_try(began, clock(), error)
            if began - self._read_at > STALE_SECONDS:
                self.value = None

    def _next_try(self, began: float, failed: float, error: ProviderError) -> float:
        if isinstance(error, Busy):
            return began + BUSY_SECONDS
        longer = max(MIN_FAILED_SECONDS, failed - began, 2 * self._failed_seconds)
        self._failed_seconds = min(longer, MAX_FAILED_SECONDS)
        return failed + self._failed_seconds


class Rereads:
    """When documents may be read before their time, for one reason: see `KEYS_AGAIN_SECONDS`.

    Attributes:
        turn: Held by the caller that reads; the others wait, and take what it found.
    """

    __slots__ = ("_not_before", "turn")

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self._not_before = float("-inf")

    def begin(self, now: float) -> bool:
        """Whether they may be read now; then not again for `KEYS_AGAIN_SECONDS`, unless `forgive` says otherwise."""
        if now < self._not_before:
            return False
        self._not_before = now + KEYS_AGAIN_SECONDS
        return True

    def forgive(self) -> None:
        """The re-read helped, or it failed and the failure itself is remembered."""
        self._not_before = float("-inf")


class Known:
    """What is known of one connection's provider.

    Attributes:
        calls: Turns to call it.
        owners_calls: Turns of the owner's calls, whomever they go to.
        login_rereads: For tokens that the provider itself gave, over TLS, for a login or a session.
        stranger_rereads: For tokens that anybody may have sent. Apart, so that a flood of made-up ones does not keep a
            login from noticing that the provider changed its keys.
        endpoint_rereads: For endpoints that do not answer as they should.
    """

    __slots__ = (
        "calls",
        "endpoint_rereads",
        "keys",
        "login_rereads",
        "metadata",
        "owners_calls",
        "stranger_rereads",
    )

    def __init__(self, owners_calls: asyncio.Semaphore) -> None:
        self.owners_calls = owners_calls
        self.metadata: Document[Metadata] = Document()
        self.keys: Document[KeySet] = Document()
        self.calls = asyncio.Semaphore(MAX_CALLS)
        self.login_rereads, self.stranger_rereads, self.endpoint_rereads = Rereads(), Rereads(), Rereads()


BOUNDS = (
    DeclaredBound(
        name="providers that are known",
        limit=MAX_PROVIDERS,
        unit="connections",
        per="relay",
        when_full="the least recently used is fetched again",
        worst_bytes=MAX_PROVIDERS * 300_000,
        holds=(
            "KnownProviders._known",
            "KnownProviders._counts",
            "KnownProviders._calls",
        ),
    ),
    DeclaredBound(
        name="providers that are known of one owner",
        limit=MAX_OWNERS_PROVIDERS,
        unit="connections",
        per="owner",
        when_full="the owner's least recently used is fetched again",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="calls to providers under way",
        limit=MAX_OWNERS_CALLS,
        unit="calls",
        per="owner",
        when_full="further ones wait, for 10 seconds at most",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="calls to one provider under way",
        limit=MAX_CALLS,
        unit="calls",
        per="connection",
        when_full="further ones wait, for 10 seconds at most",
        worst_bytes=0,
    ),
)


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
