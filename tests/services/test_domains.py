"""Reserved host names: who gets one, what it keeps others from, and what is said to whom it is not for."""

import asyncio

import pytest

from tests.services.people import COOL, OPERATOR, Office, acting
from tests.support.tunnels import fake_tunnel
from tunnelrelay.agents.host_names import is_random
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.registry import LOST_SECONDS
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.store.base import NameRow, SessionCriteria
from tunnelrelay.store.resources import EdgeRow

HOST = "demo.tun.example"


@pytest.fixture
def office() -> Office:
    return Office()


async def bind(office: Office, host: str, owner: str) -> NameRow:
    """What the store says to an agent of this owner."""
    return await office.store.claim_name(
        host, owner, office.clock(), lost_seconds=LOST_SECONDS, cool_seconds=office.base.cool_seconds
    )


@pytest.mark.parametrize("wish", ["demo", "demo.tun.example", "DEMO.tun.example.", " Demo "])
async def test_a_name_is_reserved_by_label_or_host(office: Office, wish: str) -> None:
    ann = await office.actor("ann")

    row = await office.domains.create(ann, wish, "the demo", "{}")

    assert (row.host, row.owner, row.description) == (HOST, "team", "the demo")
    assert await office.domains.page(ann) == [row]
    assert await office.domains.get(ann, row.id) == row


async def test_without_a_wish_the_name_is_one_that_nobody_guesses(office: Office) -> None:
    row = await office.domains.create(await office.actor("ann"))
    assert is_random(row.host.removesuffix(".tun.example"))


@pytest.mark.parametrize(
    "wish",
    [
        "api",
        "dashboard.tun.example",
        "_x",
        "a.b",
        "a.b.tun.example",
        "demo.other.example",
        "ä",
        "xn--a",
        "a" * 64,
        "a b",
    ],
)
async def test_a_name_that_no_tunnel_could_have_is_refused(office: Office, wish: str) -> None:
    with pytest.raises(ManageError) as refused:
        await office.domains.create(await office.actor("ann"), wish)
    assert (refused.value.kind, list(refused.value.fields)) == (Kind.INVALID, ["domain"])


async def test_row138_a_name_that_is_another_s_is_refused_alike_whatever_they_do_with_it(office: Office) -> None:
    """Row 138."""
    red, blue = await office.actor("ann", owner="red"), await office.actor("bob", owner="blue")
    await office.domains.create(red, "reserved")
    await bind(office, "bound.tun.example", "red")
    await office.domains.create(blue, "mine")

    for label in ("reserved", "bound", "mine"):
        with pytest.raises(ManageError) as refused:
            await office.domains.create(blue, label)
        assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "domain_taken")
        assert str(refused.value) == f"{label}.tun.example is reserved or in use already."
        assert "red" not in str(refused.value).replace("reserved", "")


async def test_nobody_else_s_agent_gets_a_reserved_name_however_long_it_lies(office: Office) -> None:
    await office.domains.create(await office.actor("ann", owner="red"), "demo")

    office.clock.now += 1000 * 86_400

    assert (await bind(office, HOST, "blue")).owner == "red"
    assert (await bind(office, HOST, "red")).owner == "red"


async def test_whoever_serves_a_name_may_reserve_it(office: Office) -> None:
    await bind(office, HOST, "team")
    assert (await office.domains.create(await office.actor("ann"), "demo")).host == HOST


async def test_of_two_owners_who_ask_at_two_relays_at_once_one_gets_it(office: Office) -> None:
    other = Office(office.store, office.clock)
    red, blue = await office.actor("ann", owner="red"), await office.actor("bob", owner="blue")

    done = await asyncio.gather(
        office.domains.create(red, "demo"), other.domains.create(blue, "demo"), return_exceptions=True
    )

    assert sum(isinstance(each, ManageError) for each in done) == 1


async def test_a_released_name_cools_down(office: Office) -> None:
    red, blue = await office.actor("ann", owner="red"), await office.actor("bob", owner="blue")
    row = await office.domains.create(red, "demo")

    await office.domains.delete(red, row.id)

    office.clock.now += COOL - 1
    with pytest.raises(ManageError):
        await office.domains.create(blue, "demo")
    assert (await bind(office, HOST, "blue")).owner == "red"
    office.clock.now += 1
    assert (await office.domains.create(blue, "demo")).owner == "blue"
    assert [event.kind for event in office.events("name.")] == ["name.changed_hands"]


async def test_what_a_former_owner_s_visitors_had_ends_when_the_name_changes_hands(office: Office) -> None:
    await bind(office, HOST, "red")
    await office.store.release_name(HOST, "red", office.clock())
    office.clock.now += COOL

    await office.domains.create(await office.actor("bob", owner="blue"), "demo")

    assert office.ended == [SessionCriteria(host=HOST)]


async def test_a_name_that_is_served_at_its_release_stays_its_agents(office: Office) -> None:
    ann = await office.actor("ann")
    row = await office.domains.create(ann, "demo")
    office.registry.expect(HOST, "team", 1)
    endpoint = office.registry.find(HOST)
    assert endpoint is not None
    endpoint.policy = Policy()
    endpoint.tunnels = [fake_tunnel()]

    await office.domains.delete(ann, row.id)

    office.clock.now += COOL / 2
    held = await office.store.name(HOST)
    assert held is not None
    assert held.released_at is None


async def test_a_name_an_edge_answers_at_is_not_released(office: Office) -> None:
    ann = await office.actor("ann")
    row = await office.domains.create(ann, "demo")
    now = office.clock()
    edge = EdgeRow(id="edghts_1", owner="team", created_at=now, updated_at=now, host=HOST, settings="{}")
    await office.store.edges.add(edge)

    with pytest.raises(ManageError) as refused:
        await office.domains.delete(ann, row.id)
    assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "in_use")
    await office.store.edges.delete(edge.id)
    await office.domains.delete(ann, row.id)
    assert await office.domains.page(ann) == []


async def test_what_is_said_about_a_name_changes(office: Office) -> None:
    ann = await office.actor("ann")
    row = await office.domains.create(ann, "demo", "old")
    office.events()

    changed = await office.domains.update(ann, row.id, description="new", metadata="{}")

    assert (changed.description, changed.version) == ("new", 2)
    (event,) = office.events()
    assert (event.kind, event.host, event.details["before"]) == ("domain.updated", HOST, '{"description":"old"}')


async def test_row142_a_member_reserves_for_his_own_owner(office: Office) -> None:
    """Row 142."""
    ann = await office.actor("ann", owner="red")
    with pytest.raises(ManageError) as refused:
        await office.domains.create(ann, "demo", owner="blue")
    assert refused.value.kind is Kind.FORBIDDEN
    assert (await office.domains.create(OPERATOR, "demo", owner="blue")).owner == "blue"


async def test_the_name_of_a_reservation_is_never_forgotten(office: Office) -> None:
    row = await office.domains.create(await office.actor("ann"))
    office.clock.now += 1000 * 86_400

    assert await office.domains.names.refresh()

    assert await office.store.name(row.host) is not None


async def test_a_key_without_the_scope_reserves_nothing(office: Office) -> None:
    user = await office.person("ann", role="admin")
    with pytest.raises(ManageError) as refused:
        await office.domains.create(acting(user, "domains:read"), "demo")
    assert refused.value.code == "scope_missing"
