"""Returns freed memory to the system after many visitors have left.

The C library keeps freed memory between blocks in use, some 3 KB for each closed connection. Without this module the
process would stay as large as it was with the most connections.
"""

import ctypes
import sys
from collections.abc import Callable
from typing import Any

MANY = 1000
"""The peak number of connections below which no memory is returned, as it would be little."""
REST_SECONDS = 1.0
"""Seconds between the departure of half of the visitors and the return of memory, as visitors mostly leave together."""


class FreedMemory:
    """Calls `malloc_trim` after half of the visitors have left.

    Args:
        call_later: `call_later` of the event loop.
        give_back: Returns freed memory to the system, in less than a millisecond; `malloc_trim` by default.
    """

    def __init__(
        self, call_later: Callable[[float, Callable[[], Any]], Any], give_back: Callable[[], Any] | None = None
    ) -> None:
        self._call_later = call_later
        self._give_back = give_back or _trim()
        self._most = 0

    def came(self, connections: int) -> None:
        """Note that a visitor has connected.

        Args:
            connections: Visitors' connections that are open now.
        """
        if connections > self._most:
            self._most = connections

    def left(self, connections: int) -> None:
        """Note that a visitor has left. When half of the peak number are left, memory is returned after `REST_SECONDS`.

        Args:
            connections: Visitors' connections that are open now.
        """
        if self._most >= MANY and connections * 2 <= self._most:
            self._most = connections
            self._call_later(REST_SECONDS, self._give_back)


def _trim() -> Callable[[], Any]:
    """Return a function that calls glibc's malloc_trim(3); with another C library the function does nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return (lambda: trim(0)) if trim is not None else (lambda: None)
