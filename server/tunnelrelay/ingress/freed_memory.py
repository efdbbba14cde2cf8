"""Returns memory to the system after many visitors have left.

The C library keeps freed memory that lies between memory in use, some 3 KB for each closed connection. Without this a
relay that once had thousands of connections would stay that large.
"""

import ctypes
import sys
from collections.abc import Callable
from typing import Any

MANY = 1000
"""Connections from which on it is worth a look."""
REST_SECONDS = 1.0
"""How long after half of them have left the memory is given back: they mostly leave together."""


class FreedMemory:
    """Calls `malloc_trim` after half of the visitors have left.

    Args:
        call_later: The loop's.
        give_back: Does it; takes less than a millisecond.
    """

    def __init__(
        self, call_later: Callable[[float, Callable[[], Any]], Any], give_back: Callable[[], Any] | None = None
    ) -> None:
        self._call_later = call_later
        self._give_back = give_back or _trim()
        self._most = 0

    def came(self, connections: int) -> None:
        """Count a new visitor.

        Args:
            connections: How many there are now.
        """
        if connections > self._most:
            self._most = connections

    def left(self, connections: int) -> None:
        """Count a visitor that left. Once half of the most there were have left, memory is returned soon."""
        if self._most >= MANY and connections * 2 <= self._most:
            self._most = connections
            self._call_later(REST_SECONDS, self._give_back)


def _trim() -> Callable[[], Any]:
    """`malloc_trim` of glibc (malloc_trim(3)); other C libraries have none, and nothing is done."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return (lambda: trim(0)) if trim is not None else (lambda: None)
