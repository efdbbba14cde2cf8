"""Rate limits by key and fair shares, and which addresses count as one. Pure.

Nothing here waits. Memory is bounded: a full table drops the key that was used the longest ago, whose bucket is then
full again; other keys keep theirs.
"""

import ipaddress
import math

from tunnelctl.bounds import DeclaredBound
from tunnelctl.memo import Recent
from tunnelctl.wire.limits import Bucket

MAX_KEYS = 8192
"""Addresses, owners, users or connections that one limit remembers: 6 MB with keys as long as they can be, of which a
relay has a dozen tables."""
KEY_BYTES = 750
"""Memory of one key with its bucket: an address and a host of 253 characters, the bucket's four numbers, and the
table's part."""
ALWAYS_HAD = 32
"""Places that each owner or address may have while there are any, whatever its fair share is."""
IPV6_PREFIX = 64
"""Bits of an IPv6 address that count: a peer that has one has the 2**64 addresses beside it too (RFC 6177)."""

BOUNDS = (
    DeclaredBound(
        name="keys of one rate limit, of a dozen",
        limit=MAX_KEYS,
        unit="addresses, owners, users or connections",
        per="relay",
        when_full="the one not seen for longest is forgotten, and begins anew",
        worst_bytes=MAX_KEYS * KEY_BYTES,
        holds=("Buckets._buckets", "RetrySchedule._next"),
    ),
)


class Buckets:
    """A bucket for each key.

    Args:
        burst, per_second: See `Bucket`.
    """

    def __init__(self, burst: float, per_second: float, *, max_keys: int = MAX_KEYS) -> None:
        self.burst = burst
        self._per_second = per_second
        self._buckets = Recent[str, Bucket](max_keys)

    def __len__(self) -> int:
        return len(self._buckets)

    def is_empty(self, key: str, now: float) -> bool:
        """Whether the key's bucket is empty; takes nothing."""
        bucket = self._buckets.get(key)
        return bucket is not None and bucket.is_empty(now)

    def wait(self, key: str, now: float, count: int = 1) -> int:
        """Take `count` from the key's bucket, or nothing. Returns 0, or the seconds until there are as many."""
        self._buckets[key] = bucket = self._buckets.get(key) or Bucket(self.burst, self._per_second)
        return 0 if bucket.take(now, count) else bucket.seconds(count)


class RetrySchedule:
    """Gives refused clients different times to come back, so that they do not all come at once.

    Args:
        per_second: How many of a share come in a second.
        shortest, longest: Seconds one is kept away at least and at most. With more than `per_second * longest` waiting,
            they come more often than that.
    """

    def __init__(self, per_second: float, *, shortest: int, longest: int) -> None:
        self._per_second = per_second
        self._shortest = shortest
        self._longest = longest
        self._next = Recent[str, float](MAX_KEYS)

    def __len__(self) -> int:
        return len(self._next)

    def next(self, share: str, now: float) -> int:
        """Take the next turn of a share. Returns the seconds until it."""
        at = max(self._next.get(share, 0.0) + 1 / self._per_second, now + self._shortest)
        self._next[share] = at = min(at, now + self._longest)
        return math.ceil(at - now)


def address_key(host: str) -> str:
    """The key under which limits count an address; "" for one that is not limited.

    Loopback is not limited: it is the operator, or a proxy that was not declared and has all visitors behind it.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    if address.is_loopback:
        return ""
    if address.version == 6:
        beside = 128 - IPV6_PREFIX
        return f"{ipaddress.IPv6Address(int(address) >> beside << beside)}/{IPV6_PREFIX}"
    return host


def fair_share(held: int, all_taken: int, most: int, *, always: int = ALWAYS_HAD) -> bool:
    """Whether an owner who holds `held` of `most` places, of which `all_taken` are taken, may have one more.

    No owner may hold more than half of what is still free: one that takes all it can leaves a third, and a few that do
    so together still leave room. Every owner may have `always` places while there are any.
    """
    return all_taken < most and (held < always or held < (most - all_taken) // 2)


def give_back(held: dict[str, int], key: str, count: int = 1) -> None:
    """Lower the count of a key, and drop the key at 0."""
    left = held[key] - count
    if left:
        held[key] = left
    else:
        del held[key]
