"""Which of several tunnels gets the next request."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.support.tunnels import FakeLink, fake_tunnel
from tunnelrelay.registry.balance import choose, in_service, stuck_to
from tunnelrelay.registry.endpoint import Endpoint
from tunnelrelay.registry.tunnel import Health, Tunnel

AWAY = Health(False, "upstream_unreachable", 1.0)


def shares(tunnels: list[Tunnel], count: int, *, held: bool = False) -> list[int]:
    """How many of so many requests each tunnel gets, one after the other or all open at once."""
    got: Counter[Tunnel] = Counter()
    for _ in range(count):
        tunnel = choose(tunnels)
        assert tunnel is not None
        got[tunnel] += 1
        tunnel.open += held
    return [got[tunnel] for tunnel in tunnels]


def test_equals_take_turns():
    assert shares([fake_tunnel() for _ in range(3)], 9) == [3, 3, 3]


def test_weights_hold_for_requests_one_after_the_other_and_for_many_at_once():
    weights = (3, 1)

    assert shares([fake_tunnel(weight=weight) for weight in weights], 40) == [30, 10]
    assert shares([fake_tunnel(weight=weight) for weight in weights], 40, held=True) == [30, 10]


def test_turns_of_different_weight_are_mixed_evenly():
    heavy, light = fake_tunnel(weight=3), fake_tunnel(weight=1)

    assert [choose([heavy, light]) for _ in range(4)] == [heavy, heavy, light, heavy]


def test_the_tunnel_with_fewer_open_requests_comes_first_whatever_its_link_carries_besides():
    busy, idle = fake_tunnel(open=3), fake_tunnel(open=2, link=FakeLink(streams=500))

    assert choose([busy, idle]) is idle


def test_an_unhealthy_tunnel_gets_nothing_while_another_is_well_and_its_share_when_none_is():
    sick, well = fake_tunnel(health=AWAY), fake_tunnel(open=50)
    assert choose([sick, well]) is well

    well.health = AWAY
    assert choose([sick, well]) is sick


def test_a_draining_tunnel_gets_nothing_even_when_it_is_the_last():
    leaving, staying = fake_tunnel(is_draining=True), fake_tunnel(open=9)

    assert choose([leaving, staying]) is staying
    assert choose([leaving]) is None


def test_a_tunnel_that_failed_this_request_is_not_asked_again():
    first, second = fake_tunnel(), fake_tunnel(health=AWAY)

    assert choose([first, second], (first,)) is second
    assert choose([first, second], (first, second)) is None


def test_a_full_link_is_passed_over():
    full, free = fake_tunnel(link=FakeLink(can_open=False)), fake_tunnel(open=9)

    assert choose([full, free]) is free


def test_a_cookie_leads_to_its_tunnel_until_that_is_sick_draining_full_or_tried():
    mine, other = fake_tunnel(mark=b"m", open=9), fake_tunnel(mark=b"o")
    assert stuck_to([mine, other], b"m") is mine
    assert stuck_to([mine, other], b"forged") is None
    assert stuck_to([mine, other], b"m", (mine,)) is None

    mine.health = AWAY
    assert stuck_to([mine, other], b"m") is None
    mine.health, mine.is_draining = Health(True), True
    assert stuck_to([mine, other], b"m") is None


def test_the_only_tunnel_is_known_without_choosing_unless_a_cookie_must_be_read():
    endpoint = Endpoint("demo.localhost", "ann", 1)
    one, two = fake_tunnel(), fake_tunnel()
    endpoint.serve_by([one])
    assert endpoint.only is one

    endpoint.serve_by([one, two])
    assert endpoint.only is None
    two.is_draining = True
    endpoint.serve_by(endpoint.tunnels)
    assert endpoint.only is one
    endpoint.is_sticky = True
    endpoint.serve_by(endpoint.tunnels)
    assert (endpoint.only, endpoint.pick()) == (None, one)


def test_an_agents_own_probe_finds_its_tunnel_by_a_digest_of_the_instance():
    mine, other = fake_tunnel(agent="a1"), fake_tunnel(agent="a2", open=0)
    endpoint = Endpoint("demo.localhost", "ann", 1)
    endpoint.serve_by([mine, other])

    assert endpoint.named(mine.proof) is mine
    assert endpoint.named(b"a1") is None


tunnels = st.lists(
    st.builds(
        lambda can_open, is_draining, is_good, open_, weight: fake_tunnel(
            link=FakeLink(can_open=can_open),
            is_draining=is_draining,
            health=Health(is_good),
            open=open_,
            weight=weight,
        ),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.integers(0, 5),
        st.integers(1, 100),
    ),
    max_size=6,
)


@given(tunnels, st.data())
def test_whoever_is_chosen_can_take_it_and_nobody_better_was_free(some, data):
    tried = data.draw(st.lists(st.sampled_from(some), max_size=3)) if some else []
    chosen = choose(some, tried)
    free = [tunnel for tunnel in in_service(some, tried) if tunnel.link.can_open]

    assert (chosen is None) == (not free)
    if chosen is not None:
        assert chosen in free
        assert chosen not in tried
        assert not chosen.is_draining
        assert all(chosen.open * each.weight <= each.open * chosen.weight for each in free)
