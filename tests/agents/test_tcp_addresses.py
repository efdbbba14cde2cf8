"""Which ports are chosen for an owner."""

from tests.oidc.world import TUN_EXAMPLE
from tests.support.tunnels import fake_tunnel
from tunnelrelay.agents.tcp_addresses import MAX_LOOKED_AT, TcpAddresses, preferred, tcp_hosts
from tunnelrelay.agents.tunnel_offers import OfferRefused
from tunnelrelay.config.values import PortRange
from tunnelrelay.model import Token
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.registry import Registry

RANGES = (PortRange(None, 20_000, 20_499), PortRange(None, 20_400, 20_599))
HOSTS = tcp_hosts(TUN_EXAMPLE, RANGES)


def addresses() -> TcpAddresses:
    registry = Registry(clock=lambda: 0.0, monotonic=lambda: 0.0)
    return TcpAddresses(address=TUN_EXAMPLE, registry=registry, ranges=RANGES, open=lambda host: True)


def token(*acl: str) -> Token:
    return Token(id="tok_1", owner="ann", created_at=0.0, acl=acl)


def test_every_owner_tries_each_port_once_and_begins_elsewhere() -> None:
    orders = [list(preferred(owner, HOSTS)) for owner in ("ann", "bob", "team")]

    assert all(sorted(order) == sorted(set(HOSTS)) for order in orders)
    assert len({order[0] for order in orders}) == 3
    assert list(preferred("ann", HOSTS)) == orders[0]
    assert list(preferred("ann", ())) == []


def test_so_many_free_ports_are_tried_and_those_that_a_token_may_bind_only() -> None:
    ports = addresses()
    first, second = list(preferred("ann", HOSTS))[:2]
    ports.registry.claim(fake_tunnel("bob"), first, Policy())

    free = ports.choose("tcp://", token())
    allowed = ports.choose("tcp://", token(f"bind:*:{HOSTS[-1].rpartition(':')[2]}"))
    none = ports.choose("tcp://", token("bind:demo"))

    assert not isinstance(free, OfferRefused)
    assert (len(free), free[0]) == (MAX_LOOKED_AT, second)
    assert allowed == [HOSTS[-1]]
    assert isinstance(none, OfferRefused)
