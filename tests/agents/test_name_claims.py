"""Names over time: whose they are when the store was away, when another relay asked, and when they change hands."""

import asyncio
from typing import Any

import pytest

from tests.support.memory_store import MemoryStore
from tests.support.tunnels import fake_tunnel
from tests.support.waiting import PATIENCE, turns
from tunnelctl.policy.fields import MAX_SESSION
from tunnelrelay.agents import name_claims
from tunnelrelay.agents.host_names import random_label
from tunnelrelay.agents.name_claims import FORGET_EVERY, MAX_CLAIMS, MAX_OWNERS_CLAIMS, NameClaims, NoTurn
from tunnelrelay.observe.audit import Audit
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.registry import LOST_SECONDS, Registry
from tunnelrelay.registry.tunnel import Tunnel
from tunnelrelay.store.base import NameRow, SessionCriteria, SessionRow, StoreError

HOST = "demo.tun.example"
DAY = 86_400.0
COOL = 30 * DAY


class Shelf(MemoryStore):
    """A store that is away when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.failing: dict[str, int] = {}

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not asyncio.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.failing.get(name):
                self.failing[name] -= 1
                raise StoreError("fails")
            if self.is_away:
                raise StoreError("away")
            return await found(*args, **kwargs)

        return call


class SlowShelf(Shelf):
    """A store whose look-ups of names wait until the test lets them go on, or for ever.

    Attributes:
        asked: Hosts in the order in which they were looked up.
        hangs: Owners whose claims never end.
        most: Claims that were in the store at the same time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.hangs: set[str] = set()
        self.most = self.running = 0
        self.goes_on = asyncio.Event()

    async def name(self, host: str) -> NameRow | None:
        self.asked.append(host)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if host.partition("-")[0] in self.hangs:
                await asyncio.Event().wait()
            await self.goes_on.wait()
            await asyncio.sleep(0)
            return await super().name(host)
        finally:
            self.running -= 1


class Node:
    """One relay's part in it.

    Attributes:
        taken: Names whose agents were told that they are another owner's.
    """

    def __init__(self, store: Shelf, clock: list[float], *, cool_seconds: float = COOL) -> None:
        self.clock = clock
        self.registry = Registry(clock=lambda: clock[0], monotonic=lambda: clock[0])
        self.audit = Audit(clock=lambda: clock[0])
        self.keeper = NameClaims(
            store,
            self.registry,
            cool_seconds=cool_seconds,
            end_sessions=self.end_sessions,
            audit=self.audit,
            clock=lambda: clock[0],
        )
        self.taken: list[str] = []
        self.store = store

    async def end_sessions(self, criteria: SessionCriteria) -> int:
        return len(await self.store.end_sessions(criteria, self.clock[0]))

    async def serve(self, owner: str, host: str = HOST) -> Tunnel | None:
        """What a bind does with a name that is new here."""
        row = await self.keeper.claim(host, owner)
        if row.owner != owner:
            return None
        offered = fake_tunnel(owner, "a", lose=lambda message, hint: self.taken.append(host))
        tunnel = self.registry.claim(offered, host, Policy(), row.generation)
        assert isinstance(tunnel, Tunnel)
        return tunnel

    def end(self, tunnel: Tunnel, owner: str, *, on_purpose: bool = True, host: str = HOST) -> None:
        """What the end of a bind does."""
        self.registry.release(host, tunnel.claim, on_purpose=on_purpose)
        if on_purpose:
            self.keeper.given_up(host, owner)
        else:
            self.keeper.lost(host)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("tunnelrelay.agents.name_claims.CLAIM_PAUSES", (0.0, 0.0))


@pytest.fixture
def store() -> Shelf:
    return Shelf()


@pytest.fixture
def clock() -> list[float]:
    return [1_800_000_000.0]


@pytest.fixture
def node(store: Shelf, clock: list[float]) -> Node:
    return Node(store, clock)


def session(key: bytes, host: str = HOST) -> SessionRow:
    return SessionRow(
        key=key, host=host, connection_id="c", epoch="e", issuer="i", subject="s", email="", created_at=1.0,
        last_seen=1.0, expires_at=9e9, sealed=b"",
    )  # fmt: skip


async def test_row84_a_name_given_up_is_kept_from_others_for_the_cool_down_and_from_its_owner_not_at_all(node, clock):
    tunnel = await node.serve("ann")
    node.end(tunnel, "ann")
    clock[0] += COOL - 1
    assert await node.serve("bob") is None
    assert node.keeper.kept_until(await node.keeper.claim(HOST, "bob")) == clock[0] + 1
    tunnel = await node.serve("ann")
    assert tunnel is not None
    node.end(tunnel, "ann")
    clock[0] += COOL

    assert await node.serve("bob") is not None


async def test_row84_a_name_whose_agent_was_lost_cools_down_from_when_it_was_lost(node, clock):
    tunnel = await node.serve("ann")
    clock[0] += 5 * DAY
    node.end(tunnel, "ann", on_purpose=False)
    assert await node.keeper.flush()
    clock[0] += LOST_SECONDS + COOL - 1
    node.registry.forget_stale()
    assert await node.serve("bob") is None
    clock[0] += 1

    assert await node.serve("bob") is not None


async def test_rows84_and_72_when_a_name_changes_hands_its_sessions_are_over_before_it_is_served(node, store, clock):
    """Rows 72, 84. The change is told in the audit log, once."""
    tunnel = await node.serve("ann")
    for row in (session(b"1"), session(b"2"), session(b"3", "other.tun.example")):
        await store.save_session(row)
    node.end(tunnel, "ann")
    clock[0] += COOL
    assert (await node.keeper.claim(HOST, "bob")).generation == 2
    left = [row.key for row in await store.sessions()]
    await node.serve("bob")
    changes = [event for event in node.audit.take() if event.kind == "name.changed_hands"]

    assert left == [b"3"]
    assert await store.ended_since(0.0) == [b"1", b"2"]
    assert node.registry.generation_of(HOST) == 2
    assert [(event.host, event.owner) for event in changes] == [(HOST, "bob")]
    assert changes[0].details == {"former": "ann", "generation": "2", "sessions": "2"}


async def test_row84_sessions_of_the_former_owner_end_even_if_the_store_fails_in_between(node, store, clock):
    tunnel = await node.serve("ann")
    await store.save_session(session(b"1"))
    node.end(tunnel, "ann")
    clock[0] += COOL
    store.failing["end_sessions"] = 3
    with pytest.raises(StoreError):
        await node.keeper.claim(HOST, "bob")
    assert (await node.keeper.claim(HOST, "bob")).generation == 2

    assert await store.sessions() == []


async def test_an_owner_who_comes_back_keeps_generation_and_sessions(node, store, clock):
    tunnel = await node.serve("ann")
    await store.save_session(session(b"1"))
    node.end(tunnel, "ann")
    clock[0] += 100 * DAY
    await node.serve("ann")

    assert node.registry.generation_of(HOST) == 1
    assert len(await store.sessions()) == 1


async def test_row84_a_name_that_nobody_chose_is_kept_from_others_for_as_long_as_any_session_can_live(store, clock):
    node = Node(store, clock, cool_seconds=0.0)
    host = f"{random_label()}.tun.example"
    tunnel = await node.serve("ann", host)
    node.end(tunnel, "ann", host=host)
    clock[0] += MAX_SESSION - 1
    assert await node.serve("bob", host) is None
    assert node.keeper.kept_until(await node.keeper.claim(host, "bob")) == clock[0] + 1
    assert await store.free_name(host)

    assert await node.serve("bob", host) is not None


async def test_names_that_nobody_chose_are_forgotten_once_they_have_cooled_down_and_no_others(node, store, clock):
    given_up, served = (f"{random_label()}.tun.example" for _ in range(2))
    for host in (given_up, HOST):
        node.end(await node.serve("ann", host), "ann", host=host)
    await node.serve("ann", served)
    assert await node.keeper.flush()
    clock[0] += MAX_SESSION + COOL
    assert await node.keeper.refresh()
    assert await store.name(given_up) is not None
    clock[0] += max(LOST_SECONDS, FORGET_EVERY)
    assert await node.keeper.refresh()

    assert [row.host for row in await store.all_names()] == sorted((served, HOST))


async def test_a_store_that_is_slow_about_one_name_delays_no_other(node, store, monkeypatch):
    slow, claim_name = asyncio.Event(), MemoryStore.claim_name

    async def claim(self: MemoryStore, host: str, *args: Any, **kwargs: Any) -> NameRow:
        if host == HOST:
            await slow.wait()
        return await claim_name(self, host, *args, **kwargs)

    monkeypatch.setattr(MemoryStore, "claim_name", claim)
    waiting = asyncio.ensure_future(node.serve("mallory"))
    assert await node.serve("ann", "other.tun.example") is not None
    assert not waiting.done()
    slow.set()
    assert await waiting is not None


async def test_without_a_cool_down_a_name_given_up_is_anybodys_at_once(store, clock):
    node = Node(store, clock, cool_seconds=0.0)
    tunnel = await node.serve("ann")
    node.end(tunnel, "ann")

    assert await node.serve("bob") is not None


async def test_a_name_given_up_and_taken_again_is_held_whatever_is_written_late(node, store):
    first = await node.serve("ann")
    node.end(first, "ann")
    await node.serve("ann")
    assert await node.keeper.flush()

    assert await store.name(HOST) == NameRow(host=HOST, owner="ann", at=node.clock[0])


async def test_a_name_given_up_on_one_link_and_served_on_another_stays_held(node, store):
    await node.serve("ann")
    node.keeper.given_up(HOST, "ann")
    assert await node.keeper.flush()

    assert (await store.name(HOST)).released_at is None


# Two relays


async def test_row119_a_name_live_at_one_relay_is_refused_to_another_owner_at_the_other(store, clock):
    """Row 119."""
    here, there = Node(store, clock), Node(store, clock)
    assert await here.serve("ann") is not None

    for _ in range(100):
        clock[0] += DAY
        assert await here.keeper.refresh()
        assert await there.serve("bob") is None
    assert await there.serve("ann") is not None


async def test_of_two_who_ask_for_a_name_at_once_one_gets_it(store, clock):
    nodes = [Node(store, clock) for _ in range(4)]
    got = await asyncio.gather(*(node.serve(f"owner{number}") for number, node in enumerate(nodes)))

    assert len([tunnel for tunnel in got if tunnel is not None]) == 1


async def test_a_name_that_moved_to_another_relay_is_not_given_up_by_the_first_ones_loss(store, clock):
    here, there = Node(store, clock, cool_seconds=0.0), Node(store, clock, cool_seconds=0.0)
    tunnel = await here.serve("ann")
    here.end(tunnel, "ann", on_purpose=False)
    await there.serve("ann")
    clock[0] += LOST_SECONDS - 1
    await there.keeper.refresh()
    await here.keeper.flush()
    clock[0] += 2
    here.registry.forget_stale()

    assert await here.serve("bob") is None


async def test_a_name_given_up_at_one_relay_is_taken_back_by_the_other_that_serves_it(store, clock):
    here, there = Node(store, clock), Node(store, clock)
    tunnel = await here.serve("ann")
    await there.serve("ann")
    here.end(tunnel, "ann")
    assert await here.keeper.flush()
    assert (await store.name(HOST)).released_at is not None
    assert await there.keeper.refresh()

    assert (await store.name(HOST)).released_at is None
    assert there.taken == []


async def test_row84_who_served_on_while_the_store_gave_the_name_away_is_told_and_stops(store, clock):
    here, there = Node(store, clock), Node(store, clock)
    await here.serve("ann")
    clock[0] += LOST_SECONDS + COOL  # a month without a word from this relay, whose way to the store was cut
    await there.serve("bob")
    assert await here.keeper.refresh()

    assert here.taken == [HOST]
    assert here.registry.find(HOST) is None
    assert there.registry.generation_of(HOST) == 2
    assert [event.reason for event in here.audit.take() if event.kind == "name.refused"] == ["taken_meanwhile"]


# The store is away


async def test_row130_a_store_that_fails_for_a_moment_is_asked_again(node, store):
    """Row 130."""
    store.failing["claim_name"] = 2

    assert await node.serve("ann") is not None


async def test_row130_a_store_that_is_away_is_no_yes(node, store):
    store.is_away = True
    with pytest.raises(StoreError):
        await node.keeper.claim(HOST, "ann")


async def test_row130_what_the_store_missed_is_told_when_it_is_back_and_what_is_served_goes_on(node, store, clock):
    other = "other.tun.example"
    await node.serve("ann")
    tunnel = await node.serve("ann", other)
    store.is_away = True
    node.end(tunnel, "ann", host=other)
    assert not await node.keeper.flush()
    assert not await node.keeper.refresh()
    assert node.registry.find(HOST) is not None
    store.is_away = False
    clock[0] += 10
    assert await node.keeper.flush()
    assert await node.keeper.refresh()

    assert await store.name(HOST) == NameRow(host=HOST, owner="ann", at=clock[0])
    assert (await store.name(other)).released_at == clock[0] - 10


async def test_names_given_up_while_the_store_is_away_cannot_fill_memory(node, store, monkeypatch):
    monkeypatch.setattr("tunnelrelay.agents.name_claims.MAX_WAITING", 10)
    hosts = [f"n{number}.tun.example" for number in range(100)]
    tunnels = [await node.serve("ann", host) for host in hosts]
    store.is_away = True
    for host, tunnel in zip(hosts, tunnels, strict=True):
        node.end(tunnel, "ann", host=host)
    store.is_away = False
    await node.keeper.flush()

    assert [(await store.name(host)).released_at is not None for host in hosts] == [True] * 10 + [False] * 90


async def test_the_background_work_writes_at_once_and_ends_when_told(node, store):
    tunnel = await node.serve("ann")
    work = asyncio.create_task(node.keeper.run())
    node.end(tunnel, "ann")
    async with asyncio.timeout(PATIENCE):
        while (await store.name(HOST)).released_at is None:  # noqa: ASYNC110  # the store has no event for it
            await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


def hosts_of(owner: str, count: int) -> list[str]:
    return [f"{owner}-{number}.tun.example" for number in range(count)]


async def test_very_many_claims_at_once_wait_for_their_turn_and_none_fails() -> None:
    store = SlowShelf()
    node = Node(store, [0.0])
    claims = [asyncio.create_task(node.keeper.claim(host, host.partition("-")[0])) for host in hosts_of("ann", 200)]
    claims += [asyncio.create_task(node.keeper.claim(host, host.partition("-")[0])) for host in hosts_of("bob", 200)]
    await turns(lambda: store.running == MAX_CLAIMS)
    store.goes_on.set()

    rows = await asyncio.gather(*claims)

    assert {row.owner for row in rows} == {"ann", "bob"}
    assert store.most == MAX_CLAIMS


async def test_owners_take_turns_however_many_names_one_claims() -> None:
    store = SlowShelf()
    node = Node(store, [0.0])
    many = [asyncio.create_task(node.keeper.claim(host, "ann")) for host in hosts_of("ann", 200)]
    await turns(lambda: store.running)
    bobs = [asyncio.create_task(node.keeper.claim(host, "bob")) for host in hosts_of("bob", 3)]
    store.goes_on.set()

    await asyncio.gather(*bobs, *many)

    before_bobs_last = store.asked.index("bob-2.tun.example")
    assert before_bobs_last < 20


async def test_an_owner_whose_claims_hang_leaves_a_place_to_the_others() -> None:
    store = SlowShelf()
    store.hangs.add("mallory")
    store.goes_on.set()
    node = Node(store, [0.0])
    stuck = [asyncio.create_task(node.keeper.claim(host, "mallory")) for host in hosts_of("mallory", 50)]
    await turns(lambda: store.running == MAX_OWNERS_CLAIMS)

    async with asyncio.timeout(PATIENCE):
        row = await node.keeper.claim("ann-0.tun.example", "ann")

    assert row.owner == "ann"
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
    assert store.running == 0


async def test_a_claim_that_waits_for_its_owners_turn_keeps_the_name_from_nobody() -> None:
    """Otherwise an owner with many claims could keep any name from its own owner for as long as it goes on."""
    store = SlowShelf()
    store.hangs.add("mallory")
    store.goes_on.set()
    node = Node(store, [0.0])
    hosts = [*hosts_of("mallory", MAX_OWNERS_CLAIMS), "ann-0.tun.example"]
    stuck = [asyncio.create_task(node.keeper.claim(host, "mallory")) for host in hosts]
    await turns(lambda: store.running == MAX_OWNERS_CLAIMS)

    async with asyncio.timeout(PATIENCE):
        row = await node.keeper.claim("ann-0.tun.example", "ann")

    assert row.owner == "ann"
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


async def test_a_claim_that_hangs_gives_its_place_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_claims, "CLAIM_SECONDS", 0.01)
    monkeypatch.setattr(name_claims, "CLAIM_PAUSES", ())
    store = SlowShelf()
    store.hangs.add("ann")
    store.goes_on.set()
    node = Node(store, [0.0])
    hung = [asyncio.create_task(node.keeper.claim(host, "ann")) for host in hosts_of("ann", MAX_OWNERS_CLAIMS)]
    await turns(lambda: store.running == MAX_OWNERS_CLAIMS or all(task.done() for task in hung))
    for name in ("CLAIM_SECONDS", "WAIT_SECONDS"):
        monkeypatch.setattr(name_claims, name, PATIENCE)

    row = await node.keeper.claim("other.tun.example", "ann")
    failed = await asyncio.gather(*hung, return_exceptions=True)

    assert row.owner == "ann"
    assert [type(error) for error in failed] == [StoreError] * MAX_OWNERS_CLAIMS


async def test_a_claim_whose_turn_does_not_come_is_given_up_at_once_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = SlowShelf()
    node = Node(store, [0.0])
    running = [asyncio.create_task(node.keeper.claim(host, "ann")) for host in hosts_of("ann", MAX_OWNERS_CLAIMS)]
    await turns(lambda: store.running == MAX_OWNERS_CLAIMS)
    monkeypatch.setattr(name_claims, "WAIT_SECONDS", 0.01)

    with pytest.raises(NoTurn):
        await node.keeper.claim("late.tun.example", "ann")

    assert "late.tun.example" not in store.asked
    store.goes_on.set()
    assert all(row.owner == "ann" for row in await asyncio.gather(*running))
