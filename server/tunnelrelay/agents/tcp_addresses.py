"""Chooses TCP ports out of the relay's range for agents' binds. `ingress/tcp.py` opens the ports."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from weakref import WeakValueDictionary

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.address import TCP, PublicAddress
from tunnelrelay.agents.token_acl import port_rule
from tunnelrelay.agents.tunnel_offers import OfferRefused, not_allowed
from tunnelrelay.config.values import PortRange
from tunnelrelay.model import Token
from tunnelrelay.policy.limits import fair_share
from tunnelrelay.registry.registry import Registry

ALWAYS = 16
"""Ports that every owner may have as long as any are free. Beyond these an owner may hold at most half as many as are
free."""
MAX_LOOKED_AT = 4 * ALWAYS
"""Ports that are tried for one bind, as one may cost the store a transaction. It is more than the ports that one owner
can keep from others by releasing them (`ALWAYS`)."""

BOUNDS = (
    DeclaredBound(
        name="tcp ports held, for certain",
        limit=ALWAYS,
        unit="ports",
        per="owner",
        when_full="the bind is refused when fewer than half of the relay's ports are free then",
        worst_bytes=0,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddresses:
    """Chooses which of the relay's TCP ports an agent's bind may claim.

    Attributes:
        ranges: The ports of `--tcp-ports`; empty when the operator gives none.
        open: Listens at the port of a host; False when another program has the port.
    """

    address: PublicAddress
    registry: Registry
    ranges: tuple[PortRange, ...]
    open: Callable[[str], bool]
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def turn(self, owner: str) -> asyncio.Lock:
        """Return the lock under which an owner's binds claim ports in the store, one after the other. Concurrent binds
        could choose the same port, or exceed the owner's limit."""
        return self._turns.setdefault(owner, asyncio.Lock())

    def choose(self, wish: str, token: Token) -> Sequence[str] | OfferRefused:
        """Return the hosts to try for a bind, in order: the one that it asks for, or several free ones.

        Args:
            wish: `tcp://` for any port; `tcp://:PORT` or `tcp://DOMAIN:PORT` for a certain one.
        """
        if not self.ranges:
            hint = "the relay's operator starts it with --tcp-ports, for example --tcp-ports 20000-20100"
            return OfferRefused("name_invalid", "this relay has no ports for tcp tunnels", hint)
        port = self._asked(wish)
        if isinstance(port, OfferRefused):
            return port
        if port is not None:
            host = self.address.tcp_host(port)
            refused = not_allowed(token, host, self.address) or self._over_share(token.owner, host)
            return refused or (host,)
        over = self._over_share(token.owner)
        free = self._free(token, only_own=over is not None)
        if isinstance(free, OfferRefused):
            return over or free
        return sorted(
            free, key=lambda each: (self.registry.is_awaited(each), self.registry.owner_of(each) != token.owner)
        )

    def _asked(self, wish: str) -> int | OfferRefused | None:
        """Return the port that a bind asks for; None when it leaves the port to the relay."""
        host, colon, text = wish.removeprefix(TCP).rpartition(":")
        if not host and not colon and not text:
            return None
        ranges = ", ".join(map(str, self.ranges))
        hint = f"ask for one of {ranges}, or leave --remote-addr out"
        if host.lower() not in ("", self.address.domain) or not text.isascii() or not text.isdigit():
            return OfferRefused("name_invalid", f"{wish[:120]} is no port of {self.address.domain}", hint)
        port = int(text[:6])
        if not any(port in each.ports for each in self.ranges):
            return OfferRefused("name_invalid", f"{port} is not one of this relay's tcp ports", hint)
        return port

    def _hosts(self) -> tuple[str, ...]:
        return tcp_hosts(self.address, self.ranges)

    def _over_share(self, owner: str, host: str = "") -> OfferRefused | None:
        """Return the refusal for an owner who has too many ports to get another; None when the owner can have `host`.

        An owner can always have a port that it holds already.
        """
        mine, most = self.registry.ports_of(owner), len(self._hosts())
        if host and self.registry.owner_of(host) == owner:
            return None
        # The count may include ports of former ranges, hence `most - 1`: the search decides whether a port is free.
        if fair_share(mine, min(self.registry.port_count, most - 1), most, always=ALWAYS):
            return None
        return OfferRefused("too_many", f"this owner holds {mine} tcp ports", "stop a tunnel that is needed no more")

    def _free(self, token: Token, *, only_own: bool) -> Sequence[str] | OfferRefused:
        """Return hosts that the token's ACL allows and whose ports are free, or were this owner's until their link was
        lost.

        Ports whose agent is likely to come back are for the case that no other can be had: that agent asks for the same
        port, and would end the tunnel that was given it meanwhile.

        Args:
            only_own: Return only ports that are this owner's already.
        """
        rule = port_rule(token.acl, self.address.domain)
        first, found, awaited = "", list[str](), list[str]()
        for host in preferred(token.owner, self._hosts()):
            if not self._is_free(host, token.owner, only_own=only_own):
                continue
            first = first or host
            if rule.fullmatch(host.rpartition(":")[2]):
                (awaited if self.registry.is_awaited(host) else found).append(host)
                if len(found) == MAX_LOOKED_AT:
                    break
        if not first:
            return OfferRefused("too_many", "all tcp ports of this relay are taken", "try again later")
        return (found + awaited)[:MAX_LOOKED_AT] or not_allowed(token, first, self.address) or ()

    def _is_free(self, host: str, owner: str, *, only_own: bool) -> bool:
        endpoint = self.registry.find(host)
        return not only_own if endpoint is None else endpoint.owner == owner and not endpoint.tunnels


@lru_cache(maxsize=1)
def tcp_hosts(address: PublicAddress, ranges: tuple[PortRange, ...]) -> tuple[str, ...]:
    """Return the host `tcp://DOMAIN:PORT` of every port in these ranges, each once."""
    ports = dict.fromkeys(port for each in ranges for port in each.ports)
    return tuple(map(address.tcp_host, ports))


def preferred(owner: str, hosts: Sequence[str]) -> Iterator[str]:
    """Return all hosts in the order in which this owner's binds try them, beginning at a hash of the owner's name.

    The order is the same at every call, so that an owner mostly gets the port it had before. It differs between owners,
    so that one owner cannot block the ports that all others try first.
    """
    start = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8]) % max(1, len(hosts))
    return chain(islice(hosts, start, None), islice(hosts, start))
