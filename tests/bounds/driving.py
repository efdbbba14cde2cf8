"""What drivers of bounds are made of: the table they enter themselves into, and how memory is measured."""

import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.bounds.found import declared
from tunnelctl.bounds import DeclaredBound
from tunnelrelay.policy.limits import Buckets

Driver = Callable[[DeclaredBound, pytest.MonkeyPatch], Awaitable[None] | None]

DRIVERS: dict[str, Driver] = {}
"""By the bound's name."""

HOST = "h" * 59 + ".example." + ".".join(["d" * 46] * 4)
"""As long as a host can be: 253 characters with the number in front that `hosts` gives it."""
ADDRESS = "2001:db8:ffff:ffff::/64"
OWNER = "o" * 64


def drives(name: str) -> Callable[[Driver], Driver]:
    """Enters a driver for the bound of this name."""

    def enter(driver: Driver) -> Driver:
        assert name not in DRIVERS, name
        DRIVERS[name] = driver
        return driver

    return enter


class Memory:
    """Bytes that were allocated since the measurement began and are still held."""

    def __init__(self) -> None:
        self.before = tracemalloc.get_traced_memory()[0]

    @property
    def most(self) -> int:
        """The most that was held at any time."""
        return tracemalloc.get_traced_memory()[1] - self.before

    @property
    def taken(self) -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - self.before


@contextmanager
def measured() -> Iterator[Memory]:
    """Measures what is allocated in the body. What an entry shares with others must be made before."""
    gc.collect()
    tracemalloc.start()
    try:
        yield Memory()
    finally:
        tracemalloc.stop()


def host(number: int) -> str:
    """A host as long as one can be."""
    return f"{number:06d}{HOST}"[:253]


def owner(number: int) -> str:
    """An owner whose name is as long as one can be."""
    return f"{number:06d}{OWNER}"[:64]


def address(number: int) -> str:
    """An address of a network of its own, as long as it can be written."""
    return f"2001:db8:{0x1000 + (number >> 12):x}:{0x1000 + (number & 0xFFF):x}:1111:2222:3333:4444"


def drive_bucket(ask: Callable[[], object], burst: int) -> None:
    """Asks twice as often as one may at once: the first `burst` times something is had, then nothing.

    Args:
        ask: What is true, or a number of seconds, when it is refused.
    """
    refused = [bool(ask()) for _ in range(2 * burst)]
    assert refused == [False] * burst + [True] * burst


def bound_of(name: str) -> DeclaredBound:
    """The bound of this name, for the driver of another one."""
    return declared()[name][1]


def tables(of: object, bound: DeclaredBound) -> list[Any]:
    """What an object keeps of what the bound limits, in the order of its `holds`: these name private attributes."""
    classes = {each.__name__ for each in type(of).__mro__}
    named = [where.split(".") for where in bound.holds]
    return [getattr(of, attribute) for name, attribute in named if name in classes]


def table(of: object, bound: DeclaredBound) -> Any:
    """The one table of these."""
    (found,) = tables(of, bound)
    return found


def same_table(of: object, bound: DeclaredBound) -> None:
    """The object's table is bounded like the one that `drive_keys` fills, and its budget is the declared one."""
    buckets = table(of, bound)
    assert isinstance(buckets, Buckets)
    assert buckets.burst == bound.limit
