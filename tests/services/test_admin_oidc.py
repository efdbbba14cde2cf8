"""People who come to the dashboard by the operator's OpenID provider: who they are, and what they may."""

from dataclasses import replace
from typing import Any

import pytest

from tests.oidc.world import ISSUER, World
from tests.services.people import OPERATOR, PEER, Office
from tunnelctl.secret import Secret
from tunnelrelay.config.dashboard import DashboardSettings
from tunnelrelay.oidc.sessions.session import Grant
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.admin_oidc import AdminOidc, user_key
from tunnelrelay.services.dashboard_login import RECHECK_SECONDS, DashboardLogin, dashboard_login
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.store.base import StoreError

HOST = "dashboard.tun.example"
ALICE: dict[str, Any] = {
    "sub": "alice",
    "name": "Alice Adams",
    "email": "alice@acme.example",
    "email_verified": True,
    "groups": ["staff"],
}


class Scene:
    """The dashboard's login on a relay, with a provider that says what the test wants."""

    def __init__(self, **settings: Any) -> None:
        self.login = login(**settings)
        self.world = World(endpoints={HOST: self.login.connection})
        self.office = Office(self.world.store, self.world.clock)
        self.oidc = AdminOidc(
            base=self.office.base,
            sessions=self.world.sessions,
            connection=self.login.connection,
            roles=self.login.roles,
            default_owner="default",
        )

    async def signed_in(self, **claims: Any) -> bytes:
        """The Cookie field of somebody who has just signed in."""
        all_claims = {**ALICE, **claims}
        cookie = await self.world.sessions.create(
            HOST, self.login.connection, issuer=ISSUER, claims=all_claims, grant=Grant(refresh_token="rt0-1")
        )
        return b"__Host-tunnel=" + cookie

    async def actor(self, *cookies: bytes) -> Actor | None:
        return await self.oidc.actor_of(cookies, peer=PEER, request_id="r1")


def login(**settings: Any) -> DashboardLogin:
    given = {
        "dashboard_oidc": ISSUER,
        "dashboard_oidc_client_id": "client:1",
        "dashboard_oidc_client_secret": Secret("s3cret"),
        "dashboard_admin": ("admins",),
        "dashboard_member": ("staff",),
        **settings,
    }
    found = dashboard_login(DashboardSettings(**given), key=b"k" * 32, is_local=False)
    assert found is not None
    return found


async def test_a_first_sign_in_makes_the_user_and_the_next_finds_them() -> None:
    scene = Scene()

    first = await scene.actor(await scene.signed_in())
    second = await scene.actor(await scene.signed_in(name="Alice Married"))

    assert first is not None
    assert second is not None
    assert (first.user_id, first.is_admin, first.via, first.peer) == (second.user_id, False, "dashboard", PEER)
    (user,) = await scene.office.store.users.all()
    assert (user.name, user.email, user.issuer, user.subject) == ("Alice Adams", "alice@acme.example", ISSUER, "alice")
    assert [event.reason for event in scene.office.events("user.created")] == ["oidc"]


async def test_row144_nobody_is_linked_by_an_email_address_or_a_name() -> None:
    """Row 144."""
    scene = Scene()
    admin = await scene.office.users.create(OPERATOR, "Alice Adams", "default", "admin", "alice@acme.example")
    alice = await scene.actor(await scene.signed_in())
    mallory = await scene.actor(await scene.signed_in(sub="mallory"))

    assert alice is not None
    assert mallory is not None
    assert len({admin.id, alice.user_id, mallory.user_id}) == 3
    assert len({admin.owner, alice.owner, mallory.owner}) == 3
    assert not alice.is_admin


async def test_row144_issuer_and_subject_are_not_run_together() -> None:
    """Row 144."""
    assert len({user_key("https://a", "b/c"), user_key("https://a/b", "/c"), user_key("https://a/b/", "c")}) == 3


async def test_a_value_of_the_claim_makes_an_administrator() -> None:
    scene = Scene()

    actor = await scene.actor(await scene.signed_in(groups=["staff", "admins"]))

    assert actor is not None
    assert (actor.is_admin, actor.owner) == (True, "default")


@pytest.mark.parametrize(
    "groups", [[], ["guests"], "guests", ["ADMINS"], ["admins "], [["admins"]], {"admins": True}, None]
)
async def test_who_has_none_of_the_values_is_nobody_here(groups: Any) -> None:
    scene = Scene()

    assert await scene.actor(await scene.signed_in(groups=groups)) is None
    assert await scene.office.store.users.all() == []


async def test_without_values_for_members_there_are_administrators_only() -> None:
    scene = Scene(dashboard_member=())

    assert await scene.actor(await scene.signed_in(groups=["staff"])) is None
    assert await scene.actor(await scene.signed_in(groups=["admins"])) is not None


async def test_another_role_at_the_provider_is_the_role_of_the_next_request() -> None:
    scene = Scene()
    cookie = await scene.signed_in(groups=["admins"])
    assert (actor := await scene.actor(cookie)) is not None
    assert actor.is_admin
    scene.office.events()

    again = await scene.actor(await scene.signed_in(groups=["staff"]))

    assert again is not None
    assert (again.user_id, again.is_admin) == (actor.user_id, False)
    (event,) = scene.office.events("user.updated")
    assert (event.reason, event.details["before"], event.details["after"]) == (
        "oidc",
        '{"role":"admin","owner":"default"}',
        f'{{"role":"member","owner":"{again.owner}"}}',
    )


async def test_row142_who_is_no_administrator_any_more_does_not_keep_what_administrators_own() -> None:
    """Rows 138, 142."""
    scene = Scene()
    admin = await scene.actor(await scene.signed_in(groups=["admins"]))
    assert admin is not None
    token, _ = await scene.office.credentials.create(admin)

    member = await scene.actor(await scene.signed_in(groups=["staff"]))

    assert member is not None
    assert member.owner != admin.owner
    assert await scene.office.credentials.page(member) == []
    with pytest.raises(ManageError) as refused:
        await scene.office.credentials.delete(member, token.id)
    assert refused.value.kind is Kind.MISSING


async def test_an_owner_of_their_own_stays_whatever_the_role() -> None:
    scene = Scene(dashboard_owner_claim="team")
    for groups in (["staff"], ["admins"], ["staff"]):
        actor = await scene.actor(await scene.signed_in(groups=groups, team="red"))
        assert actor is not None
        assert actor.owner == "red"


async def test_who_loses_the_group_is_out_once_the_provider_was_asked_again() -> None:
    scene = Scene()
    scene.world.provider.gives_refresh = True
    scene.world.provider.families["rt0"] = "rt0-1"
    cookie = await scene.signed_in(groups=["admins"])
    assert await scene.actor(cookie) is not None

    scene.world.provider.refresh_claims = {"groups": ["guests"]}
    scene.world.clock.now += 2 * RECHECK_SECONDS
    assert await scene.actor(cookie) is None
    assert scene.world.provider.refreshes() == ["rt0-1"]


async def test_somebody_who_was_disabled_here_is_refused_whatever_the_provider_says() -> None:
    scene = Scene()
    cookie = await scene.signed_in(groups=["admins"])
    actor = await scene.actor(cookie)
    assert actor is not None
    await scene.office.person("other", role="admin")

    await scene.office.users.update(OPERATOR, actor.user_id, disabled=True)

    assert await scene.actor(cookie) is None
    assert await scene.actor(await scene.signed_in(groups=["admins"])) is None


async def test_an_owner_that_an_administrator_has_given_stays() -> None:
    scene = Scene()
    cookie = await scene.signed_in()
    actor = await scene.actor(cookie)
    assert actor is not None

    await scene.office.users.update(OPERATOR, actor.user_id, owner="team")

    again = await scene.actor(cookie)
    assert again is not None
    assert again.owner == "team"


@pytest.mark.parametrize(
    ("claim", "owner"),
    [
        ("red", "red"),
        (["red"], "red"),
        (["red", "blue"], None),
        ("not an owner", None),
        ("", None),
        (None, None),
        ({}, None),
    ],
)
async def test_the_owner_comes_from_the_claim_that_was_set(claim: Any, owner: str | None) -> None:
    scene = Scene(dashboard_owner_claim="team")

    actor = await scene.actor(await scene.signed_in(team=claim))

    assert actor is not None
    assert actor.owner == owner if owner else actor.owner.startswith("Alice-Adams-")


async def test_without_that_claim_nobody_s_name_is_somebody_s_owner() -> None:
    """Row 142."""
    scene = Scene()
    owners = set()
    for number, name in enumerate(("default", "local", "default", "🦊", "", "a" * 300, "-x")):
        actor = await scene.actor(await scene.signed_in(sub=f"s{number}", preferred_username=name))
        assert actor is not None
        owners.add(actor.owner)
    assert len(owners) == 7
    assert not owners & {"default", "local"}


@pytest.mark.parametrize("cookies", [(), (b"",), (b"__Host-tunnel=" + b"A" * 43,), (b"tunnel=x",), (b"x=y; z",)])
async def test_without_a_good_cookie_there_is_nobody(cookies: tuple[bytes, ...]) -> None:
    assert await Scene().actor(*cookies) is None


async def test_of_two_cookies_none_is_believed() -> None:
    scene = Scene()
    assert await scene.actor(await scene.signed_in(), await scene.signed_in(sub="eve")) is None


async def test_a_login_at_an_app_is_none_at_the_dashboard() -> None:
    scene = Scene()
    connection = replace(scene.login.connection)
    cookie = await scene.world.sessions.create("app.tun.example", connection, issuer=ISSUER, claims=ALICE)

    assert await scene.actor(b"__Host-tunnel=" + cookie) is None


async def test_a_store_that_is_away_lets_nobody_in() -> None:
    scene = Scene()
    cookie = await scene.signed_in()

    async def away(**_: object) -> None:
        raise StoreError("away")

    scene.office.store.users.find = away
    with pytest.raises(ManageError) as refused:
        await scene.actor(cookie)
    assert refused.value.kind is Kind.AWAY
