"""What was worked out of a few bytes, remembered: visitors send the same few lines again and again."""

from collections.abc import Callable
from typing import TypeVar

MAX_ENTRIES = 4_096
"""Then all are forgotten. Visitors can invent as many as they like; the honest ones are learnt again at once."""

T = TypeVar("T")


class Memo(dict[bytes, T]):
    """A pure function's results by its argument: look up with `memo[key]`, which works out what is not known.

    Args:
        learn: The function. It must depend on nothing but its argument.
        max_bytes: Longer keys are worked out each time, so that a full memo stays small.
    """

    __slots__ = ("_learn", "_max_bytes")

    def __init__(self, learn: Callable[[bytes], T], *, max_bytes: int) -> None:
        super().__init__()
        self._learn = learn
        self._max_bytes = max_bytes

    def __missing__(self, key: bytes) -> T:
        found = self._learn(key)
        if len(key) <= self._max_bytes:
            if len(self) >= MAX_ENTRIES:
                self.clear()
            self[key] = found
        return found
