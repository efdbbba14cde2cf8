"""Caches of visitors' addresses and of hosts in the forms that requests need, so that they are computed only once."""

import ipaddress
from collections.abc import Callable
from typing import NamedTuple

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelctl.http1.head import RequestHead
from tunnelctl.memo import MAX_BYTES, MAX_ENTRIES, Memo
from tunnelrelay.address import PublicAddress
from tunnelrelay.ingress.proxies import Route, read_route
from tunnelrelay.model import Peer
from tunnelrelay.policy.limits import Buckets, address_key

log = EventLog("tunnelrelay.ingress")

MAX_NAME = 300
"""Bytes of the longest host, and of the longest address, whose entry is cached."""
UNREADABLE_SECONDS, MAX_PROXIES = 600.0, 64
"""Seconds between two log records that a trusted proxy's forwarding field cannot be read, and the number of proxies for
which this is counted. With more proxies, the least recently used are logged again. 64 entries take 20 KB."""

BOUNDS = (
    DeclaredBound(
        name="hosts in bytes, and addresses as limits count them",
        limit=MAX_ENTRIES,
        unit="entries",
        per="relay",
        when_full="all are forgotten, and worked out again",
        worst_bytes=2 * MAX_BYTES,
        holds=("KnownVisitors._addresses",),
    ),
    DeclaredBound(
        name="proxies whose unreadable words on visitors were logged lately",
        limit=MAX_PROXIES,
        unit="entries",
        per="relay",
        when_full="the one not heard for longest is forgotten, and may be logged again",
        worst_bytes=20_000,
        holds=("KnownVisitors._unreadable",),
    ),
)

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class HostName(NamedTuple):
    """The host of an endpoint as bytes, as header rewriting needs it.

    Attributes:
        name: The host.
        origin: The host's origin, as browsers send it in `Origin`.
    """

    name: bytes
    origin: bytes


KnownHosts = Memo[str, HostName]
"""A cache of hosts with their `HostName`."""


def known_hosts(address: PublicAddress) -> KnownHosts:
    """Return an empty cache of hosts with their name and origin as bytes, for a relay with this public address."""
    return Memo(lambda host: HostName(host.encode(), address.url(host).encode()), max_bytes=MAX_NAME)


class KnownVisitors:
    """Finds the visitor behind trusted proxies, and the key under which limits count an address.

    Args:
        trusted: Networks of the trusted proxies.
        now: Returns loop time.

    Attributes:
        has_proxies: Whether there are trusted proxies, so that one connection may carry requests of several visitors.
    """

    def __init__(self, trusted: tuple[IPNetwork, ...], now: Callable[[], float]) -> None:
        self.has_proxies = bool(trusted)
        self._trusted = trusted
        self._now = now
        self._addresses = Memo[str, str](
            lambda host: "" if self._trusts(host) else address_key(host), max_bytes=MAX_NAME
        )
        self._unreadable = Buckets(1, 1 / UNREADABLE_SECONDS, max_keys=MAX_PROXIES)

    def __len__(self) -> int:
        return len(self._addresses)

    def address_of(self, peer: Peer) -> str:
        """Return the key under which limits count a peer; "" for this machine and trusted proxies, which have none."""
        return self._addresses[peer.host]

    def behind_proxies(self, peer: Peer, head: RequestHead) -> tuple[Peer, bool]:
        """Return the visitor of a request that `peer` has sent, and whether a trusted proxy reports TLS.

        The visitor is `peer` itself when it is no trusted proxy, or when its forwarding field cannot be read.
        """
        if not self._trusts(peer.host):
            return peer, False
        route = read_route(head)
        found = route.visitor(self._trusts)
        if found is None:
            return peer, route.is_secure
        if not found:
            self._note_unreadable(peer, route)
            return peer, route.is_secure
        return Peer(found, 0), route.is_secure

    def _note_unreadable(self, peer: Peer, route: Route) -> None:
        if not self._unreadable.wait(peer.host, self._now()):
            log.warning(
                "trusted proxy names no visitor address, its own is used",
                proxy=peer.host,
                field=route.field,
                value=route.shown,
                hint="let it set X-Forwarded-For to the visitor's address",
            )

    def _trusts(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._trusted)
