"""How often one visitor may ask an endpoint: the owner's rule, and the counts of all visitors by it. Pure.

A count is one number, as in the generic cell rate algorithm (GCRA, ITU-T I.371): the time at which the visitor has the
whole burst again. A request moves it on by one interval, and is refused where that would be more than a burst ahead.
Times are whole nanoseconds, so that a visitor who waits as long as they were told is let in: sums of floats may be a
little short.
"""

import hashlib
from dataclasses import dataclass

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.model import Identity
from tunnelrelay.policy.fair_cache import ENTRY_BYTES, FairCache

SECOND = 1_000_000_000
"""Nanoseconds."""
MAX_VISITORS = 8_192
"""Visitors that are remembered of one endpoint. One who is forgotten has their whole burst again, so an attacker gains
nothing: with so many addresses they have as many bursts. To find the network with the most costs 0.5 ms where each of
the 8,192 has a network of its own, 0.04 ms where they are of 500."""
VISITOR_BYTES = 600 + ENTRY_BYTES
"""Memory of a visitor: key and number, and the share of a network that has no other visitor."""
ENDPOINT_BYTES = 2_000 + ENTRY_BYTES
"""Memory of an endpoint without visitors."""
MAX_BYTES = 64 * 1024 * 1024
"""Of all endpoints: eight full ones, or 28,000 with one visitor each."""

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
    """An endpoint's rule.

    Attributes:
        interval: Nanoseconds in which a visitor earns one more request.
        burst: Requests that may come at once after a rest.
        is_by_visitor: Those who are signed in, or show a token, are counted by who they are; else all by address.
    """

    interval: int
    burst: int
    is_by_visitor: bool


@dataclass(frozen=True, slots=True)
class Counted:
    """Whom a request counts for.

    Attributes:
        key: The same for all requests of one visitor.
        share: The network or issuer they are of. Of a full table it loses as many visitors as it brings new ones, so
            that one hostile network does not make the relay forget the others.
    """

    key: str
    share: str


def counted_by_address(address: str) -> Counted:
    """The visitor at an address, or in a network that counts as one, as in `limits.address_key`.

    The share is the /32 of IPv6, which is what a network operator gets and a customer has a part of; the /16 of IPv4.
    """
    separator = ":" if ":" in address else "."
    return Counted(address, separator.join(address.split(separator, 2)[:2]))


def counted_by_identity(identity: Identity) -> Counted:
    """The person or program with this identity. Subjects may be long: the key is a digest."""
    text = f"{identity.issuer}\n{identity.subject}"
    return Counted(hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), identity.issuer)


class RateLimits:
    """The visitors of all endpoints with such a rule."""

    __slots__ = ("endpoints",)

    def __init__(self) -> None:
        self.endpoints = FairCache[tuple[str, str], FairCache[str, int]](
            max_count=MAX_BYTES // ENDPOINT_BYTES, max_bytes=MAX_BYTES
        )

    def wait(self, owner: str, host: str, limit: RateLimit, counted: Counted, now: float) -> int:
        """Count a request. Returns 0 when it may pass, else in how many seconds one may; then it is not counted.

        Args:
            owner: Whose endpoint `host` is.
            now: Seconds, on a clock that is not set.
        """
        visitors = self.visitors_of(owner, host)
        at, full_at = round(now * SECOND), visitors.get(counted.key)
        # More than the whole burst may be missing after a change of the rule: of that only the new burst stays.
        missing = 0 if full_at is None else min(max(0, full_at - at), limit.interval * limit.burst)
        wait = missing - limit.interval * (limit.burst - 1)
        full_at = at + missing + (0 if wait > 0 else limit.interval)
        visitors.put(counted.key, full_at, owner=counted.share, weight=VISITOR_BYTES)
        self.endpoints.weigh((owner, host), ENDPOINT_BYTES + visitors.total)
        return max(0, -(-wait // SECOND))

    def visitors_of(self, owner: str, host: str) -> FairCache[str, int]:
        """Who has asked at an endpoint, and until when each has asked too much; made when there is none."""
        key = (owner, host)
        visitors = self.endpoints.get(key)
        if visitors is None:
            visitors = FairCache(max_count=MAX_VISITORS, max_bytes=MAX_VISITORS * VISITOR_BYTES)
            self.endpoints.put(key, visitors, owner=owner, weight=ENDPOINT_BYTES)
        else:
            self.endpoints.touch(key)
        return visitors
