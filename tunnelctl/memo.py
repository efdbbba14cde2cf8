"""Bounded dicts: `Memo` keeps results that were computed from peers' bytes, `Recent` the entries that were set last.

A memo is bounded by count and by bytes. When it is full, all of it is dropped: a hit then costs no more than one in a
dict,
which no LRU cache can do, and honest values are learnt again at once.
"""

from collections.abc import Callable
from sys import getsizeof
from typing import TypeVar

from tunnelctl.bounds import DeclaredBound

MAX_ENTRIES = 4_096
"""Entries of one memo."""
MAX_BYTES = 4 * 1024 * 1024
"""Bytes of one memo: keys, results, and `ENTRY_BYTES` for each entry. A program has a dozen memos, most of which cannot
reach it, as their keys are short: 4,096 keys of 64 bytes are 1 MB."""
ENTRY_BYTES = 100
"""What a dict of this size takes for an entry, beside key and value."""

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
    """A pure function's results by its argument: `memo[key]` computes a missing one and keeps it.

    Args:
        learn: The function. It must depend on nothing but its argument.
        max_bytes: Longest key that is remembered; what a longer one comes to is worked out each time.
        max_total: Bytes of the whole memo, by `weight`.
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
    """The entries that were set last. When it is full, the one that was set the longest ago goes.

    For `recent[key] = value` alone: other ways to fill a dict do not make room.

    Args:
        size: Entries.
    """

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def __setitem__(self, key: K, value: V) -> None:
        self.pop(key, None)  # so that it becomes the newest
        while len(self) >= self._size:
            del self[next(iter(self))]
        super().__setitem__(key, value)


def length(key: object) -> int:
    """Bytes of text in a key, or in all parts of one."""
    if isinstance(key, bytes | str):
        return len(key)
    return sum(map(length, key)) if isinstance(key, tuple) else 0


def weight(value: object) -> int:
    """Bytes of memory that a key or a result takes: text, numbers, None, and tuples of them."""
    if isinstance(value, tuple):
        return getsizeof(value) + sum(map(weight, value))
    return getsizeof(value) if value is not None else 0
