"""Rate limits by key, fair shares, and the grouping of addresses. Does no I/O.

No function here waits. Memory is bounded: a full table drops the least recently used key, whose bucket is then full
again; other keys keep theirs.
"""

import ipaddress
import math

from tunnelctl.bounds import DeclaredBound
from tunnelctl.memo import Recent
from tunnelctl.wire.limits import Bucket

MAX_KEYS = 8192
"""Maximum addresses, owners, users or connections in one table of a limit: 6 MB with keys of maximum length; a relay
has a dozen tables."""
KEY_BYTES = 750
"""Bytes of memory for a key and its bucket: an address and a host of 253 characters, the bucket's four numbers, and the
table's overhead."""
ALWAYS_HAD = 32
"""Number of places that each owner or address may have while any are free, even above its fair share."""
IPV6_PREFIX = 64
"""Number of leading bits of an IPv6 address by which requests are counted: a client usually has all 2**64 addresses of
its network (RFC 6177)."""

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
    """A token bucket for each key.

    Args:
        burst, per_second: Size and refill rate of each bucket; see `Bucket`.
    """

    def __init__(self, burst: float, per_second: float, *, max_keys: int = MAX_KEYS) -> None:
        self.burst = burst
        self._per_second = per_second
        self._buckets = Recent[str, Bucket](max_keys)

    def __len__(self) -> int:
        return len(self._buckets)

    def is_empty(self, key: str, now: float) -> bool:
        """Return whether the key's bucket is empty, without taking a token."""
        bucket = self._buckets.get(key)
        return bucket is not None and bucket.is_empty(now)

    def wait(self, key: str, now: float, count: int = 1) -> int:
        """Take `count` tokens from the key's bucket and return 0; if it has fewer, return the seconds until it has
        enough.
        """
        self._buckets[key] = bucket = self._buckets.get(key) or Bucket(self.burst, self._per_second)
        return 0 if bucket.take(now, count) else bucket.seconds(count)


class RetrySchedule:
    """Assigns different retry times to refused clients, so that they do not all come back at once.

    Args:
        per_second: Clients of one share that may come back in a second.
        shortest, longest: Minimum and maximum seconds until a client may retry. If more than `per_second * longest`
            wait, more come back in a second.
    """

    def __init__(self, per_second: float, *, shortest: int, longest: int) -> None:
        self._per_second = per_second
        self._shortest = shortest
        self._longest = longest
        self._next = Recent[str, float](MAX_KEYS)

    def __len__(self) -> int:
        return len(self._next)

    def next(self, share: str, now: float) -> int:
        """Reserve the next retry time of a share and return the seconds until then."""
        at = max(self._next.get(share, 0.0) + 1 / self._per_second, now + self._shortest)
        self._next[share] = at = min(at, now + self._longest)
        return math.ceil(at - now)


def address_key(host: str) -> str:
    """Return the key under which limits count an IP address; "" for an address that is not limited.

    Loopback is not limited: it is the operator, or an undeclared proxy with all visitors behind it.
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
    """Return whether an owner who holds `held` of `most` places, of which `all_taken` are taken, may have one more.

    No owner may hold more than half of the free places: a greedy one leaves a third of all, and several together still
    leave some. Every owner may have `always` places while any are free.
    """
    return all_taken < most and (held < always or held < (most - all_taken) // 2)


def give_back(held: dict[str, int], key: str, count: int = 1) -> None:
    """Lower the count of a key, and remove the key at 0."""
    left = held[key] - count
    if left:
        held[key] = left
    else:
        del held[key]
