"""One member against everything another owner has: every method of the services about people, with every id.

The list of methods is read from the classes, so that one that is added must be added here.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.services.people import OPERATOR, Office
from tests.services.test_logins import sign_in
from tests.support.every import every
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.store.base import AuditRow

Try = Callable[[Office, Actor, dict[str, str]], Awaitable[Any]]


def login_event(office: Office, ids: dict[str, str]) -> AuditRow:
    """The event of alice's login at red's host, as a member who has learnt its digest might make it up."""
    person = office.trail.base.audit.person("https://idp.acme.example", "alice")
    return AuditRow(at=0.0, kind="login.completed", host=ids["host"], subject=person)


BY_ID: dict[str, Try] = {
    "users.get": lambda o, who, ids: o.users.get(who, ids["user"]),
    "api_keys.get": lambda o, who, ids: o.keys.get(who, ids["key"]),
    "api_keys.update": lambda o, who, ids: o.keys.update(who, ids["key"], description="mine"),
    "api_keys.delete": lambda o, who, ids: o.keys.delete(who, ids["key"]),
    "credentials.get": lambda o, who, ids: o.credentials.get(who, ids["token"]),
    "credentials.update": lambda o, who, ids: o.credentials.update(who, ids["token"], acl=()),
    "credentials.delete": lambda o, who, ids: o.credentials.delete(who, ids["token"]),
    "domains.get": lambda o, who, ids: o.domains.get(who, ids["domain"]),
    "domains.update": lambda o, who, ids: o.domains.update(who, ids["domain"], description="mine"),
    "domains.delete": lambda o, who, ids: o.domains.delete(who, ids["domain"]),
    "addrs.get": lambda o, who, ids: o.addrs.get(who, ids["addr"]),
    "addrs.update": lambda o, who, ids: o.addrs.update(who, ids["addr"], description="mine"),
    "addrs.delete": lambda o, who, ids: o.addrs.delete(who, ids["addr"]),
    "logins.get": lambda o, who, ids: o.logins.get(who, ids["login"]),
    "logins.revoke": lambda o, who, ids: o.logins.revoke(who, ids["login"]),
    "logins.revoke_all": lambda o, who, ids: o.logins.revoke_all(who, ids["host"]),
    "sign_ins.invite": lambda o, who, ids: o.sign_ins.invite(who, ids["user"]),
    "sign_ins.revoke": lambda o, who, ids: o.sign_ins.revoke(who, ids["sign_in"]),
}
"""Answered MISSING, word for word as for an id that nobody has."""

FORBIDDEN: dict[str, Try] = {
    "users.create": lambda o, who, ids: o.users.create(who, "eve", "red", "admin"),
    "users.update": lambda o, who, ids: o.users.update(who, ids["user"], disabled=True),
    "users.delete": lambda o, who, ids: o.users.delete(who, ids["user"]),
    "api_keys.create": lambda o, who, ids: o.keys.create(who, user_id=ids["user"]),
    "credentials.create": lambda o, who, ids: o.credentials.create(who, owner="red"),
    "domains.create": lambda o, who, ids: o.domains.create(who, "new", owner="red"),
    "addrs.create": lambda o, who, ids: o.addrs.create(who, owner="red"),
}
"""Answered FORBIDDEN, whatever is named."""

LISTS: dict[str, Try] = {
    "users.page": lambda o, who, ids: o.users.page(who, owner="red"),
    "api_keys.page": lambda o, who, ids: o.keys.page(who, owner="red"),
    "credentials.page": lambda o, who, ids: o.credentials.page(who, owner="red"),
    "domains.page": lambda o, who, ids: o.domains.page(who, owner="red"),
    "addrs.page": lambda o, who, ids: o.addrs.page(who, owner="red"),
    "logins.page": lambda o, who, ids: o.logins.page(who, host="red.tun.example"),
    "sign_ins.page": lambda o, who, ids: o.sign_ins.page(who, ids["user"]),
    "audit.page": lambda o, who, ids: o.trail.page(who, owner="red"),
    "audit.people": lambda o, who, ids: o.trail.people(who, [login_event(o, ids)]),
}
"""Hold nothing that is red's."""

OWN_ONLY = {"users.me"}
"""Ask for nothing but the actor's own."""
OF_STRANGERS = {
    "api_keys.authenticate",
    "api_keys.holder",
    "sign_ins.first_run",
    "sign_ins.redeem",
    "sign_ins.actor_of",
    "sign_ins.sign_out",
}
"""Take no actor: they find out who somebody is."""


class Scene:
    """What red has, and a member of blue's."""

    @classmethod
    async def made(cls) -> "Scene":
        scene = cls()
        office = scene.office = Office()
        ann = await office.actor("ann", owner="red")
        await office.signed_in((await office.users.get(OPERATOR, ann.user_id)), peer="")
        domain = await office.domains.create(ann, "red")
        await sign_in(office, domain.host, "alice")
        scene.ids = {
            "user": ann.user_id,
            "key": (await office.keys.create(ann))[0].id,
            "token": (await office.credentials.create(ann, acl=("bind:x",)))[0].id,
            "domain": domain.id,
            "addr": (await office.addrs.create(ann)).id,
            "host": domain.host,
            "login": (await office.logins.page(ann))[0].id,
            "sign_in": (await office.sign_ins.page(ann))[0].id,
        }
        scene.eve = await office.actor("eve", owner="blue")
        office.events()
        return scene

    office: Office
    ids: dict[str, str]
    eve: Actor

    async def everything(self) -> list[Any]:
        store = self.office.store
        kinds = (store.users, store.api_keys, store.sign_ins, store.domains)
        rest = (await store.tokens(), await store.sessions(), await store.all_names())
        return [*[await kind.all() for kind in kinds], *rest]


def test_no_method_is_left_out() -> None:
    office = Office()
    services = {
        "users": office.users,
        "api_keys": office.keys,
        "credentials": office.credentials,
        "domains": office.domains,
        "addrs": office.addrs,
        "logins": office.logins,
        "sign_ins": office.sign_ins,
        "audit": office.trail,
    }
    methods = {
        f"{name}.{method}"
        for name, service in services.items()
        for method, value in inspect.getmembers(type(service), inspect.iscoroutinefunction)
        if not method.startswith("_")
    }
    assert methods == {*BY_ID, *FORBIDDEN, *LISTS, *OWN_ONLY, *OF_STRANGERS}


@pytest.mark.parametrize("name", BY_ID)
async def test_row138_another_owner_s_thing_is_none_and_stays_as_it_is(name: str) -> None:
    """Row 138."""
    scene = await Scene.made()
    before = await scene.everything()

    with pytest.raises(ManageError) as theirs:
        await BY_ID[name](scene.office, scene.eve, scene.ids)
    with pytest.raises(ManageError) as nobodys:
        await BY_ID[name](scene.office, scene.eve, dict.fromkeys(scene.ids, "none"))

    assert theirs.value.kind is Kind.MISSING
    assert vars(theirs.value) == vars(nobodys.value)
    assert str(theirs.value) == str(nobodys.value)
    assert await scene.everything() == before
    assert scene.office.events() == []
    assert scene.office.revoked == []


@pytest.mark.parametrize("name", FORBIDDEN)
async def test_row142_what_only_administrators_may_is_refused_to_members(name: str) -> None:
    """Row 142."""
    scene = await Scene.made()
    before = await scene.everything()

    with pytest.raises(ManageError) as refused:
        await FORBIDDEN[name](scene.office, scene.eve, scene.ids)

    assert refused.value.kind is Kind.FORBIDDEN
    assert await scene.everything() == before
    assert scene.office.events() == []


@pytest.mark.parametrize("name", LISTS)
async def test_row138_no_list_holds_another_owner_s_things(name: str) -> None:
    """Row 138."""
    scene = await Scene.made()

    found = await LISTS[name](scene.office, scene.eve, scene.ids)

    assert [getattr(row, "id", "") for row in found if getattr(row, "id", "") in scene.ids.values()] == []
    assert "red" not in repr(found).replace("credentials", "")
    assert "alice" not in repr(found)


async def test_red_sees_who_its_own_visitors_are() -> None:
    scene = await Scene.made()
    kim = await scene.office.actor("kim", owner="red")
    event = login_event(scene.office, scene.ids)

    assert await scene.office.trail.people(kim, [event]) == {event.subject: "alice@acme.example"}


@every("name", [*BY_ID, *FORBIDDEN, *LISTS])
async def test_row142_a_key_without_scopes_for_it_does_nothing_for_an_administrator(name: str) -> None:
    """Row 142."""
    scene = await Scene.made()
    admin = await scene.office.actor("root", owner="red", role="admin")
    narrow = Actor(
        user_id=admin.user_id,
        name="root",
        owner="red",
        is_admin=True,
        via="api",
        scopes=frozenset({"edges:write", "traffic:write", "providers:write"}),
    )
    scene.office.events()
    before = await scene.everything()

    with pytest.raises(ManageError) as refused:
        await {**BY_ID, **FORBIDDEN, **LISTS}[name](scene.office, narrow, scene.ids)

    assert (refused.value.kind, refused.value.code) == (Kind.FORBIDDEN, "scope_missing")
    assert await scene.everything() == before
    assert scene.office.events() == []
