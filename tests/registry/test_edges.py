"""Edges on the running relay: which tunnels serve them, and what becomes of both when either changes."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tunnels import fake_tunnel
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.edges import EdgeTable, LiveEdge
from tunnelrelay.registry.endpoint import MAX_SHARED, Endpoint
from tunnelrelay.registry.registry import Registry, Taken
from tunnelrelay.registry.tunnel import Tunnel

HOST, OTHER = "shop.localhost", "other.localhost"
WEB = (("app", "web"),)
GUARDED = Policy(host_header=b"guarded")


class Case:
    """Edges with clocks that the test turns, and what agents were told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.registry = Registry(clock=lambda: 1_800_000_000.0, monotonic=lambda: self.now)
        self.table = EdgeTable(self.registry)
        self.told: list[tuple[str, tuple[str, ...]]] = []
        self.lost: list[str] = []

    def put(self, edge_id: str = "edghts_1", **more: Any) -> LiveEdge:
        settings: dict[str, Any] = {"owner": "ann", "host": HOST, "policy": Policy(), "labels": WEB, **more}
        edge = LiveEdge(id=edge_id, **settings)
        self.table.put(edge)
        return edge

    def join(self, owner: str = "ann", agent: str = "a1", labels: Any = WEB, **more: Any) -> Tunnel:
        tunnel = fake_tunnel(owner, agent, labels=labels, **more)
        tunnel.moved = lambda hosts: self.told.append((agent, hosts))
        self.table.join(tunnel)
        return tunnel

    def endpoint(self, host: str = HOST) -> Endpoint:
        found = self.registry.find(host)
        assert found is not None
        return found

    def serving(self, host: str = HOST) -> set[Tunnel]:
        return set(self.endpoint(host).tunnels)


@pytest.fixture
def case() -> Case:
    return Case()


def test_an_edge_is_there_with_its_rules_whether_anybody_serves_it_or_not(case):
    case.put(policy=GUARDED)

    assert (case.endpoint().policy, case.endpoint().edge, case.serving()) == (GUARDED, "edghts_1", set())
    assert case.registry.served_count == 0


def test_a_tunnel_serves_every_edge_whose_labels_it_carries_also_those_made_later(case):
    case.put()
    tunnel = case.join(labels=(*WEB, ("zone", "a")))
    assert tunnel.hosts == (HOST,)
    assert case.told == []

    case.put("edghts_2", host=OTHER, labels=(("zone", "a"),))
    assert tunnel.hosts == (HOST, OTHER)
    assert case.told == [("a1", (HOST, OTHER))]
    assert case.serving(OTHER) == {tunnel}
    assert case.table.online("edghts_2") == 1


def test_one_label_that_a_tunnel_does_not_carry_keeps_it_out(case):
    case.put(labels=(*WEB, ("zone", "a")))

    assert case.join().hosts == ()


def test_an_edge_without_labels_is_joined_by_nobody(case):
    case.put(labels=())

    assert case.join().hosts == ()


def test_another_owners_labels_never_join_whoever_was_there_first(case):
    stranger = case.join(owner="mallory", agent="m", labels=(*WEB, ("edge", "edghts_1")))
    case.put()
    again = case.join(owner="mallory", agent="m2", labels=(*WEB, ("edge", "edghts_1")))

    assert (stranger.hosts, again.hosts, case.serving()) == ((), (), set())
    case.put(labels=(("edge", "edghts_1"),))
    assert case.serving() == set()


def test_changed_labels_let_tunnels_in_and_out_and_each_hears_it_once(case):
    web, api = case.join(agent="web"), case.join(agent="api", labels=(("app", "api"),))
    case.put()
    case.told.clear()
    case.put(labels=(("app", "api"),))

    assert (web.hosts, api.hosts, case.serving()) == ((), (HOST,), {api})
    assert sorted(case.told) == [("api", (HOST,)), ("web", ())]


def test_new_rules_are_in_force_in_the_endpoint_visitors_are_at(case):
    case.put()
    before = case.endpoint()
    tunnel = case.join()
    case.put(policy=GUARDED)

    assert case.endpoint() is before
    assert (before.policy, before.is_dropped, case.serving(), case.told) == (GUARDED, False, {tunnel}, [])


def test_a_changed_host_moves_the_edge_and_ends_what_is_under_way_at_the_old_one(case):
    case.put()
    tunnel = case.join()
    before = case.endpoint()
    case.put(host=OTHER)

    assert case.registry.find(HOST) is None
    assert before.is_dropped
    assert (case.serving(OTHER), tunnel.hosts, case.told) == ({tunnel}, (OTHER,), [("a1", (OTHER,))])


def test_two_edges_may_change_hosts_with_each_other(case):
    one, two = case.put("edghts_1"), case.put("edghts_2", host=OTHER, labels=(("app", "api"),))
    web, api = case.join(agent="web"), case.join(agent="api", labels=(("app", "api"),))
    case.table.put(replace(one, host=OTHER))
    case.table.put(replace(two, host=HOST))

    assert (case.serving(OTHER), case.serving(HOST)) == ({web}, {api})
    assert (web.hosts, api.hosts) == ((OTHER,), (HOST,))


def test_an_edge_that_is_dropped_leaves_an_unknown_host_and_a_tunnel_that_waits_for_another(case):
    case.put()
    tunnel = case.join()
    before = case.endpoint()
    case.table.drop("edghts_1")
    case.table.drop("edghts_1")

    assert case.registry.find(HOST) is None
    assert before.is_dropped
    assert (tunnel.hosts, case.told, case.registry.held_by("ann")) == ((), [("a1", ())], 0)
    case.put()
    assert case.serving() == {tunnel}


def test_an_edge_that_changes_hands_takes_none_of_the_former_owners_tunnels_along(case):
    case.put()
    anns = case.join()
    case.put(owner="bob")

    assert (case.serving(), anns.hosts) == (set(), ())
    assert (case.endpoint().owner, case.registry.held_by("ann"), case.registry.held_by("bob")) == ("bob", 0, 1)


@pytest.mark.parametrize("owner", ["ann", "bob"])
def test_nobody_binds_the_host_of_an_edge(case, owner):
    case.put()

    taken = case.registry.claim(fake_tunnel(owner), HOST, Policy())
    assert taken == Taken(HOST, "edge" if owner == "ann" else "owner")


def test_an_agent_that_serves_a_host_which_becomes_an_edges_loses_it_and_hears_why(case):
    tunnel = fake_tunnel(lose=lambda message, hint: case.lost.append(message))
    case.registry.claim(tunnel, HOST, Policy())
    case.put(policy=GUARDED)

    assert case.lost == [f"{HOST} is the name of an edge now"]
    assert (case.serving(), case.endpoint().policy, case.registry.tunnel(tunnel.id)) == (set(), GUARDED, None)
    assert not case.registry.release(HOST, tunnel.claim, on_purpose=True)


def test_a_name_expected_from_before_a_restart_makes_place_for_its_edge(case):
    case.registry.expect(HOST, "ann", 4)
    case.put(generation=4)
    case.now += 10_000
    case.registry.forget_stale()

    assert (case.endpoint().edge, case.endpoint().generation) == ("edghts_1", 4)


def test_a_tunnel_that_leaves_takes_only_itself(case):
    case.put()
    first, second = case.join(agent="a1"), case.join(agent="a2")

    assert case.table.leave(first)
    assert not case.table.leave(first)
    assert (case.serving(), first.hosts, case.registry.tunnel(first.id)) == ({second}, (), None)


def test_the_same_agents_tunnel_over_a_new_link_takes_the_place_of_the_old_one(case):
    case.put()
    older = case.join(number=7)
    newer = case.join(number=7)

    assert case.serving() == {newer}
    assert not case.table.leave(older)
    assert case.table.joined_by("ann") == 1


@pytest.mark.parametrize("name", ["edghts_1", HOST, "shop", "SHOP"])
def test_an_edge_is_known_to_its_owner_by_id_host_and_label_and_to_nobody_else(case, name):
    edge = case.put()

    assert case.table.by_name("ann", name) == edge
    assert case.table.by_name("bob", name) is None


def test_no_name_is_not_the_name_of_an_edge_without_a_host(case):
    case.put(host=None)

    assert case.table.by_name("ann", "") is None
    assert case.registry.find(HOST) is None


def test_an_edge_is_served_by_so_many_tunnels_and_no_more_whichever_came_first(case):
    """Row 125."""
    case.put()
    for number in range(MAX_SHARED + 5):
        case.join(agent=f"a{number}")
    assert len(case.serving()) == MAX_SHARED

    case.put("edghts_2", host=OTHER)
    assert len(case.serving(OTHER)) == MAX_SHARED


# Waiting


def test_an_edge_waits_for_tunnels_only_at_the_start_and_where_one_was_a_moment_ago(case):
    case.put()
    assert case.registry.patience(case.endpoint(), 5.0) == 5.0
    case.now += 2
    assert case.registry.patience(case.endpoint(), 5.0) == 3.0
    case.now += 100
    assert case.registry.patience(case.endpoint(), 5.0) == 0.0

    tunnel = case.join()
    case.table.leave(tunnel)
    case.now += 1
    assert case.registry.patience(case.endpoint(), 5.0) == 4.0
    case.now += 4
    assert case.registry.patience(case.endpoint(), 5.0) == 0.0


async def test_a_request_that_waits_goes_on_when_a_tunnel_joins(case):
    case.put()
    waiting = asyncio.create_task(case.endpoint().hold(10))
    await asyncio.sleep(0)
    case.join()

    assert await waiting


# Drain


def test_a_drained_tunnel_gets_no_more_requests_of_any_edge(case):
    case.put()
    case.put("edghts_2", host=OTHER)
    leaving, staying = case.join(agent="a1"), case.join(agent="a2")
    assert case.registry.drain(leaving.id)

    assert [case.endpoint(host).only for host in (HOST, OTHER)] == [staying, staying]
    assert leaving in case.serving()
    assert not case.registry.drain("tn_unknown")


# Whatever happens

OWNERS, HOSTS, KINDS = ("ann", "bob"), (HOST, OTHER, None), ((), WEB, (("app", "api"),), (*WEB, ("zone", "a")))
steps = st.one_of(
    st.tuples(
        st.just("put"), st.integers(1, 3), st.sampled_from(OWNERS), st.sampled_from(HOSTS), st.sampled_from(KINDS)
    ),
    st.tuples(st.just("drop"), st.integers(1, 3)),
    st.tuples(st.just("join"), st.sampled_from(OWNERS), st.integers(1, 3), st.sampled_from(KINDS[1:])),
    st.tuples(st.just("leave"), st.integers(0, 20)),
    st.tuples(st.just("claim"), st.sampled_from(OWNERS), st.sampled_from(HOSTS[:2])),
)


@given(st.lists(steps, max_size=30))
def test_tunnels_and_edges_agree_on_who_serves_what_and_nobody_serves_a_strangers(script):
    case, joined = Case(), []
    for step, *what in script:
        if step == "put":
            number, owner, host, labels = what
            case.put(f"edghts_{number}", owner=owner, host=host, labels=labels)
        elif step == "drop":
            case.table.drop(f"edghts_{what[0]}")
        elif step == "join":
            owner, number, labels = what
            joined.append(case.join(owner, number=number, labels=labels))
        elif step == "leave" and joined:
            case.table.leave(joined[what[0] % len(joined)])
        elif step == "claim":
            case.registry.claim(fake_tunnel(what[0]), what[1], Policy())

        here = {tunnel for tunnel in joined if case.registry.tunnel(tunnel.id) is tunnel}
        for edge in case.table:
            wanted = {
                tunnel
                for tunnel in here
                if edge.host and edge.labels and tunnel.owner == edge.owner and set(edge.labels) <= set(tunnel.labels)
            }
            assert {tunnel for tunnel in here if edge.host in tunnel.hosts} == wanted
            if edge.host is not None:
                assert case.endpoint(edge.host).edge == edge.id
                assert case.serving(edge.host) == wanted
        hosts = {edge.host for edge in case.table}
        assert all(set(tunnel.hosts) <= hosts for tunnel in joined)
        assert all(endpoint.edge == "" or endpoint.host in hosts for endpoint in case.registry)
        assert [case.registry.held_by(owner) for owner in OWNERS] == [
            sum(endpoint.owner == owner for endpoint in case.registry) for owner in OWNERS
        ]
