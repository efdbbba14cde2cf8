"""An endpoint's rate limit for each visitor, and the counters of all visitors. Does no I/O.

A counter is one number, as in the generic cell rate algorithm (GCRA, ITU-T I.371): the time at which the visitor has
the whole burst again. A request moves it forward by one interval, and is refused if it would then be more than a burst
ahead. Times are whole nanoseconds, as sums of floats may be slightly short and would refuse a visitor who waited as
long as told.
"""

import hashlib
from dataclasses import dataclass

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.model import Identity
from tunnelrelay.policy.fair_cache import ENTRY_BYTES, FairCache

SECOND = 1_000_000_000
"""Nanoseconds in a second."""
MAX_VISITORS = 8_192
"""Maximum visitors of one endpoint that are counted. A visitor who is dropped has the whole burst again; an attacker
does not gain by this, as it needs as many addresses, each with a burst of its own."""
VISITOR_BYTES = 600 + ENTRY_BYTES
"""Bytes of memory for one visitor: key, number, and the share of a network with a single visitor."""
ENDPOINT_BYTES = 2_000 + ENTRY_BYTES
"""Bytes of memory for an endpoint without visitors."""
MAX_BYTES = 64 * 1024 * 1024
"""Maximum bytes of all endpoints: eight full ones, or 28,000 with one visitor each."""

BOUNDS = (
    DeclaredBound(
        name="visitors whom an endpoint's rate limit counts",
        limit=MAX_VISITORS,
        unit="visitors",
        per="endpoint",
        when_full="of the network, or the issuer, with the most, the one not seen for longest begins anew",
        worst_bytes=MAX_VISITORS * VISITOR_BYTES + ENDPOINT_BYTES,
    ),
    DeclaredBound(
        name="visitors whom the rate limits of all endpoints count",
        limit=MAX_BYTES,
        unit="bytes",
        per="relay",
        when_full="of the owner with the most, the endpoint not asked for longest begins anew",
        worst_bytes=MAX_BYTES,
        holds=("RateLimits.endpoints",),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """The rate limit of an endpoint.

    Attributes:
        interval: Nanoseconds in which a visitor may send one more request.
        burst: Requests that may come at once after a pause.
        is_by_visitor: Count signed-in visitors and holders of tokens by identity, others by address; else count all by
            address.
    """

    interval: int
    burst: int
    is_by_visitor: bool


@dataclass(frozen=True, slots=True)
class Counted:
    """The visitor that a request is counted for.

    Attributes:
        key: Key of the visitor, equal for all of the visitor's requests.
        share: The visitor's network or issuer. When the table is full, a network loses as many old visitors as it adds
            new ones, so that a hostile network does not push out the others.
    """

    key: str
    share: str


def counted_by_address(address: str) -> Counted:
    """Return the counter key for an address, or for a network that counts as one address (see `limits.address_key`).

    The share is the /32 for IPv6, the size that network operators get and customers have a part of, and the /16 for
    IPv4.
    """
    separator = ":" if ":" in address else "."
    return Counted(address, separator.join(address.split(separator, 2)[:2]))


def counted_by_identity(identity: Identity) -> Counted:
    """Return the counter key for a person or program. It is a digest, as subjects may be long."""
    text = f"{identity.issuer}\n{identity.subject}"
    return Counted(hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), identity.issuer)


class RateLimits:
    """The rate limit counters of all endpoints and their visitors."""

    __slots__ = ("endpoints",)

    def __init__(self) -> None:
        self.endpoints = FairCache[tuple[str, str], FairCache[str, int]](
            max_count=MAX_BYTES // ENDPOINT_BYTES, max_bytes=MAX_BYTES
        )

    def wait(self, owner: str, host: str, limit: RateLimit, counted: Counted, now: float) -> int:
        """Count a request and return 0, or, when it exceeds the limit, return the seconds to wait without counting it.

        Args:
            owner: Owner of the endpoint at `host`.
            now: Seconds of a monotonic clock.
        """
        visitors = self.visitors_of(owner, host)
        at, full_at = round(now * SECOND), visitors.get(counted.key)
        # After a change of the rule more than the new burst may be missing: limit it to the new burst.
        missing = 0 if full_at is None else min(max(0, full_at - at), limit.interval * limit.burst)
        wait = missing - limit.interval * (limit.burst - 1)
        full_at = at + missing + (0 if wait > 0 else limit.interval)
        visitors.put(counted.key, full_at, owner=counted.share, weight=VISITOR_BYTES)
        self.endpoints.weigh((owner, host), ENDPOINT_BYTES + visitors.total)
        return max(0, -(-wait // SECOND))

    def visitors_of(self, owner: str, host: str) -> FairCache[str, int]:
        """Return the visitors of an endpoint, with the time at which each has the whole burst again; created when
        missing.
        """
        key = (owner, host)
        visitors = self.endpoints.get(key)
        if visitors is None:
            visitors = FairCache(max_count=MAX_VISITORS, max_bytes=MAX_VISITORS * VISITOR_BYTES)
            self.endpoints.put(key, visitors, owner=owner, weight=ENDPOINT_BYTES)
        else:
            self.endpoints.touch(key)
        return visitors
