"""Visitors' logins in the service layer: whose a member sees, and that revoking one is heard of."""

import hashlib

import pytest

from tests.services.people import OPERATOR, Office
from tunnelrelay.registry.registry import LOST_SECONDS
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.store.base import SessionCriteria, SessionHolder, SessionRow
from tunnelrelay.store.resources import EdgeRow

RED, BLUE = "red.tun.example", "blue.tun.example"


@pytest.fixture
async def office() -> Office:
    """Two owners with a name each, and three people who are signed in there."""
    office = Office()
    for host, owner in ((RED, "red"), (BLUE, "blue")):
        await office.store.claim_name(host, owner, office.clock(), lost_seconds=LOST_SECONDS, cool_seconds=1000.0)
    await sign_in(office, RED, "alice", seconds_ago=30)
    await sign_in(office, RED, "bob", seconds_ago=20)
    await sign_in(office, BLUE, "alice", seconds_ago=10)
    return office


async def sign_in(office: Office, host: str, who: str, *, seconds_ago: float = 0.0) -> None:
    now = office.clock() - seconds_ago
    row = SessionRow(
        key=hashlib.sha256(f"cookie of {who} at {host}".encode()).digest(),
        host=host,
        connection_id="conn",
        epoch="e",
        issuer="https://idp.acme.example",
        subject=who,
        email=f"{who}@acme.example",
        created_at=now,
        last_seen=now,
        expires_at=office.clock() + 3600,
        sealed=b"sealed claims and tokens",
    )
    await office.store.save_session(row)


async def test_an_administrator_sees_all_the_most_recently_used_first(office: Office) -> None:
    found = await office.logins.page(OPERATOR)
    assert [(login.host, login.subject) for login in found] == [(BLUE, "alice"), (RED, "bob"), (RED, "alice")]


async def test_a_host_and_a_person_are_asked_for(office: Office) -> None:
    assert [login.subject for login in await office.logins.page(OPERATOR, host=RED)] == ["bob", "alice"]
    assert [login.host for login in await office.logins.page(OPERATOR, email="ALICE@acme.example")] == [BLUE, RED]
    assert await office.logins.page(OPERATOR, host=BLUE, email="bob@acme.example") == []


async def test_a_list_goes_on_behind_the_last_handle(office: Office) -> None:
    first = await office.logins.page(OPERATOR, limit=2)
    second = await office.logins.page(OPERATOR, limit=2, before=first[-1].id)
    assert [login.subject for login in (*first, *second)] == ["alice", "bob", "alice"]
    assert await office.logins.page(OPERATOR, before="0" * 16) == []


async def test_what_has_run_out_is_not_shown(office: Office) -> None:
    office.clock.now += 3601
    assert await office.logins.page(OPERATOR) == []


async def test_row141_a_login_is_shown_without_what_opens_or_is_sealed(office: Office) -> None:
    """Row 141."""
    (login,) = await office.logins.page(OPERATOR, host=BLUE)
    key = hashlib.sha256(f"cookie of alice at {BLUE}".encode()).digest()

    assert login.id == key.hex()[:16]
    assert key.hex() not in repr(login)
    assert "sealed" not in repr(login)


async def test_row138_a_member_sees_those_at_his_owner_s_hosts(office: Office) -> None:
    """Row 138."""
    ann = await office.actor("ann", owner="red")

    assert {login.host for login in await office.logins.page(ann)} == {RED}
    assert await office.logins.page(ann, host=BLUE) == []
    assert [login.host for login in await office.logins.page(ann, email="alice@acme.example")] == [RED]
    (theirs,) = await office.logins.page(OPERATOR, host=BLUE)
    for attempt in (office.logins.get(ann, theirs.id), office.logins.revoke(ann, theirs.id)):
        with pytest.raises(ManageError) as refused:
            await attempt
        with pytest.raises(ManageError) as nobody:
            await office.logins.get(ann, "0" * 16)
        assert (refused.value.kind, str(refused.value)) == (Kind.MISSING, str(nobody.value))
    assert len(await office.logins.page(OPERATOR)) == 3


async def test_a_reserved_domain_s_and_an_edge_s_logins_are_the_owner_s(office: Office) -> None:
    ann = await office.actor("ann", owner="green")
    row = await office.domains.create(ann, "green")
    await sign_in(office, row.host, "carol")
    now = office.clock()
    edge = EdgeRow(id="edghts_1", owner="green", created_at=now, updated_at=now, host="edge.tun.example", settings="{}")
    await office.store.edges.add(edge)
    await sign_in(office, "edge.tun.example", "dave")

    assert {login.subject for login in await office.logins.page(ann)} == {"carol", "dave"}


async def test_row138_a_name_that_went_to_another_owner_shows_him_nothing_of_the_new_one(office: Office) -> None:
    """Row 138."""
    ann = await office.actor("ann", owner="red")
    await office.store.release_name(RED, "red", office.clock())
    office.clock.now += 2000
    await office.store.claim_name(RED, "blue", office.clock(), lost_seconds=LOST_SECONDS, cool_seconds=1000.0)

    assert await office.logins.page(ann) == []


async def test_a_revoked_login_has_ended_and_is_heard_of_at_once(office: Office) -> None:
    ann = await office.actor("ann", owner="red")
    (bob, _) = await office.logins.page(ann)
    office.events()

    await office.logins.revoke(ann, bob.id)

    assert [login.subject for login in await office.logins.page(ann)] == ["alice"]
    assert office.heard == 1
    assert len(await office.store.ended_since(office.clock())) == 1
    (event,) = office.events()
    assert (event.kind, event.host, event.actor) == ("session.revoke", RED, ann.user_id)
    assert event.person == office.audit.person("https://idp.acme.example", "bob")
    assert "bob" not in repr(event)


async def test_row146_a_page_asks_the_store_once_however_many_names_its_reader_holds(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 146."""
    ann = await office.actor("ann", owner="red")
    for number in range(30):
        await office.domains.create(ann, f"red-{number}")
    asked: list[SessionCriteria | None] = []
    answer = office.store.sessions

    async def counting(
        criteria: SessionCriteria | None = None, *, limit: int = 1000, after: SessionHolder | None = None
    ) -> list[SessionHolder]:
        asked.append(criteria)
        return await answer(criteria, limit=limit, after=after)

    monkeypatch.setattr(office.store, "sessions", counting)
    found = await office.logins.page(ann)

    assert [(login.host, login.subject) for login in found] == [(RED, "bob"), (RED, "alice")]
    assert len(asked) == 1
