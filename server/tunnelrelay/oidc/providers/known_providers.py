"""The cache of providers' metadata and keys, bounded per owner and for the whole relay.

Documents are cached per connection and never shared by owners: one tenant's keys must not be used for another's tokens,
and a tenant with many clients must push out only its own documents. `provider.py` fetches them.
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
"""Seconds after which metadata and keys are fetched again."""
STALE_SECONDS = 24 * 3600.0
"""Seconds for which metadata and keys are used if fetching them again fails, to bridge a provider's outage."""
MIN_FAILED_SECONDS, MAX_FAILED_SECONDS = 1.0, 30.0
"""Minimum and maximum seconds for which a failed fetch is cached, so that a flood of visitors does not become a flood
of calls: as long as the fetch took, but at least the minimum; doubled after each further failure, up to the maximum. A
provider that starts a moment after its tunnel is found by the next visitor, and one that is down for long is called
twice a minute."""
KEYS_AGAIN_SECONDS = 60.0
"""Seconds without another early fetch, after an early fetch of documents brought no change: invalid tokens of strangers
must not cause calls. After an early fetch that brought a change, the next is allowed at once, as the provider may
change again. Worst case for one connection: four calls a minute for tokens (two for those of logins, two for those of
strangers) and one for endpoints that do not respond."""
MAX_PROVIDERS = 1_000
"""Maximum cached providers of all owners. When there are more, the owner with the most loses the least recently used
one, which is fetched again when needed."""
MAX_PROVIDERS_BYTES = 32 * 1024 * 1024
"""Maximum bytes of all cached providers: 10 to 20 kB each with a handful of keys, and 230 kB with keys of maximum
number and size. A provider that publishes such keys pushes out only documents of its owner."""
KNOWN_BYTES = 3_000 + ENTRY_BYTES
"""Bytes of memory for one provider without its documents: locks, semaphores, times."""
KEY_BYTES = 2_000
"""Bytes of memory for one key, in addition to its numbers, which are stored as text and in the library that verifies
with it."""
MAX_OWNERS_PROVIDERS = 250
"""Maximum cached providers of one owner, who may create any number of clients."""
MAX_CALLS = 2
"""Maximum concurrent calls per connection, so that a slow provider delays only its own visitors."""
MAX_OWNERS_CALLS = 8
"""Maximum concurrent calls per owner, whose many connections may have providers that never respond."""
BUSY_SECONDS = 10.0
"""Seconds, from the beginning of the wait, for which it is cached that a call got no turn: about as long as the wait
itself, for the callers that wait behind it. This failure is the relay's own and says nothing about the provider."""


class Busy(ProviderError):
    """Too many of our own calls are waiting. The provider was not called, so this does not count as its failure."""

    def __init__(self) -> None:
        super().__init__("unreachable", "too many calls to this provider, or of this owner, are under way")


class Document(Generic[T]):
    """One document of a provider: fresh for an hour, used for a day when it cannot be fetched again.

    Fetched by one caller at a time.

    Args:
        on_read: Called when the value has changed.

    Attributes:
        value: The document fetched last, however old; None before the first fetch, or when it is too old to use.
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
        """Return the document, fetched if it is not cached or no longer fresh. Raises ProviderError."""
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
        """Fetch the document although it is fresh.

        Return False when that failed, now or a moment ago; the old one is then kept.
        """
        async with self._lock:
            await self._read(read, clock)
        return self._failure is None

    async def _read(self, read: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> None:
        """Fetch the document, unless the last try failed a moment ago."""
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
    """Limits early fetches of documents for one reason; see `KEYS_AGAIN_SECONDS`.

    Attributes:
        turn: Lock held by the caller that fetches; the others wait and use its result.
    """

    __slots__ = ("_not_before", "turn")

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self._not_before = float("-inf")

    def begin(self, now: float) -> bool:
        """Return whether an early fetch may begin now.

        The next one must wait `KEYS_AGAIN_SECONDS`, unless `forgive` is called.
        """
        if now < self._not_before:
            return False
        self._not_before = now + KEYS_AGAIN_SECONDS
        return True

    def forgive(self) -> None:
        """Allow the next early fetch at once, as the last one brought a change, or failed (the failure itself is
        cached).
        """
        self._not_before = float("-inf")


class CachedProvider:
    """The cached documents of one connection's provider, and the limits on calls to it.

    Attributes:
        calls: Limits concurrent calls to the provider.
        owners_calls: Limits concurrent calls of the owner, to any provider.
        login_rereads: Limits early fetches for tokens that the provider itself sent over TLS, for a login or a session.
        stranger_rereads: Limits early fetches for tokens from untrusted senders. Separate, so that a flood of invalid
            tokens does not keep a login from noticing that the provider changed its keys.
        endpoint_rereads: Limits early fetches for endpoints that respond with errors.
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
        """Bytes of memory that the documents take."""
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

    A connection is an owner's client at an issuer. Its other settings (secret, scopes, rules) do not affect the
    documents and do not make a second entry.
    """

    def __init__(self) -> None:
        self._known = FairCache[tuple[str, str], CachedProvider](
            max_count=MAX_PROVIDERS, max_bytes=MAX_PROVIDERS_BYTES, max_of_owner=MAX_OWNERS_PROVIDERS
        )
        # Weak references: an owner's semaphore exists only while one of the owner's connections is cached or called.
        self._calls: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, connection: Connection) -> CachedProvider:
        """Return the cached documents of this connection's provider; empty at first."""
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
