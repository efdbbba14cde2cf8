"""API keys: what they open, for whom, and for how long."""

from typing import Any

import pytest

from tests.services.people import OPERATOR, PEER, Office, acting
from tests.support.memory_store import MemoryStore
from tunnelctl.secret import redact
from tunnelrelay.services.actor import SCOPES
from tunnelrelay.services.api_keys import MAX_KEYS, TOUCH_SECONDS
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.store.base import StoreError


@pytest.fixture
def office() -> Office:
    return Office()


async def test_a_key_acts_for_its_user_with_its_scopes(office: Office) -> None:
    ann = await office.person("ann", role="admin")
    row, text = await office.keys.create(acting(ann), scopes=("edges:write", "audit:read"))

    actor = await office.keys.authenticate(text, PEER, "r1")

    assert actor is not None
    assert (actor.user_id, actor.owner, actor.is_admin, actor.via) == (ann.id, "team", True, "api")
    assert (actor.api_key_id, actor.peer, actor.request_id) == (row.id, PEER, "r1")
    assert actor.scopes == {"edges:write", "audit:read"}


async def test_row141_the_key_is_shown_once_and_kept_nowhere(office: Office) -> None:
    """Rows 141, 145."""
    ann = await office.actor("ann")
    row, text = await office.keys.create(ann, description="ci")

    assert text.startswith("ta_")
    assert redact(f"got {text}") == "got [redacted]"
    kept = (row, await office.keys.page(ann), await office.keys.get(ann, row.id), vars(office.store), office.events())
    assert text not in repr(kept)


async def test_row145_a_deleted_key_opens_nothing_at_any_relay(office: Office) -> None:
    """Row 145."""
    other = Office(office.store, office.clock)
    ann = await office.actor("ann")
    row, text = await office.keys.create(ann)
    assert await other.keys.authenticate(text, PEER, "r") is not None

    await office.keys.delete(ann, row.id)

    assert await office.keys.authenticate(text, PEER, "r") is None
    assert await other.keys.authenticate(text, PEER, "r") is None


async def test_a_key_is_good_until_its_time_is_over(office: Office) -> None:
    ann = await office.actor("ann")
    _, text = await office.keys.create(ann, expires_at=office.clock() + 10)

    office.clock.now += 9.9
    assert await office.keys.authenticate(text, PEER, "r") is not None
    office.clock.now += 0.1
    assert await office.keys.authenticate(text, PEER, "r") is None


async def test_a_user_who_lost_the_role_has_no_key_with_it(office: Office) -> None:
    await office.person("admin", role="admin")
    ann = await office.person("ann", role="admin")
    _, text = await office.keys.create(acting(ann))

    await office.users.update(OPERATOR, ann.id, role="member", owner="red")

    actor = await office.keys.authenticate(text, PEER, "r")
    assert actor is not None
    assert (actor.is_admin, actor.owner) == (False, "red")


@pytest.mark.parametrize(
    "text", ["", "ta_", "tt_" + "a" * 43, "tc_" + "a" * 43, "ta_" + "ä" * 43, "ta_" + "a" * 44, "\udc80"]
)
async def test_garbage_costs_no_look_into_the_store(text: str) -> None:
    class Away(MemoryStore):
        def __getattribute__(self, name: str) -> Any:
            if name in ("api_keys", "users"):
                raise AssertionError("looked")
            return super().__getattribute__(name)

    office = Office()
    office.store.__class__ = Away
    assert await office.keys.authenticate(text, PEER, "r") is None


async def test_a_store_that_is_away_lets_nobody_in(office: Office) -> None:
    _, text = await office.keys.create(await office.actor("ann"))

    async def away(**_: object) -> None:
        raise StoreError("away")

    office.store.api_keys.find = away
    with pytest.raises(ManageError) as refused:
        await office.keys.authenticate(text, PEER, "r")
    assert refused.value.kind is Kind.AWAY


async def test_the_last_use_is_noted_now_and_then(office: Office) -> None:
    ann = await office.actor("ann")
    row, text = await office.keys.create(ann)
    began = office.clock()

    for step in (0.0, TOUCH_SECONDS - 1, TOUCH_SECONDS):
        office.clock.now = began + step
        await office.keys.authenticate(text, PEER, "r")

    assert (await office.keys.get(ann, row.id)).last_used_at == began + TOUCH_SECONDS


@pytest.mark.parametrize(
    ("has", "asks"),
    [
        (("credentials:write",), ("*",)),
        (("credentials:write",), ("users:write",)),
        (("credentials:write", "edges:read"), ("edges:write",)),
        (("credentials:write", "edges:read"), ("edges:read", "traffic:read")),
    ],
)
async def test_row142_a_key_makes_none_that_may_more(
    office: Office, has: tuple[str, ...], asks: tuple[str, ...]
) -> None:
    """Row 142."""
    admin = await office.person("admin", role="admin")

    with pytest.raises(ManageError) as refused:
        await office.keys.create(acting(admin, *has), scopes=asks)

    assert list(refused.value.fields) == ["scopes"]


async def test_a_key_makes_those_that_may_less_or_as_much(office: Office) -> None:
    admin = acting(await office.person("admin", role="admin"), "credentials:write", "edges:write")

    for scopes in (("edges:read",), ("edges:write", "credentials:read")):
        assert (await office.keys.create(admin, scopes=scopes))[0].scopes == scopes


@pytest.mark.parametrize("scopes", [(), ("everything",), ("edges",), ("edges:delete",), ("edges:read", "")])
async def test_scopes_that_do_not_exist_are_refused(office: Office, scopes: tuple[str, ...]) -> None:
    with pytest.raises(ManageError) as refused:
        await office.keys.create(await office.actor("ann"), scopes=scopes)
    assert list(refused.value.fields) == ["scopes"]


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_person_can_give_every_scope_there_is(office: Office, scope: str) -> None:
    assert (await office.keys.create(await office.actor("ann"), scopes=(scope,)))[0].scopes == (scope,)


async def test_row138_keys_are_their_user_s_also_among_people_of_one_owner(office: Office) -> None:
    """Row 138."""
    ann, bob = await office.actor("ann"), await office.actor("bob")
    row, _ = await office.keys.create(ann)

    assert await office.keys.page(bob) == await office.keys.page(bob, owner=ann.owner) == []
    for attempt in (
        office.keys.get(bob, row.id),
        office.keys.update(bob, row.id, description="x"),
        office.keys.delete(bob, row.id),
    ):
        with pytest.raises(ManageError) as refused:
            await attempt
        assert refused.value.kind is Kind.MISSING
    with pytest.raises(ManageError) as other:
        await office.keys.create(bob, user_id=ann.user_id)
    with pytest.raises(ManageError) as nobody:
        await office.keys.create(bob, user_id="usr_none")
    assert str(other.value) == str(nobody.value)
    assert await office.keys.page(ann) == [row]


async def test_an_administrator_makes_and_sees_keys_of_others(office: Office) -> None:
    admin, ann = await office.actor("admin", role="admin"), await office.actor("ann")

    row, text = await office.keys.create(admin, user_id=ann.user_id)

    assert row in await office.keys.page(admin)
    actor = await office.keys.authenticate(text, PEER, "r")
    assert actor is not None
    assert (actor.user_id, actor.is_admin) == (ann.user_id, False)


async def test_one_user_cannot_fill_the_store_with_keys(office: Office) -> None:
    ann = await office.actor("ann")
    for _ in range(MAX_KEYS):
        await office.keys.create(ann)

    with pytest.raises(ManageError) as refused:
        await office.keys.create(ann)

    assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "too_many")


async def test_what_is_said_about_a_key_changes_and_what_it_may_do_does_not(office: Office) -> None:
    ann = await office.actor("ann")
    row, text = await office.keys.create(ann, scopes=("edges:read",))
    office.events()

    changed = await office.keys.update(ann, row.id, description="ci", metadata='{"a":1}')

    assert (changed.description, changed.metadata, changed.scopes) == ("ci", '{"a":1}', ("edges:read",))
    (event,) = office.events()
    assert (event.kind, event.actor) == ("api_key.updated", ann.user_id)
    assert await office.keys.authenticate(text, PEER, "r") is not None


@pytest.mark.parametrize(
    ("field", "wish"),
    [
        ("description", {"description": "a" * 256}),
        ("description", {"description": "a\x00b"}),
        ("metadata", {"metadata": "a" * 4097}),
        ("expires_at", {"expires_at": 1.0}),
        ("expires_at", {"expires_at": float("nan")}),
        ("expires_at", {"expires_at": 1e15}),
    ],
)
async def test_what_cannot_be_is_refused_with_the_field_s_name(
    office: Office, field: str, wish: dict[str, Any]
) -> None:
    with pytest.raises(ManageError) as refused:
        await office.keys.create(await office.actor("ann"), **wish)
    assert (refused.value.kind, list(refused.value.fields)) == (Kind.INVALID, [field])


async def test_no_key_is_made_for_a_user_whom_another_relay_removes_meanwhile(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Office(office.store, office.clock)
    ann = await office.person("ann")
    add = office.store.api_keys.add

    async def after_the_removal(row: Any, **more: Any) -> bool:
        """The user goes after the service has looked, and before the key is kept."""
        await other.users.delete(OPERATOR, ann.id)
        return await add(row, **more)

    monkeypatch.setattr(office.store.api_keys, "add", after_the_removal)

    with pytest.raises(ManageError) as refused:
        await office.keys.create(OPERATOR, user_id=ann.id)

    assert refused.value.kind is Kind.MISSING
    assert await office.store.api_keys.all() == []
