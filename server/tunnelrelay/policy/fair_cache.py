"""A cache shared by many owners, bounded by count and by bytes: an owner who fills it loses only their own entries.

The modules that use a cache declare its bounds.
"""

from collections.abc import Callable, ValuesView
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ENTRY_BYTES = 300
"""Bytes of memory for one entry of the cache itself: places in four dicts, a tuple and a number."""


class FairCache(Generic[K, V]):
    """A dict shared by owners, bounded by count and bytes.

    When it is full, the owner with the most entries loses the least recently used one.

    Args:
        max_count: Maximum entries of all owners together.
        max_bytes: Maximum bytes of all entries, as the sum of the weights that callers give.
        max_of_owner: Maximum entries of one owner; None for `max_count`.

    Attributes:
        get: Returns the value of a key, or None. It is the method of a plain dict, for speed on the hot path.
    """

    __slots__ = (
        "_by_count",
        "_entries",
        "_owners",
        "_values",
        "get",
        "max_bytes",
        "max_count",
        "max_of_owner",
        "total",
    )

    def __init__(self, *, max_count: int, max_bytes: int, max_of_owner: int | None = None) -> None:
        self.max_count = max_count
        self.max_bytes = max_bytes
        self.max_of_owner = max_count if max_of_owner is None else max_of_owner
        self.total = 0
        self._values: dict[K, V] = {}
        self._entries: dict[K, tuple[_Share[K], int]] = {}
        self._owners: dict[str, _Share[K]] = {}  # by last use; of equal owners the first loses an entry
        self._by_count: dict[int, dict[str, _Share[K]]] = {}  # the owners that have as many entries, by last use
        self.get: Callable[[K], V | None] = self._values.get

    def __len__(self) -> int:
        return len(self._values)

    def values(self) -> ValuesView[V]:
        """Return all values."""
        return self._values.values()

    def count_of(self, owner: str) -> int:
        """Return how many entries an owner has."""
        share = self._owners.get(owner)
        return 0 if share is None else len(share.keys)

    def put(self, key: K, value: V, *, owner: str, weight: int) -> None:
        """Store the value of a key, after making room for it. An old value is replaced.

        Args:
            weight: Bytes of memory that the value takes. A value with more than `max_bytes` is not stored.
        """
        self.pop(key)
        if weight > self.max_bytes:
            return
        if self.count_of(owner) >= self.max_of_owner:
            self._drop_of(self._owners[owner])
        while self._values and len(self._values) >= self.max_count:
            largest = self._by_count[max(self._by_count)]
            self._drop_of(next(iter(largest.values())))
        self._make_room(weight)
        share = self._owners.pop(owner, None) or _Share[K](owner)
        self._owners[owner] = share
        share.keys[key] = None
        self._rank(share, before=len(share.keys) - 1)
        share.total += weight
        self.total += weight
        self._entries[key] = share, weight
        self._values[key] = value

    def weigh(self, key: K, weight: int) -> None:
        """Set the weight of a key's value, if the key exists."""
        entry = self._entries.get(key)
        if entry is None:
            return
        share, before = entry
        share.total += weight - before
        self.total += weight - before
        self._entries[key] = share, weight
        self._make_room(0)

    def touch(self, key: K) -> None:
        """Mark the value of an existing key as recently used."""
        share = self._entries[key][0]
        share.keys[key] = share.keys.pop(key)
        self._owners[share.owner] = self._owners.pop(share.owner)
        self._rank(share, before=len(share.keys))

    def pop(self, key: K) -> V | None:
        """Remove a key and return its value; None when it did not exist."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        share, weight = entry
        del share.keys[key]
        self._rank(share, before=len(share.keys) + 1)
        share.total -= weight
        self.total -= weight
        if not share.keys:
            del self._owners[share.owner]
        return self._values.pop(key)

    def clear(self) -> None:
        """Remove all entries."""
        self._values.clear()
        self._entries.clear()
        self._owners.clear()
        self._by_count.clear()
        self.total = 0

    def _make_room(self, weight: int) -> None:
        while self._values and self.total + weight > self.max_bytes:
            self._drop_of(max(self._owners.values(), key=_total))

    def _drop_of(self, share: "_Share[K]") -> None:
        self.pop(next(iter(share.keys)))

    def _rank(self, share: "_Share[K]", *, before: int) -> None:
        """Move an owner into the group of owners with an equal number of entries, as the most recently used one.

        Args:
            before: The owner's number of entries when it was last moved.
        """
        if before:
            equals = self._by_count[before]
            del equals[share.owner]
            if not equals:
                del self._by_count[before]
        if share.keys:
            self._by_count.setdefault(len(share.keys), {})[share.owner] = share


class _Share(Generic[K]):
    """The entries of one owner: keys from least to most recently used, and their total bytes."""

    __slots__ = ("keys", "owner", "total")

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.keys: dict[K, None] = {}
        self.total = 0


def _total(share: _Share[K]) -> int:
    return share.total
