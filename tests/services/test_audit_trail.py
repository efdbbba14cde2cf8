"""The audit trail in the service layer: filters, pages, and that a member sees his owner's events only."""

import pytest

from tests.services.people import OPERATOR, Office, acting
from tunnelrelay.observe.audit_writer import row_of
from tunnelrelay.services.problems import ManageError


@pytest.fixture
async def office() -> Office:
    """A relay with events of two owners, and one of nobody."""
    office = Office()
    for number, (kind, owner) in enumerate(
        (("login.ok", "red"), ("login.denied", "red"), ("login.ok", "blue"), ("store.away", ""))
    ):
        office.clock.now += 1
        office.audit.record(kind, host=f"{owner or 'x'}.tun.example", owner=owner, number=str(number))
    await office.store.add_audit([row_of(event) for event in office.audit.take()])
    return office


async def test_an_administrator_sees_everything_the_newest_first(office: Office) -> None:
    rows = await office.trail.page(OPERATOR)
    assert [(row.kind, row.owner) for row in rows] == [
        ("store.away", ""),
        ("login.ok", "blue"),
        ("login.denied", "red"),
        ("login.ok", "red"),
    ]


async def test_pages_and_filters(office: Office) -> None:
    rows = await office.trail.page(OPERATOR, limit=2)
    assert len(await office.trail.page(OPERATOR, before=rows[-1].id)) == 2
    assert [row.owner for row in await office.trail.page(OPERATOR, kind="login.ok")] == ["blue", "red"]
    assert [row.kind for row in await office.trail.page(OPERATOR, host="red.tun.example")] == [
        "login.denied",
        "login.ok",
    ]
    assert [row.kind for row in await office.trail.page(OPERATOR, since=office.clock())] == ["store.away"]
    assert [row.owner for row in await office.trail.page(OPERATOR, owner="blue")] == ["blue"]
    assert await office.trail.page(OPERATOR, kind="no.such") == []


async def test_row138_a_member_sees_his_owner_s_events_whatever_he_asks_for(office: Office) -> None:
    """Row 138."""
    ann = await office.actor("ann", owner="red")

    assert {row.owner for row in await office.trail.page(ann)} == {"red"}
    assert await office.trail.page(ann, owner="blue") == []
    assert await office.trail.page(ann, host="blue.tun.example") == []
    assert await office.trail.page(ann, kind="store.away") == []
    assert len(await office.trail.page(ann, limit=1)) == 1


async def test_an_event_at_a_host_belongs_to_who_has_the_host(office: Office) -> None:
    office.registry.expect("red.tun.example", "red")
    office.audit.record("login.error", host="red.tun.example")
    (event,) = office.audit.take()
    assert event.owner == "red"


async def test_a_key_without_the_scope_sees_nothing(office: Office) -> None:
    admin = await office.person("admin", role="admin")
    with pytest.raises(ManageError) as refused:
        await office.trail.page(acting(admin, "edges:write"))
    assert refused.value.code == "scope_missing"
    assert await office.trail.page(acting(admin, "audit:read"))
