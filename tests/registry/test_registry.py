"""Names: whose they are, who serves them, and that a claim that is over takes nothing with it but its own."""

import asyncio
from typing import Any

import pytest

from tests.support.tunnels import FakeLink, fake_tunnel
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.endpoint import MAX_HELD, MAX_SHARED, Endpoint
from tunnelrelay.registry.registry import LOST_SECONDS, MAX_LOST, MAX_OWNERS_RULES, Registry, Taken
from tunnelrelay.registry.tunnel import Tunnel

HOST = "demo.localhost"
OPEN = Policy()


class Case:
    """A registry with clocks that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.unix = 1_800_000_000.0
        self.registry = Registry(clock=lambda: self.unix, monotonic=lambda: self.now)
        self.ended: list[tuple[str, str, str]] = []
        self.lost: list[str] = []

    def claim(
        self,
        owner: str = "ann",
        agent: str = "a1",
        link: FakeLink | None = None,
        policy: Policy = OPEN,
        **more: Any,
    ) -> Tunnel | Taken:
        tunnel = fake_tunnel(
            owner,
            agent,
            link=link,
            end=lambda by, at: self.ended.append((agent, by, at)),
            lose=lambda message, hint: self.lost.append(agent),
            **more,
        )
        return self.registry.claim(tunnel, HOST, policy)

    def served(self) -> Tunnel:
        endpoint = self.registry.find(HOST)
        assert endpoint is not None
        (tunnel,) = endpoint.tunnels
        return tunnel


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_name_nobody_claimed_is_unknown(case):
    assert case.registry.find(HOST) is None
    assert not case.registry.owner_of(HOST)
    assert case.registry.connection_of(HOST) is None


def test_another_owner_is_refused_and_changes_nothing(case):
    mine = case.claim()

    assert case.claim(owner="bob", agent="b1") == Taken(HOST)
    assert case.served() is mine
    assert case.registry.owner_of(HOST) == "ann"
    assert case.ended == []


def test_the_same_agent_takes_its_name_back_in_silence(case):
    first = case.claim()
    again = case.claim()

    assert case.served() is again
    assert again.claim > first.claim
    assert case.ended == []


def test_another_agent_of_the_same_owner_takes_over_and_the_older_is_told_by_whom_and_when(case):
    case.claim()
    newer = case.claim(agent="a2")

    assert case.served() is newer
    assert case.ended == [("a1", "peer of a2", "2027-01-15T08:00:00+00:00")]


def test_the_late_end_of_an_old_claim_takes_nothing_from_the_new_one(case):
    old = case.claim()
    new = case.claim(agent="a2")

    assert not case.registry.release(HOST, old.claim, on_purpose=True)
    assert not case.registry.release(HOST, old.claim, on_purpose=False)
    assert case.served() is new


@pytest.mark.parametrize("owner", ["ann", "bob"])
def test_a_name_given_up_on_purpose_is_free_for_everybody(case, owner):
    tunnel = case.claim()

    assert case.registry.release(HOST, tunnel.claim, on_purpose=True)
    assert case.registry.find(HOST) is None
    assert isinstance(case.claim(owner=owner, agent="x"), Tunnel)


def test_a_lost_name_stays_with_its_owner_for_a_while_and_then_is_free(case):
    tunnel = case.claim()
    case.registry.release(HOST, tunnel.claim, on_purpose=False)
    case.now += LOST_SECONDS - 1
    case.registry.forget_stale()

    assert case.claim(owner="bob", agent="b1") == Taken(HOST)
    assert case.registry.served_count == 0

    case.now += 1
    case.registry.forget_stale()
    assert isinstance(case.claim(owner="bob", agent="b1"), Tunnel)


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_row130_how_long_a_name_has_been_lost_is_no_matter_of_the_wall_clock(case, jump):
    tunnel = case.claim()
    case.registry.release(HOST, tunnel.claim, on_purpose=False)
    case.unix += jump
    case.registry.forget_stale()
    assert case.registry.find(HOST) is not None
    case.now += LOST_SECONDS
    case.registry.forget_stale()

    assert case.registry.find(HOST) is None


def test_a_name_that_is_served_again_is_not_forgotten(case):
    tunnel = case.claim()
    case.registry.release(HOST, tunnel.claim, on_purpose=False)
    case.claim()
    case.now += 2 * LOST_SECONDS
    case.registry.forget_stale()

    assert case.registry.served_count == 1


def test_a_name_known_from_before_a_restart_waits_for_its_owner_without_a_policy(case):
    case.registry.expect(HOST, "ann")
    endpoint = case.registry.find(HOST)

    assert endpoint is not None
    assert (endpoint.policy, endpoint.pick()) == (None, None)
    assert case.claim(owner="bob") == Taken(HOST)
    assert isinstance(case.claim(), Tunnel)


def test_expecting_a_name_that_is_served_changes_nothing(case):
    tunnel = case.claim()
    case.registry.expect(HOST, "bob")

    assert case.served() is tunnel
    assert case.registry.owner_of(HOST) == "ann"


def test_a_name_that_the_store_gave_to_another_owner_is_served_no_more_and_its_agent_hears_it(case):
    """Row 84."""
    case.claim()
    case.registry.take_away(HOST)

    assert case.registry.find(HOST) is None
    assert (case.lost, case.ended) == (["a1"], [])
    assert isinstance(case.claim(owner="bob", agent="b1"), Tunnel)


def test_the_generation_is_the_stores_and_none_where_nobody_serves(case):
    """Row 72."""
    case.registry.expect(HOST, "ann", 3)

    assert (case.registry.generation_of(HOST), case.registry.generation_of("other.localhost")) == (3, 0)


def test_lost_names_cannot_fill_memory(case):
    for number in range(MAX_LOST + 10):
        case.registry.expect(f"n{number}.localhost", "ann")

    assert len(list(case.registry)) == MAX_LOST
    assert case.registry.find("n0.localhost") is None


def test_how_many_names_an_owner_holds_is_known_whichever_way_they_come_and_go(case):
    case.registry.expect("expected.localhost", "ann")
    tunnel = case.claim()
    case.claim()
    case.registry.expect(HOST, "ann")
    assert case.registry.held_by("ann") == 2
    assert case.registry.held_by("bob") == 0

    case.registry.release(HOST, tunnel.claim, on_purpose=True)  # superseded: changes nothing
    assert case.registry.held_by("ann") == 2
    case.registry.release(HOST, case.served().claim, on_purpose=True)
    assert case.registry.held_by("ann") == 1
    case.claim()
    case.registry.take_away(HOST)
    case.registry.take_away(HOST)
    case.now += LOST_SECONDS
    case.registry.forget_stale()
    assert case.registry.held_by("ann") == 0


def test_a_link_that_takes_no_more_streams_is_not_picked(case):
    link = FakeLink()
    case.claim(link=link)
    endpoint = case.registry.find(HOST)
    assert endpoint is not None
    assert endpoint.pick() is not None
    link.can_open = False

    assert endpoint.pick() is None


# Held requests


async def held(endpoint: Endpoint, seconds: float = 10) -> "asyncio.Task[bool]":
    before = endpoint.held_count
    task = asyncio.create_task(endpoint.hold(seconds))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert endpoint.held_count == before + 1
    return task


async def test_held_requests_go_on_when_somebody_serves_the_name_again(case):
    tunnel = case.claim()
    case.registry.release(HOST, tunnel.claim, on_purpose=False)
    endpoint = case.registry.find(HOST)
    tasks = [await held(endpoint) for _ in range(3)]
    assert case.registry.held_count == 3
    case.claim()

    assert await asyncio.gather(*tasks) == [True] * 3
    assert case.registry.held_count == 0


async def test_room_on_a_full_link_goes_to_one_that_is_held(case):
    link = FakeLink(can_open=False)
    case.claim(link=link)
    endpoint = case.registry.find(HOST)
    tasks = [await held(endpoint) for _ in range(2)]
    endpoint.room_was_made()
    link.can_open = True
    endpoint.room_was_made()
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    assert (len(done), len(waiting)) == (1, 1)
    endpoint.room_was_made()
    assert await asyncio.gather(*tasks) == [True, True]


async def test_who_is_held_in_vain_is_told(case):
    case.registry.expect(HOST, "ann")

    assert await case.registry.find(HOST).hold(0) is False


async def test_nobody_is_held_while_somebody_serves(case):
    case.claim()

    assert await case.registry.find(HOST).hold(10) is True


async def test_so_many_are_held_and_no_more(case):
    case.registry.expect(HOST, "ann")
    endpoint = case.registry.find(HOST)
    tasks = [await held(endpoint) for _ in range(MAX_HELD)]

    assert await endpoint.hold(10) is False
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert endpoint.held_count == 0


# Pools


def test_agents_of_one_owner_that_say_so_share_a_name(case):
    first, second = case.claim(pooling=True), case.claim(agent="a2", pooling=True)
    endpoint = case.registry.find(HOST)

    assert set(endpoint.tunnels) == {first, second}
    assert endpoint.is_pool
    assert case.ended == []


def test_a_pool_goes_on_until_its_last_tunnel_has_left(case):
    first, second = case.claim(pooling=True), case.claim(agent="a2", pooling=True)

    assert not case.registry.release(HOST, first.claim, on_purpose=True)
    assert case.served() is second
    assert case.registry.release(HOST, second.claim, on_purpose=True)
    assert case.registry.find(HOST) is None


@pytest.mark.parametrize(("first", "second", "why"), [(True, False, "pool"), (False, True, "alone")])
def test_who_shares_and_who_does_not_never_mix(case, first, second, why):
    mine = case.claim(pooling=first)

    assert case.claim(agent="a2", pooling=second) == Taken(HOST, why)
    assert case.served() is mine
    assert case.ended == []


@pytest.mark.parametrize(("first", "second"), [(False, False), (True, False), (False, True)])
def test_two_tunnels_of_one_agent_never_take_a_name_from_each_other(case, first, second):
    """Row 124: the agent would show both, and the rules of the first would be lost."""
    link, strict = FakeLink(), Policy(host_header=b"app")
    mine = case.claim(link=link, number=1, pooling=first, policy=strict)

    assert case.claim(link=link, number=2, pooling=second) == Taken(HOST, "same")
    assert (case.served(), case.registry.find(HOST).policy) == (mine, strict)
    case.registry.release(HOST, mine.claim, on_purpose=True)
    assert isinstance(case.claim(link=link, number=2, pooling=second), Tunnel)


def test_an_agent_whose_former_link_is_not_known_to_be_lost_has_its_name_back_by_another_tunnel(case):
    case.claim(link=FakeLink(), number=1)
    again = case.claim(link=FakeLink(), number=2)

    assert case.served() is again


def test_two_tunnels_of_one_agent_may_share_a_name(case):
    link = FakeLink()
    first, second = (case.claim(link=link, number=number, pooling=True) for number in (1, 2))

    assert set(case.registry.find(HOST).tunnels) == {first, second}


def test_a_pool_has_one_set_of_rules(case):
    """Row 124."""
    strict = Policy(host_header=b"app")
    mine = case.claim(pooling=True, policy=strict)

    assert case.claim(agent="a2", pooling=True) == Taken(HOST, "rules")
    assert case.served() is mine
    assert case.registry.find(HOST).policy == strict
    assert isinstance(case.claim(agent="a2", pooling=True, policy=Policy(host_header=b"app")), Tunnel)


def test_an_agent_that_comes_back_to_its_pool_replaces_its_own_tunnel_and_no_other(case):
    first, second = case.claim(pooling=True, number=1), case.claim(agent="a2", pooling=True, number=1)
    again = case.claim(pooling=True, number=1)

    assert set(case.registry.find(HOST).tunnels) == {second, again}
    assert not case.registry.release(HOST, first.claim, on_purpose=False)
    assert case.ended == []


def test_the_last_agent_of_a_pool_may_come_back_with_other_rules(case):
    case.claim(pooling=True, number=1)
    case.claim(pooling=True, number=1, policy=Policy(host_header=b"app"))

    assert case.registry.find(HOST).policy == Policy(host_header=b"app")


def test_another_owner_is_refused_whatever_it_would_share(case):
    case.claim(pooling=True)

    assert case.claim(owner="bob", agent="b1", pooling=True) == Taken(HOST)


def test_a_pool_is_full_some_day_and_an_agent_that_comes_back_still_has_its_place(case):
    """Row 125."""
    for number in range(MAX_SHARED):
        assert isinstance(case.claim(agent=f"a{number}", pooling=True, number=1), Tunnel)

    assert case.claim(agent="late", pooling=True) == Taken(HOST, "full")
    assert isinstance(case.claim(agent="a7", pooling=True, number=1), Tunnel)


# Health


def test_health_changes_once_and_says_since_when(case):
    tunnel = case.claim()
    case.registry.mark_unhealthy(tunnel, "upstream_unreachable")
    case.unix += 10
    case.registry.mark_unhealthy(tunnel, "no_answer")
    assert (tunnel.health.reason, tunnel.health.since) == ("upstream_unreachable", case.unix - 10)
    assert case.registry.unhealthy_count == 1

    case.registry.mark_healthy(tunnel)
    assert (tunnel.health.is_good, tunnel.health.since) == (True, case.unix)
    assert (case.registry.unhealthy_count, case.registry.tunnel_count) == (0, 1)


def test_whoever_shows_tunnels_hears_of_each_that_comes_leaves_drains_or_ails():
    registry = Registry(clock=lambda: 0.0, monotonic=lambda: 0.0)
    heard: list[str] = []
    registry.on_change = heard.append
    tunnel = fake_tunnel("ann")

    registry.claim(tunnel, "demo.tun.example", Policy())
    registry.mark_unhealthy(tunnel, "no_answer")
    registry.mark_unhealthy(tunnel, "no_answer")
    registry.mark_healthy(tunnel)
    registry.drain(tunnel.id)
    registry.release("demo.tun.example", tunnel.claim, on_purpose=True)

    assert heard == ["ann"] * 5


LARGE = Policy(size=64 * 1024)
FULL = MAX_OWNERS_RULES // LARGE.size


def claims(case: Case, count: int, *, owner: str = "ann", start: int = 0, **more: Any) -> list[Tunnel | Taken]:
    """That many tunnels with large settings, each with a name of its own."""
    made = (fake_tunnel(owner, f"{owner}{number}", **more) for number in range(start, start + count))
    hosts = (f"{owner}{number}.localhost" for number in range(start, start + count))
    return [case.registry.claim(tunnel, host, LARGE) for tunnel, host in zip(made, hosts, strict=True)]


def refused(answers: list[Tunnel | Taken]) -> int:
    return sum(isinstance(answer, Taken) and answer.why == "large" for answer in answers)


def test_the_settings_of_all_tunnels_of_an_owner_have_a_size_and_others_have_theirs(case):
    assert refused(claims(case, FULL + 5)) == 5
    assert case.registry.find(f"ann{FULL}.localhost") is None
    assert refused(claims(case, 3, owner="bob")) == 0


def test_whoever_comes_back_to_a_name_or_gives_one_up_has_room_again(case):
    held = claims(case, FULL)
    assert refused(claims(case, 1)) == 0, "the same agent comes back"
    first = held[1]
    assert isinstance(first, Tunnel)
    case.registry.release("ann1.localhost", first.claim, on_purpose=True)
    assert refused(claims(case, 2, start=FULL)) == 1


def test_names_whose_link_was_lost_count_until_they_are_given_up(case):
    for tunnel, number in zip(claims(case, FULL), range(FULL), strict=True):
        assert isinstance(tunnel, Tunnel)
        case.registry.release(f"ann{number}.localhost", tunnel.claim, on_purpose=False)
    assert refused(claims(case, 1, start=FULL)) == 1
    case.now += LOST_SECONDS
    case.registry.forget_stale()
    assert refused(claims(case, FULL, start=FULL)) == 0


def test_tunnels_that_share_an_address_count_one_by_one(case):
    pool = [case.registry.claim(fake_tunnel("ann", f"a{n}", pooling=True), HOST, LARGE) for n in range(FULL + 1)]
    assert refused(pool) == 1
    for tunnel in pool[:-1]:
        assert isinstance(tunnel, Tunnel)
        case.registry.release(HOST, tunnel.claim, on_purpose=True)
    assert refused(claims(case, FULL + 1)) == 1
