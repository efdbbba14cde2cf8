"""Gives memory back to the system after many visitors have left.

The C library keeps freed memory that lies between memory in use, some 3 KB of each connection that is closed. A relay
that once had thousands of them would stay as large as it was then.
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
    """See the module.

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
        """A visitor has come.

        Args:
            connections: How many there are now.
        """
        if connections > self._most:
            self._most = connections

    def left(self, connections: int) -> None:
        """A visitor has left; when the last one of half of them does, memory is given back soon."""
        if self._most >= MANY and connections * 2 <= self._most:
            self._most = connections
            self._call_later(REST_SECONDS, self._give_back)


def _trim() -> Callable[[], Any]:
    """`malloc_trim` of glibc (malloc_trim(3)); other C libraries have none, and nothing is done."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return (lambda: trim(0)) if trim is not None else (lambda: None)
