"""What is set up and the running relay: at its start, after changes of others, and while the store is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.services.test_edges import SECRET as SECRETS
from tests.services.test_edges import guarded, login, with_policy
from tests.services.test_providers import SECRET, WORK, by_name
from tests.support.managed import ADMIN, ANN, Managed
from tests.support.memory_store import MemoryStore
from tests.support.tunnels import fake_tunnel
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.policy.rules import CLOSED, Policy
from tunnelrelay.services.edge_policy import EdgePolicies
from tunnelrelay.services.edge_settings import EdgeSettings
from tunnelrelay.services.edges import Change, EdgeDraft
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.store.base import Store, StoreError
from tunnelrelay.store.postgresql import PostgresqlStore
from tunnelrelay.store.store import SqliteStore

HOST = "demo.tun.example"


@pytest.fixture
def managed() -> Managed:
    return Managed()


@pytest.fixture(params=["sqlite", "postgresql"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    """The same database, opened by two relays."""
    if request.param == "postgresql":
        url = DatabaseUrl(await request.getfixturevalue("postgres").database())
        pair: tuple[Store, Store] = await PostgresqlStore.open(url), await PostgresqlStore.open(url)
    else:
        pair = await SqliteStore.open(tmp_path / "relay.db"), await SqliteStore.open(tmp_path / "relay.db")
    yield pair
    for store in pair:
        await store.close()


def two_relays(stores: tuple[Store, Store]) -> tuple[Managed, Managed]:
    """Relays that share a store and their keys."""
    here = Managed(store=stores[0])
    return here, Managed(store=stores[1], ring=here.ring, clock=here.clock)


class AwayStore(MemoryStore):
    """A store that can be switched off."""

    is_away = False

    async def revisions(self) -> dict[str, int]:
        if self.is_away:
            raise StoreError("gone fishing")
        return await super().revisions()


async def test_a_relay_that_starts_brings_every_edge_in_force(managed):
    await guarded(managed)
    again = Managed(store=managed.store, ring=managed.ring, clock=managed.clock)

    await again.sync.load()

    assert again.policy(HOST) == managed.policy(HOST)
    assert again.registry.find(HOST).edge


async def test_a_change_at_one_relay_acts_at_the_other_with_its_next_look(stores):
    here, there = two_relays(stores)
    await there.sync.load()

    made = await guarded(here)
    assert there.policy(HOST) is None
    await there.sync.look()
    assert there.policy(HOST).connection.client_secret.reveal() == "hush-hush-client"

    await here.services.edges.set_policy(ANN, made.id, login(allow_groups=("a",)))
    await there.sync.look()
    assert there.policy(HOST).connection.rules.groups == {"a"}

    await here.services.edges.delete(ANN, made.id)
    await there.sync.look()
    assert there.registry.find(HOST) is None


async def test_a_group_s_labels_act_at_the_other_relay(stores):
    here, there = two_relays(stores)
    made = await here.services.edges.create(ANN, EdgeDraft(host="demo"))
    group = await here.services.backends.create(ANN, (("team", "red"),))
    await here.services.edges.set_backend(ANN, made.id, group.id)
    await there.sync.load()
    blue = there.join("ann", (("team", "blue"),))

    await here.services.backends.update(ANN, group.id, labels=(("team", "blue"),))
    await there.sync.look()

    assert there.registry.find(HOST).tunnels == (blue,)


async def test_a_provider_s_change_acts_at_the_other_relay(stores):
    here, there = two_relays(stores)
    provider = await here.services.providers.create(ADMIN, "work", WORK, SECRET)
    made = await here.services.edges.create(ANN, EdgeDraft(host="demo"))
    await here.services.edges.set_policy(ANN, made.id, by_name())
    await there.sync.load()

    await here.services.providers.update(ADMIN, provider.id, owners=("bob",))
    await there.sync.look()

    assert there.policy(HOST) == CLOSED


async def test_a_look_without_news_reads_nothing_but_the_revisions(managed):
    await guarded(managed)
    await managed.sync.look()
    reads = []
    managed.store.edges.all = _noted(reads, managed.store.edges.all)

    await managed.sync.look()

    assert reads == []


async def test_rules_that_did_not_change_are_neither_read_nor_compiled_anew(managed, monkeypatch):
    """A tenant's thousand large edges: each change of any edge or group would hold up everybody on every relay."""
    group = await managed.services.backends.create(ANN, [("app", "web")])
    for number in range(3):
        made = await guarded(managed, f"demo{number}")
        await managed.services.edges.set_backend(ANN, made.id, group.id)
    await managed.sync.look()
    work: list[str] = []
    for name in ("compile", "settings"):
        done = getattr(EdgePolicies, name)
        monkeypatch.setattr(
            EdgePolicies, name, lambda *args, _name=name, _done=done, **more: work.append(_name) or _done(*args, **more)
        )

    await managed.services.backends.update(ANN, group.id, labels=[("app", "shop")])
    by_group = list(work)
    await managed.services.backends.update(ADMIN, group.id, description="of the shop")
    work.clear()
    await managed.sync.look()

    assert "compile" not in by_group
    assert work == []
    assert managed.registry.find("demo0.tun.example").policy.connection is not None


async def test_an_edge_that_did_not_change_is_not_put_anew(managed):
    """What waits for a tunnel, and what was remembered of an endpoint, survive changes of other edges."""
    await guarded(managed)
    before = managed.registry.find(HOST), managed.policy(HOST)

    await managed.services.edges.create(ANN, EdgeDraft(host="other"))
    await managed.sync.look()
    await managed.sync.reload()

    assert managed.registry.find(HOST) is before[0]
    assert managed.policy(HOST) is before[1]


async def test_a_store_that_is_away_leaves_everything_in_force_and_is_told_once(caplog):
    managed = Managed(store=AwayStore())
    await guarded(managed)
    managed.store.is_away = True

    for _ in range(3):
        await managed.sync.look()

    assert managed.policy(HOST).connection is not None
    assert caplog.text.count("edge sync failed, retrying") == 1
    managed.store.is_away = False
    await managed.sync.look()


async def test_what_changed_while_the_store_was_away_is_seen_when_it_is_back():
    store = AwayStore()
    here = Managed(store=store)
    there = Managed(store=store, ring=here.ring, clock=here.clock)
    await there.sync.load()
    made = await guarded(here)
    store.is_away = True
    await there.sync.look()
    store.is_away = False

    await there.sync.look()

    assert there.registry.find(HOST).edge == made.id


async def test_a_relay_whose_store_cannot_be_read_does_not_start():
    store = AwayStore()
    store.is_away = True

    with pytest.raises(StoreError):
        await Managed(store=store).sync.load()


async def test_a_store_that_was_replaced_takes_along_what_was_not_in_it(managed):
    """After a restore: an edge that was made since the backup is gone."""
    made = await guarded(managed)
    managed.store.edges.clear()

    await managed.sync.reload()

    assert managed.registry.find(HOST) is None
    assert managed.table.get(made.id) is None


async def test_a_reload_that_the_store_interrupts_is_made_up_for_by_the_next_look():
    """Until then everything stays in force, and after it a provider's change acts on every edge again."""
    managed = Managed(store=AwayStore())
    provider = await managed.services.providers.create(ADMIN, "work", WORK, SECRET)
    made = await managed.services.edges.create(ANN, EdgeDraft(host="demo"))
    await managed.services.edges.set_policy(ANN, made.id, by_name())
    managed.store.is_away = True
    with pytest.raises(StoreError):
        await managed.sync.reload()
    assert managed.policy(HOST).connection is not None
    managed.store.is_away = False

    await managed.sync.look()
    await managed.services.providers.update(ADMIN, provider.id, owners=("bob",))

    assert managed.policy(HOST) == CLOSED


async def test_two_relays_that_change_one_edge_at_once_lose_no_change(stores):
    """Each is a comparison and swap: whoever was slower makes the change anew of what is there then."""
    here, there = two_relays(stores)
    made = await guarded(here)
    await there.sync.load()

    def and_group(name: str) -> Change:
        def change(old: EdgeSettings) -> EdgeSettings:
            return login(allow_groups=(*old.policy.oidc.allow_groups, name))(old)

        return change

    turns = [(relay, f"{number}-{at}") for number in range(4) for at, relay in enumerate((here, there))]
    for first, second in zip(turns[::2], turns[1::2], strict=True):
        pair = (relay.services.edges.set_policy(ANN, made.id, and_group(name)) for relay, name in (first, second))
        await asyncio.gather(*pair)
    for relay in (here, there):
        await relay.sync.look()

    assert here.policy(HOST).connection.rules.groups == {name for _, name in turns}
    assert there.policy(HOST) == here.policy(HOST)


async def test_two_changes_that_overtake_each_other_leave_the_newer_one_in_force(managed):
    """The one that was written first is applied last: it must not bring the older rules back."""
    made = await guarded(managed)
    gate, begun, get, reads = asyncio.Event(), asyncio.Event(), managed.store.edges.get, []

    async def slow_get(row_id):
        reads.append(row_id)
        if len(reads) == 2:  # the first change is written, and about to be applied
            begun.set()
            await gate.wait()
        return await get(row_id)

    managed.store.edges.get = slow_get
    first = asyncio.create_task(
        managed.services.edges.set_policy(ANN, made.id, with_policy(cidr_allow=("10.0.0.0/8",)))
    )
    await begun.wait()
    second = asyncio.create_task(
        managed.services.edges.set_policy(ANN, made.id, with_policy(cidr_allow=("192.0.2.0/24",)))
    )
    for _ in range(20):
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, second)

    assert [str(network) for network in managed.policy(HOST).cidr_allow] == ["192.0.2.0/24"]


async def test_pages_hear_of_what_was_changed_at_another_relay(stores):
    here, there = two_relays(stores)
    await there.sync.load()
    following = there.feed.follow({"users", "credentials", "domains:ann"})
    await anext(following)

    await here.services.users.create(ADMIN, "carol", "carol")
    await here.services.credentials.create(ANN)
    await there.sync.look()

    assert await anext(following) == {"users", "credentials"}


async def test_pages_that_follow_an_edge_hear_of_it_at_every_relay():
    """Also at the one that only finds the change in the store."""
    here = Managed()
    there = Managed(store=here.store, ring=here.ring, clock=here.clock)
    await there.sync.load()
    made = await here.services.edges.create(ANN, EdgeDraft(host="demo"))
    following = [managed.feed.follow({f"edge:{made.id}", "edges:ann"}) for managed in (here, there)]
    for each in following:
        await anext(each)

    await here.services.edges.set_policy(ANN, made.id, login(), SECRETS)
    await there.sync.look()

    for each in following:
        assert await anext(each)


async def test_an_agent_loses_a_host_that_becomes_an_edge(managed):
    lost = []
    managed.registry.claim(
        fake_tunnel("ann", lose=lambda message, hint: lost.append(message)), HOST, Policy(), generation=1
    )

    await guarded(managed)

    assert lost == [f"{HOST} is the name of an edge now"]
    assert managed.policy(HOST).connection is not None


async def test_a_store_that_goes_away_during_a_change_is_told(managed):
    async def away(_row, **_more):
        raise StoreError("locked")

    made = await guarded(managed)
    managed.store.edges.replace = away

    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, made.id, login(allow_groups=("a",)))

    assert refused.value.kind is Kind.AWAY
    assert "locked" not in refused.value.message
    assert managed.policy(HOST).connection.rules.groups == frozenset()


async def test_an_edge_of_a_newer_release_is_closed_not_opened(managed):
    """Unknown settings may be restrictions."""
    made = await guarded(managed)
    row = await managed.store.edges.get(made.id)
    settings = {**msgspec.json.decode(row.settings), "mutual_tls": {"required": True}}
    text = msgspec.json.encode(settings).decode()
    managed.store.edges.put(replace(row, settings=text, version=row.version + 1))

    await managed.sync.reload()

    assert managed.policy(HOST) == CLOSED


async def test_a_change_that_was_written_before_the_store_went_away_acts_with_the_next_look(managed):
    made = await guarded(managed)
    store, replaced = managed.store, managed.store.edges.replace
    read = store.edges.get

    async def away(_id):
        raise StoreError("gone")

    async def last_act(row, **more):
        store.edges.get = away
        return await replaced(row, **more)

    store.edges.replace = last_act
    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, made.id, login(allow_groups=("a",)))
    store.edges.get = read
    await managed.sync.look()

    assert refused.value.kind is Kind.AWAY
    assert managed.policy(HOST).connection.rules.groups == {"a"}


async def test_one_edge_that_nobody_foresaw_is_closed_and_stops_no_other(managed, monkeypatch, caplog):
    """The boundary of an edge: every later change of every other edge must still act."""
    made = await guarded(managed)
    row = await managed.store.edges.get(made.id)
    text = EdgeSettings(route=made.settings.route, disabled=("unheard_of",)).encode()
    managed.store.edges.put(replace(row, settings=text, version=row.version + 1))

    other = await guarded(managed, "other")
    await managed.sync.look()
    await managed.sync.reload()

    assert managed.policy(HOST) == CLOSED
    assert managed.policy("other.tun.example").connection is not None
    assert (await managed.services.edges.get(ANN, made.id)).problem
    assert (await managed.services.edges.get(ANN, other.id)).problem == ""
    assert "edge refuses all requests" in caplog.text


def _noted(reads: list[str], call: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    async def noted(*args: object, **kwargs: object) -> object:
        reads.append("all")
        return await call(*args, **kwargs)

    return noted
