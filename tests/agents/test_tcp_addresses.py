"""Which ports are chosen for an owner."""

from tests.oidc.world import TUN_EXAMPLE
from tests.support.tunnels import fake_tunnel
from tunnelrelay.agents.tcp_addresses import MAX_LOOKED_AT, TcpAddresses, preferred, tcp_hosts
from tunnelrelay.agents.tunnel_offers import OfferRefused
from tunnelrelay.config.values import PortRange
from tunnelrelay.model import Token
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.endpoint import Endpoint
from tunnelrelay.registry.registry import AWAITED_SECONDS, Registry
from tunnelrelay.registry.tunnel import Tunnel

RANGES = (PortRange(None, 20_000, 20_499), PortRange(None, 20_400, 20_599))
HOSTS = tcp_hosts(TUN_EXAMPLE, RANGES)


def addresses() -> TcpAddresses:
    registry = Registry(clock=lambda: 0.0, monotonic=lambda: 0.0)
    return TcpAddresses(address=TUN_EXAMPLE, registry=registry, ranges=RANGES, open=lambda host: True)


class CountingRegistry(Registry):
    """Counts how often it is asked for a name."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: 0.0, monotonic=lambda: 0.0)
        self.asked = 0

    def find(self, host: str) -> Endpoint | None:
        self.asked += 1
        return super().find(host)

    def owner_of(self, host: str) -> str:
        self.asked += 1
        return super().owner_of(host)


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


def test_no_bind_walks_the_whole_range_while_ports_are_free() -> None:
    registry = CountingRegistry()
    ports = TcpAddresses(address=TUN_EXAMPLE, registry=registry, ranges=RANGES, open=lambda host: True)

    assert not isinstance(ports.choose("tcp://:20007", token()), OfferRefused)
    assert registry.asked <= 1
    assert not isinstance(ports.choose("tcp://", token()), OfferRefused)
    assert registry.asked <= 3 * MAX_LOOKED_AT


def test_ports_count_for_their_owner_until_they_are_given_up() -> None:
    ports = addresses()
    held = [ports.registry.claim(fake_tunnel("bob"), host, Policy()) for host in HOSTS[:20]]
    ports.registry.expect(HOSTS[20], "ann")

    assert (ports.registry.ports_of("bob"), ports.registry.ports_of("ann"), ports.registry.port_count) == (20, 1, 21)
    for host, tunnel in zip(HOSTS[:20], held, strict=True):
        assert isinstance(tunnel, Tunnel)
        ports.registry.release(host, tunnel.claim, on_purpose=True)
    assert (ports.registry.ports_of("bob"), ports.registry.port_count) == (0, 1)


def test_ports_of_before_a_restart_that_are_none_of_the_relays_any_more_keep_none_from_others() -> None:
    ports = addresses()
    for port in range(30_000, 30_000 + len(HOSTS)):
        ports.registry.expect(TUN_EXAMPLE.tcp_host(port), "bob")

    assert ports.choose("tcp://:20007", token()) == (TUN_EXAMPLE.tcp_host(20_007),)


def test_a_port_whose_agent_is_likely_to_come_back_is_given_to_no_other_agent_while_there_are_others() -> None:
    now = [0.0]
    registry = Registry(clock=lambda: 0.0, monotonic=lambda: now[0])
    ports = TcpAddresses(address=TUN_EXAMPLE, registry=registry, ranges=RANGES, open=lambda host: True)
    lost, other = list(preferred("ann", HOSTS))[:2]
    tunnel = registry.claim(fake_tunnel("ann"), lost, Policy())
    assert isinstance(tunnel, Tunnel)
    registry.release(lost, tunnel.claim, on_purpose=False)

    at_once = ports.choose("tcp://", token())
    now[0] = AWAITED_SECONDS
    later = ports.choose("tcp://", token())

    assert not isinstance(at_once, OfferRefused)
    assert at_once[0] == other
    assert not isinstance(later, OfferRefused)
    assert later[0] == lost


def test_ports_whose_agents_are_likely_to_come_back_are_tried_last() -> None:
    registry = Registry(clock=lambda: 0.0, monotonic=lambda: 0.0)
    few = (PortRange(None, 20_000, 20_003),)
    ports = TcpAddresses(address=TUN_EXAMPLE, registry=registry, ranges=few, open=lambda host: True)
    hosts = list(preferred("ann", tcp_hosts(TUN_EXAMPLE, few)))
    for host in hosts[:2]:
        registry.expect(host, "ann")

    assert ports.choose("tcp://", token()) == [*hosts[2:], *hosts[:2]]


def test_the_only_port_is_given_to_its_owners_next_agent_although_the_last_one_may_come_back() -> None:
    registry = Registry(clock=lambda: 0.0, monotonic=lambda: 0.0)
    one = (PortRange(None, 20_000, 20_000),)
    ports = TcpAddresses(address=TUN_EXAMPLE, registry=registry, ranges=one, open=lambda host: True)
    (host,) = tcp_hosts(TUN_EXAMPLE, one)
    registry.expect(host, "ann")

    assert ports.choose("tcp://", token()) == [host]
