"""The cache of providers' metadata and keys, bounded for each owner and for the relay.

Documents are cached per connection and never shared across owners: one tenant's keys must not be used for another's
tokens, and a tenant with many clients must push out only that tenant's documents. `provider.py` fetches them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import msgspec

from tunnelctl.bounds import DeclaredBound
from tunnelctl.memo import weight
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.keys import KeySet
from tunnelctl.oidc.metadata import Metadata
from tunnelrelay.policy.fair_cache import ENTRY_BYTES, FairCache
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
"""Of all owners. Beyond that the owner who has the most loses the one that was not used for the longest time; it is
fetched again when needed."""
MAX_PROVIDERS_BYTES = 32 * 1024 * 1024
"""Memory of all of them: 10 to 20 kB each with a handful of keys, and 230 kB with as many and as long ones as are
taken. A provider that publishes such keys pushes out its owner's own."""
KNOWN_BYTES = 3_000 + ENTRY_BYTES
"""Memory of one provider without its documents: locks, turns, times."""
KEY_BYTES = 2_000
"""Memory of one key beside its numbers, which are there as text and in the library that checks with it."""
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
    """Too many of our own calls are waiting. The provider was not called, so this is no failure of the provider."""

    def __init__(self) -> None:
        super().__init__("unreachable", "too many calls to this provider, or of this owner, are under way")


class Document(Generic[T]):
    """One fetched document: fresh for an hour, kept for a day when it cannot be fetched again. One fetch at a time.

    Args:
        on_read: Called when there is another value.

    Attributes:
        value: What was fetched last, however old; None before the first, or when that is too old to use.
    """

    __slots__ = ("_failed_seconds", "_failure", "_lock", "_on_read", "_read_at", "_retry_at", "value")

    def __init__(self, on_read: Callable[[], None] = lambda: None) -> None:
        self._on_read = on_read
        self.value: T | None = None
        self._failure: ProviderError | None = None
        self._failed_seconds = 0.0
        self._lock = asyncio.Lock()
        self._read_at = self._retry_at = float("-inf")

    async def get(self, read: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> T:
        """The document, fetched when it is not cached or no longer fresh. Raises ProviderError."""
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
        """Fetch it although it is fresh. False when that failed, now or a moment ago; then the old one is kept."""
        async with self._lock:
            await self._read(read, clock)
        return self._failure is None

    async def _read(self, read: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> None:
        """Read the document, unless the last try failed a moment ago."""
        began = clock()
        if began < self._retry_at:
            return
        try:
            self.value, self._read_at = await read(), began
            self._failure, self._failed_seconds, self._retry_at = None, 0.0, float("-inf")
            self._on_read()
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
    """Limits early fetches of documents for one reason: see `KEYS_AGAIN_SECONDS`.

    Attributes:
        turn: Held by the caller that fetches; the others wait and use its result.
    """

    __slots__ = ("_not_before", "turn")

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self._not_before = float("-inf")

    def begin(self, now: float) -> bool:
        """Whether an early fetch may begin now. The next one waits `KEYS_AGAIN_SECONDS`, unless `forgive` is called."""
        if now < self._not_before:
            return False
        self._not_before = now + KEYS_AGAIN_SECONDS
        return True

    def forgive(self) -> None:
        """Allow the next early fetch at once, as this one helped, or failed and the failure itself is cached."""
        self._not_before = float("-inf")


class CachedProvider:
    """The cached documents of one connection's provider, and its limits on calls.

    Attributes:
        calls: Limits concurrent calls to it.
        owners_calls: Limits concurrent calls of the owner, to any provider.
        login_rereads: For tokens that the provider itself gave, over TLS, for a login or a session.
        stranger_rereads: For tokens from untrusted senders. Separate, so that a flood of invalid tokens does not keep a
            login
            from noticing that the provider changed its keys.
        endpoint_rereads: For endpoints whose answers are wrong.
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

    def __init__(self, owners_calls: asyncio.Semaphore, on_read: Callable[["CachedProvider"], None]) -> None:
        self.owners_calls = owners_calls
        self.metadata: Document[Metadata] = Document(lambda: on_read(self))
        self.keys: Document[KeySet] = Document(lambda: on_read(self))
        self.calls = asyncio.Semaphore(MAX_CALLS)
        self.login_rereads, self.stranger_rereads, self.endpoint_rereads = Rereads(), Rereads(), Rereads()

    @property
    def weight(self) -> int:
        """Bytes of memory that it takes."""
        return KNOWN_BYTES + _metadata_bytes(self.metadata.value) + _keys_bytes(self.keys.value)


BOUNDS = (
    DeclaredBound(
        name="providers that are known",
        limit=MAX_PROVIDERS,
        unit="connections",
        per="relay",
        when_full="of the owner who has the most, the least recently used is fetched again",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="memory of providers that are known",
        limit=MAX_PROVIDERS_BYTES,
        unit="bytes",
        per="relay",
        when_full="of the owner who has the most, the least recently used is fetched again",
        worst_bytes=MAX_PROVIDERS_BYTES,
        holds=("KnownProviders._known", "KnownProviders._calls"),
    ),
    DeclaredBound(
        name="providers that are known of one owner",
        limit=MAX_OWNERS_PROVIDERS,
        unit="connections",
        per="owner",
        when_full="the owner's least recently used is fetched again",
        worst_bytes=MAX_PROVIDERS_BYTES,
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
    """One `CachedProvider` for each connection in use, the least recently used first.

    A connection is an owner's client at an issuer. Its other settings (secret, scopes, rules) do not change what is
    fetched, and make no second entry.
    """

    def __init__(self) -> None:
        self._known = FairCache[tuple[str, str], CachedProvider](
            max_count=MAX_PROVIDERS, max_bytes=MAX_PROVIDERS_BYTES, max_of_owner=MAX_OWNERS_PROVIDERS
        )
        # Weak: an owner's turns last as long as a connection of theirs is known, or a call of theirs is under way.
        self._calls: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, connection: Connection) -> CachedProvider:
        """The cached documents of this connection's provider; empty at first."""
        key = (connection.owner, connection.id)
        known = self._known.get(key)
        if known is not None:
            self._known.touch(key)
            return known
        calls = self._calls.get(connection.owner) or asyncio.Semaphore(MAX_OWNERS_CALLS)
        self._calls[connection.owner] = calls
        known = CachedProvider(calls, on_read=lambda known: self._known.weigh(key, known.weight))
        self._known.put(key, known, owner=connection.owner, weight=known.weight)
        return known


def _metadata_bytes(metadata: Metadata | None) -> int:
    return 0 if metadata is None else sum(map(weight, map(_as_tuple, msgspec.structs.astuple(metadata))))


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, frozenset) else value


def _keys_bytes(keys: KeySet | None) -> int:
    return 0 if keys is None else sum(KEY_BYTES + weight(key.kid) + 3 * key.size for key in keys.keys)
