"""Agents' credentials: what may be asked for, whose they are, and that what is revoked is worthless at once."""

from typing import Any

import pytest

from tests.services.people import OPERATOR, Office, acting
from tunnelrelay.agents import authtokens
from tunnelrelay.services import credentials
from tunnelrelay.services.problems import Kind, ManageError


@pytest.fixture
def office() -> Office:
    return Office()


async def test_a_credential_opens_the_door_for_its_owner_s_agents(office: Office) -> None:
    ann = await office.actor("ann", owner="red")

    token, text = await office.credentials.create(
        ann, description="ci", metadata='{"a":1}', acl=("bind:pr-*",), expires_at=office.clock() + 60
    )

    assert await authtokens.find(office.store, text) == token
    assert not authtokens.has_expired(token, office.clock())
    assert (token.owner, token.user_id, token.acl) == ("red", ann.user_id, ("bind:pr-*",))
    assert await office.credentials.get(ann, token.id) == token
    office.clock.now += 60
    assert authtokens.has_expired(token, office.clock())


async def test_row141_the_text_is_shown_once(office: Office) -> None:
    """Row 141."""
    ann = await office.actor("ann")
    token, text = await office.credentials.create(ann)

    kept = (token, await office.credentials.page(ann), vars(office.store), office.events())
    assert text not in repr(kept)


async def test_what_is_revoked_is_worthless_at_once_and_is_gone_from_lists(office: Office) -> None:
    ann = await office.actor("ann")
    token, text = await office.credentials.create(ann)
    office.events()

    await office.credentials.delete(ann, token.id)

    assert office.revoked == [token.id]
    assert await authtokens.find(office.store, text) is None
    assert await office.credentials.page(ann) == []
    for attempt in (office.credentials.get(ann, token.id), office.credentials.delete(ann, token.id)):
        with pytest.raises(ManageError) as refused:
            await attempt
        assert refused.value.kind is Kind.MISSING
    (event,) = office.events()
    assert (event.kind, event.actor, event.owner, event.details["links"]) == ("token.revoked", ann.user_id, "team", "1")


async def test_a_change_is_told_to_the_links_and_to_the_trail(office: Office) -> None:
    ann = await office.actor("ann")
    token, _ = await office.credentials.create(ann, acl=("bind:pr-*",))
    office.events()

    changed = await office.credentials.update(ann, token.id, acl=("bind:demo",), description="demo")

    assert (changed.acl, changed.description) == (("bind:demo",), "demo")
    assert await office.credentials.get(ann, token.id) == changed
    assert office.rereads == 1
    (event,) = office.events()
    assert (event.kind, event.details["before"]) == ("token.updated", '{"acl":["bind:pr-*"]}')
    assert event.details["after"] == '{"description":"demo","acl":["bind:demo"]}'


async def test_an_expiry_is_moved_and_taken_away(office: Office) -> None:
    ann = await office.actor("ann")
    token, _ = await office.credentials.create(ann, expires_at=office.clock() + 60)

    later = await office.credentials.update(ann, token.id, expires_at=office.clock() + 90)
    assert later.expires_at == office.clock() + 90
    assert (await office.credentials.update(ann, token.id, description="x")).expires_at == later.expires_at
    assert (await office.credentials.update(ann, token.id, never_expires=True)).expires_at is None


async def test_what_changes_nothing_disturbs_nobody(office: Office) -> None:
    ann = await office.actor("ann")
    token, _ = await office.credentials.create(ann, description="x")
    office.events()

    assert await office.credentials.update(ann, token.id, description="x") == token
    assert (office.rereads, office.events()) == (0, [])


@pytest.mark.parametrize(
    ("field", "wish"),
    [
        ("description", {"description": "a" * 256}),
        ("description", {"description": "\x1b[2J"}),
        ("metadata", {"metadata": "ä" * 2049}),
        ("acl", {"acl": ("demo",)}),
        ("acl", {"acl": ("bind:",)}),
        ("acl", {"acl": ("bind:a", "bind:../b")}),
        ("acl", {"acl": ("bind:a",) * 101}),
        ("expires_at", {"expires_at": 0.0}),
        ("expires_at", {"expires_at": float("inf")}),
    ],
)
async def test_what_cannot_be_is_refused_with_the_field_s_name(
    office: Office, field: str, wish: dict[str, Any]
) -> None:
    ann = await office.actor("ann")
    token, _ = await office.credentials.create(ann)
    for attempt in (office.credentials.create(ann, **wish), office.credentials.update(ann, token.id, **wish)):
        with pytest.raises(ManageError) as refused:
            await attempt
        assert (refused.value.kind, list(refused.value.fields)) == (Kind.INVALID, [field])
    assert await office.credentials.page(ann) == [token]


async def test_row142_a_member_makes_credentials_of_his_own_owner_only(office: Office) -> None:
    """Row 142."""
    ann = await office.actor("ann", owner="red")

    for owner in ("blue", "default", "no spaces"):
        with pytest.raises(ManageError) as refused:
            await office.credentials.create(ann, owner=owner)
        assert refused.value.kind is Kind.FORBIDDEN
    assert (await office.credentials.create(ann, owner="red"))[0].owner == "red"
    assert (await office.credentials.create(OPERATOR, owner="blue"))[0].owner == "blue"


async def test_a_key_without_the_scope_reads_and_writes_nothing(office: Office) -> None:
    user = await office.person("ann", role="admin")
    token, _ = await office.credentials.create(acting(user))
    reader = acting(user, "credentials:read")

    assert await office.credentials.page(reader) == [token]
    for attempt in (
        office.credentials.create(reader),
        office.credentials.update(reader, token.id, description="x"),
        office.credentials.delete(reader, token.id),
        office.credentials.page(acting(user, "edges:write")),
    ):
        with pytest.raises(ManageError) as refused:
            await attempt
        assert refused.value.code == "scope_missing"


async def test_a_member_s_owner_has_so_many_tokens(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "MAX_TOKENS", 2)
    ann, other = await office.actor("ann", owner="red"), await office.actor("bob", owner="blue")
    for _ in range(2):
        await office.credentials.create(ann)

    with pytest.raises(ManageError) as refused:
        await office.credentials.create(ann)

    assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "too_many")
    await office.credentials.create(other)
    await office.credentials.create(OPERATOR, owner="red")
    for token in await office.credentials.page(ann):
        await office.credentials.delete(ann, token.id)
    await office.credentials.create(ann)
