"""Users: who may change whom, and that an administrator is always left."""

import asyncio
from dataclasses import replace

import pytest

from tests.services.people import OPERATOR, Office, acting
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.users import has_enabled_admin


@pytest.fixture
def office() -> Office:
    return Office()


async def test_somebody_who_was_added_is_listed_and_found(office: Office) -> None:
    ann = await office.users.create(OPERATOR, "ann", "team", "member", "ann@acme.com")

    assert await office.users.page(OPERATOR) == [ann]
    assert await office.users.get(OPERATOR, ann.id) == ann
    assert (ann.owner, ann.role, ann.email) == ("team", "member", "ann@acme.com")


async def test_pages_go_on_behind_the_last_id(office: Office) -> None:
    made = []
    for number in range(5):
        office.clock.now += 1
        made.append(await office.person(f"user-{number}"))

    first = await office.users.page(OPERATOR, limit=2)
    second = await office.users.page(OPERATOR, limit=2, before=first[-1].id)

    assert [row.name for row in (*first, *second)] == ["user-4", "user-3", "user-2", "user-1"]


@pytest.mark.parametrize(
    ("field", "wish"),
    [
        ("name", {"name": ""}),
        ("name", {"name": " ann"}),
        ("name", {"name": "a" * 101}),
        ("name", {"name": "ann\x1b[2J"}),
        ("name", {"name": "ann\u202egnp"}),
        ("owner", {"owner": "no spaces"}),
        ("role", {"role": "root"}),
        ("email", {"email": "nobody"}),
        ("email", {"email": "a b@acme.com"}),
        ("email", {"email": "a@" + "b" * 300}),
    ],
)
async def test_what_cannot_be_is_refused_with_the_field_s_name(
    office: Office, field: str, wish: dict[str, str]
) -> None:
    with pytest.raises(ManageError) as refused:
        await office.users.create(OPERATOR, **{"name": "ann", "owner": "team", **wish})

    assert refused.value.kind is Kind.INVALID
    assert list(refused.value.fields) == [field]


async def test_a_name_is_had_once(office: Office) -> None:
    await office.person("ann")
    bob = await office.person("bob")

    for attempt in (office.person("ann"), office.users.update(OPERATOR, bob.id, name="ann")):
        with pytest.raises(ManageError) as refused:
            await attempt
        assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "name_taken")


async def test_a_change_is_told_with_before_and_after(office: Office) -> None:
    ann = await office.person("ann")
    office.events()

    await office.users.update(OPERATOR, ann.id, role="admin", owner="acme")

    (event,) = office.events()
    assert (event.kind, event.owner) == ("user.updated", "acme")
    assert event.details["before"] == '{"owner":"team","role":"member"}'
    assert event.details["after"] == '{"owner":"acme","role":"admin"}'


async def test_what_changes_nothing_is_no_event(office: Office) -> None:
    ann = await office.person("ann")
    office.events()

    assert await office.users.update(OPERATOR, ann.id, role="member") == ann
    assert office.events() == []


@pytest.mark.parametrize("change", [{"role": "member"}, {"disabled": True}])
async def test_row143_the_last_administrator_stays_one(office: Office, change: dict[str, object]) -> None:
    """Row 143."""
    admin = await office.person("admin", role="admin")
    off = await office.person("off", role="admin")
    await office.users.update(OPERATOR, off.id, disabled=True)

    for attempt in (office.users.update(OPERATOR, admin.id, **change), office.users.delete(OPERATOR, admin.id)):
        with pytest.raises(ManageError) as refused:
            await attempt
        assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "last_admin")
    assert (await office.users.get(OPERATOR, admin.id)).role == "admin"
    assert await has_enabled_admin(office.store)


async def test_two_administrators_who_demote_each_other_at_two_relays_leave_one(office: Office) -> None:
    other = Office(office.store, office.clock)
    one, two = await office.person("one", role="admin"), await office.person("two", role="admin")

    await asyncio.gather(
        office.users.update(acting(one), two.id, role="member"),
        other.users.update(acting(two), one.id, role="member"),
        return_exceptions=True,
    )

    assert await has_enabled_admin(office.store)


async def test_somebody_who_is_disabled_is_out_at_once_and_may_come_back(office: Office) -> None:
    ann = await office.person("ann")
    cookie = await office.signed_in(ann)
    _, key = await office.keys.create(acting(ann))

    await office.users.update(OPERATOR, ann.id, disabled=True)

    assert not await office.is_in(cookie)
    assert await office.keys.authenticate(key, "", "r") is None
    await office.users.update(OPERATOR, ann.id, disabled=False)
    assert not await office.is_in(cookie)
    assert await office.keys.authenticate(key, "", "r") is not None


async def test_somebody_who_is_deleted_leaves_no_key_and_no_sign_in(office: Office) -> None:
    ann = await office.person("ann")
    cookie = await office.signed_in(ann)
    code = await office.sign_ins.invite(None, ann.id)
    _, key = await office.keys.create(acting(ann))

    await office.users.delete(OPERATOR, ann.id)

    assert not await office.is_in(cookie)
    assert await office.keys.authenticate(key, "", "r") is None
    with pytest.raises(ManageError):
        await office.sign_ins.redeem(code, peer="")
    assert await office.store.api_keys.all() == await office.store.sign_ins.all() == []


async def test_somebody_who_changes_owner_sees_the_other_owner_s_things_from_then_on(office: Office) -> None:
    ann = await office.person("ann", owner="red")
    cookie = await office.signed_in(ann)

    await office.users.update(OPERATOR, ann.id, owner="blue")

    actor = await office.sign_ins.actor_of(cookie, peer="", request_id="r")
    assert actor is not None
    assert actor.only_owner == "blue"


async def test_row138_a_member_sees_himself_and_nobody_else(office: Office) -> None:
    """Row 138."""
    ann, bob = await office.person("ann"), await office.person("bob")

    assert await office.users.page(acting(ann)) == [ann]
    assert await office.users.page(acting(ann), before=ann.id) == []
    assert await office.users.get(acting(ann), ann.id) == ann
    with pytest.raises(ManageError) as other:
        await office.users.get(acting(ann), bob.id)
    with pytest.raises(ManageError) as nobody:
        await office.users.get(acting(ann), "usr_none")
    assert (str(other.value), other.value.kind) == (str(nobody.value), Kind.MISSING)


async def test_row142_no_member_changes_anybody_himself_included(office: Office) -> None:
    """Row 142."""
    ann, bob = await office.person("ann"), await office.person("bob")

    for user_id in (ann.id, bob.id, "usr_none"):
        for attempt in (
            office.users.update(acting(ann), user_id, role="admin"),
            office.users.update(acting(ann), user_id, owner="default"),
            office.users.delete(acting(ann), user_id),
        ):
            with pytest.raises(ManageError) as refused:
                await attempt
            assert (refused.value.kind, refused.value.code) == (Kind.FORBIDDEN, "admin_only")
    with pytest.raises(ManageError):
        await office.users.create(acting(ann), "eve", "team", "admin")


async def test_an_administrator_s_key_does_only_what_its_scopes_say(office: Office) -> None:
    admin = await office.person("admin", role="admin")

    assert await office.users.page(acting(admin, "users:read"))
    for actor, attempt in (
        (acting(admin, "edges:write"), office.users.page),
        (acting(admin, "users:read"), lambda who: office.users.create(who, "eve")),
    ):
        with pytest.raises(ManageError) as refused:
            await attempt(actor)
        assert refused.value.code == "scope_missing"
    assert await office.users.me(acting(admin, "edges:write")) == admin


async def test_the_role_of_somebody_from_the_provider_is_the_provider_s_to_say(office: Office) -> None:
    ann = await office.person("ann")
    await office.store.users.replace(replace(ann, issuer="https://idp.acme.example", version=2))

    with pytest.raises(ManageError) as refused:
        await office.users.update(OPERATOR, ann.id, role="admin")

    assert list(refused.value.fields) == ["role"]
