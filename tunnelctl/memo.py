"""Bounded dicts: `Memo` caches results computed from peers' bytes, `Recent` keeps the entries that were set last.

A memo is bounded by count and by bytes. A full memo is cleared completely: a hit then costs no more than in a plain
dict, which no LRU cache achieves, and common values are soon cached again.
"""

from collections.abc import Callable
from sys import getsizeof
from typing import TypeVar

from tunnelctl.bounds import DeclaredBound

MAX_ENTRIES = 4_096
"""Maximum entries of one memo."""
MAX_BYTES = 4 * 1024 * 1024
"""Maximum bytes of one memo: keys, results, and `ENTRY_BYTES` for each entry. A program has a dozen memos, most of
which cannot reach this limit, as their keys are short: 4,096 keys of 64 bytes are 1 MB."""
ENTRY_BYTES = 100
"""Bytes that a dict of this size needs for an entry, in addition to key and value."""

BOUNDS = (
    DeclaredBound(
        name="one memory of what peers send again and again (host names, field names, cookies), of a dozen",
        limit=MAX_ENTRIES,
        unit="entries",
        per="relay",
        when_full="all of it is forgotten and worked out anew",
        worst_bytes=MAX_BYTES,
        holds=("Memo.total",),
    ),
)

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V]):
    """Cache of a pure function's results: `memo[key]` computes a missing result and stores it.

    Args:
        learn: The function. Its result must depend only on its argument.
        max_bytes: Maximum length of a key whose result is cached; for a longer key it is computed each time.
        max_total: Maximum bytes of the whole memo, counted by `weight`.
    """

    __slots__ = ("_learn", "_max_bytes", "_max_total", "total")

    def __init__(self, learn: Callable[[K], V], *, max_bytes: int, max_total: int = MAX_BYTES) -> None:
        super().__init__()
        self._learn = learn
        self._max_bytes = max_bytes
        self._max_total = max_total
        self.total = 0

    def __missing__(self, key: K) -> V:
        found = self._learn(key)
        if length(key) <= self._max_bytes:
            size = ENTRY_BYTES + weight(key) + weight(found)
            if len(self) >= MAX_ENTRIES or self.total + size > self._max_total:
                self.clear()
                self.total = 0
            if size <= self._max_total:
                self.total += size
                self[key] = found
        return found


class Recent(dict[K, V]):
    """A dict of limited size that keeps the entries set last and drops the one that was set longest ago.

    Only `recent[key] = value` enforces the limit; other ways to fill a dict do not.

    Args:
        size: Maximum entries.
    """

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def __setitem__(self, key: K, value: V) -> None:
        self.pop(key, None)  # moves the key to the newest position
        while len(self) >= self._size:
            del self[next(iter(self))]
        super().__setitem__(key, value)


def length(key: object) -> int:
    """Return the bytes of text in a key, or in all parts of a tuple."""
    if isinstance(key, bytes | str):
        return len(key)
    return sum(map(length, key)) if isinstance(key, tuple) else 0


def weight(value: object) -> int:
    """Return the bytes of memory that a key or a result takes: text, numbers, None, or tuples of these."""
    if isinstance(value, tuple):
        return getsizeof(value) + sum(map(weight, value))
    return getsizeof(value) if value is not None else 0
