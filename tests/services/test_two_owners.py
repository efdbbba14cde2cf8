"""What a member reads of events and refusals, and that no other owner's facts are in it."""

import json
from typing import Any

import pytest

from tests.support.every import every
from tests.support.managed import ADMIN, ANN, BOB, COOL_SECONDS, FakeClock, Managed, actor
from tunnelrelay.observe.audit import KINDS, AuditEvent
from tunnelrelay.observe.audit_writer import row_of
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.provider_settings import ProviderSettings
from tunnelrelay.store.base import AuditRow, SessionRow
from tunnelrelay.store.resources import UserRow

WORK = ProviderSettings(issuer="https://acme.okta.com", client_id="0oa1")
FORMER = "former-owner"
THEIRS = actor("fay", FORMER)


async def read(managed: Managed, who: Actor, kind: str | None = None) -> list[AuditRow]:
    """What somebody reads in the audit log."""
    await managed.store.add_audit([row_of(event) for event in managed.audit.take()])
    return await managed.services.audit.page(who, kind=kind)


def user(who: Actor) -> UserRow:
    return UserRow(id=who.user_id, owner=who.owner, created_at=0, updated_at=0, name=who.name, key=who.user_id)


async def hand_over(managed: Managed) -> None:
    """A name goes from one owner to ann, with a visitor of the former one signed in."""
    domain = await managed.services.domains.create(THEIRS, "shop")
    now = managed.clock()
    session = {"connection_id": "c", "epoch": "e", "issuer": "i", "subject": "s", "email": "", "sealed": b""}
    await managed.store.save_session(
        SessionRow(key=b"k" * 32, host=domain.host, created_at=now, last_seen=now, expires_at=now + 1e6, **session)
    )
    await managed.services.domains.delete(THEIRS, domain.id)
    assert isinstance(managed.clock, FakeClock)
    managed.clock.now += COOL_SECONDS + 1
    await managed.services.domains.create(ANN, "shop")


async def test_the_new_owner_of_a_name_does_not_learn_who_had_it():
    managed = Managed()
    await hand_over(managed)

    (told,) = await read(managed, ANN, "name.changed_hands")
    (whole,) = await read(managed, ADMIN, "name.changed_hands")

    assert json.loads(told.details) == {"generation": "2"}
    assert json.loads(whole.details) == {"former": FORMER, "generation": "2", "sessions": "1"}
    assert FORMER not in repr(await read(managed, ANN))


async def test_a_member_of_the_administrators_owner_does_not_learn_who_else_may_use_a_provider():
    managed = Managed()
    dee = actor("dee", "default")
    made = await managed.services.providers.create(ADMIN, "work", WORK, "hush", owners=("default", FORMER))
    await managed.services.providers.update(ADMIN, made.row.id, owners=("bob", "default", FORMER))

    rows = await read(managed, dee)

    assert [row.kind for row in rows] == ["provider.updated", "provider.created"]
    assert not {"bob", FORMER} & set(repr(rows).replace("\\", "").split('"'))
    assert json.loads(json.loads(rows[1].details)["after"])["owners"] == ["default"]


async def test_who_comes_from_another_owner_does_not_say_from_which():
    managed = Managed()
    moved = await managed.services.users.create(ADMIN, "gus", FORMER, "member")
    await managed.services.users.update(ADMIN, moved.id, owner="ann")

    (row,) = await read(managed, ANN)

    assert row.kind == "user.updated"
    assert json.loads(json.loads(row.details)["after"]) == {"owner": "ann"}
    assert FORMER not in repr(row)


async def test_an_administrator_s_address_and_key_are_not_a_member_s_to_read():
    managed = Managed()
    await managed.store.users.add(user(ANN))
    admin = Actor(**{**_fields(ADMIN), "api_key_id": "ak_admins", "peer": "198.51.100.77", "request_id": "r-admin"})
    own = await managed.services.backends.create(ANN, (("a", "b"),))
    await managed.services.backends.update(admin, own.id, description="tidied up")

    theirs, mine = await read(managed, ANN)

    assert (theirs.kind, theirs.actor, theirs.peer, theirs.request_id) == ("backend.updated", admin.user_id, "", "")
    assert "ak_admins" not in theirs.details
    assert (mine.peer, mine.request_id) == (ANN.peer, ANN.request_id)


@every("kind", KINDS)
async def test_no_kind_of_event_tells_a_member_of_another_owner(kind):
    managed = Managed()
    sides = {"owner": FORMER, "owners": ["ann", FORMER], "description": "x"}
    details = {
        **({"former": FORMER} if kind == "name.changed_hands" else {}),
        "before": json.dumps(sides),
        "after": json.dumps(sides | {"owner": "ann"}),
        "api_key": f"ak_{FORMER}",
    }
    event = AuditEvent(at=1.0, kind=kind, owner="ann", actor=f"usr_{FORMER}", peer="198.51.100.77", details=details)
    await managed.store.add_audit([row_of(event)])

    (row,) = await read(managed, ANN)
    (whole,) = await read(managed, ADMIN)

    assert FORMER not in row.details
    assert row.peer == ""
    assert json.loads(whole.details) == details


async def _refused(work: Any) -> str:
    with pytest.raises(ManageError) as refused:
        await work
    return f"{refused.value.message} {refused.value.hint} {refused.value.fields}"


async def test_no_refusal_names_the_owner_who_is_in_the_way():
    managed = Managed()
    services = managed.services
    await services.edges.create(THEIRS, EdgeDraft(host="edge"))
    await services.domains.create(THEIRS, "kept")
    given_up = await services.domains.create(THEIRS, "cooling")
    await services.domains.delete(THEIRS, given_up.id)
    provider = await services.providers.create(ADMIN, "work", WORK, "hush", owners=(FORMER,))
    mine = await services.edges.create(ANN, EdgeDraft(host="mine"))

    told = [
        await _refused(services.domains.create(ANN, "edge")),
        await _refused(services.domains.create(ANN, "kept")),
        await _refused(services.domains.create(ANN, "cooling")),
        await _refused(services.edges.create(ANN, EdgeDraft(host="kept"))),
        await _refused(services.edges.update(ANN, mine.id, host="edge")),
        await _refused(services.providers.get(BOB, provider.row.id)),
    ]

    assert [text for text in told if FORMER in text or "fay" in text] == []
    # Whether the name is held, reserved or in its cool-down, it is refused alike.
    assert len({text.replace("kept", "X").replace("edge", "X").replace("cooling", "X") for text in told[:3]}) == 1


def _fields(who: Actor) -> dict[str, Any]:
    return {name: getattr(who, name) for name in Actor.__dataclass_fields__}
