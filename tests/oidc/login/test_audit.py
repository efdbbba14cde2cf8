"""What the audit log says of logins: how each one began and ended, and nothing that would let anybody in."""

from typing import Any

import httpx
import pytest

from tests.oidc.login.test_login import BrokenStore
from tests.oidc.world import APP, PEER, Browser, World, connection, handed_over, location, sent_to
from tunnelrelay.policy.rules import Rules


def events(world: World) -> list[tuple[str, str]]:
    return [(event.kind, event.reason) for event in world.audit.take() if event.kind.startswith("login.")]


async def test_a_login_is_told_from_start_to_end_and_by_whom() -> None:
    world = World()
    await Browser(world).sign_in()
    started, done = (event for event in world.audit.take() if event.kind.startswith("login."))
    for event in (started, done):
        assert (event.host, event.connection, event.owner) == (APP, "conn-app", "Grace Hopper")
        assert (event.peer, bool(event.request_id)) == (PEER.host, True)
    assert (started.kind, started.person) == ("login.start", "")
    assert (done.kind, done.person) == ("login.ok", world.audit.person(world.provider.issuer, "alice"))


async def test_somebody_who_is_not_let_in_is_told_with_the_kind_of_rule() -> None:
    world = World(endpoints={APP: connection(rules=Rules(emails=frozenset({"bob@acme.example"})))})
    await Browser(world).sign_in()
    denied = world.audit.take()[-1]
    assert (denied.kind, denied.reason) == ("login.denied", "email")
    assert denied.person


async def provider_away(world: World) -> None:
    world.provider.answers["/.well-known/openid-configuration"] = httpx.ConnectError("no route")
    await Browser(world).start()


async def bad_token(world: World) -> None:
    world.provider.claims["aud"] = "other"
    await Browser(world).sign_in()


async def bad_state(world: World) -> None:
    await Browser(world).callback([("code", "c"), ("state", "x")])


async def other_browser(world: World) -> None:
    await Browser(world).finish(await handed_over(world, Browser(world)))


async def declined(world: World) -> None:
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    await browser.finish(await browser.callback([("error", "access_denied"), ("state", state)]))


async def used(world: World) -> None:
    browser = Browser(world)
    handed = await handed_over(world, browser)
    kept = dict(browser.jars[APP])
    await browser.finish(handed)
    thief = Browser(world)
    thief.jars[APP] = {name: value for name, value in kept.items() if b"tx" in name}
    await thief.finish(handed)


async def moved(world: World) -> None:
    browser = Browser(world)
    params = world.provider.authorize(location(await browser.start()))
    world.endpoints[APP] = connection(epoch="epoch-2")
    await browser.callback(params)


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (provider_away, "provider_unreachable"),
        (bad_token, "provider_invalid"),
        (bad_state, "login_state_invalid"),
        (other_browser, "not_begun_here"),
        (declined, "declined"),
        (used, "used_before"),
        (moved, "login_restart"),
    ],
)
async def test_a_login_that_came_to_nothing_says_at_which_check(happens: Any, reason: str) -> None:
    world = World()
    await happens(world)
    assert events(world)[-1] == ("login.error", reason)


async def test_a_store_that_is_away_is_told() -> None:
    """Row 130."""
    world = World(store=BrokenStore())
    await Browser(world).sign_in()
    assert events(world)[-1] == ("login.error", "store_away")


async def test_no_event_holds_what_a_login_hangs_on() -> None:
    """Row 158."""
    world = World()
    browser = Browser(world)
    started = await browser.start("/private?token=canary-query")
    params = world.provider.authorize(location(started))
    handed = await browser.callback(params)
    kept = dict(browser.jars[APP])
    await browser.finish(handed)
    await browser.callback([("error", "canary-error"), ("error_description", "canary-words"), params[1]])
    told = "".join(repr(event) for event in world.audit.take())
    secrets = [sent_to(started)["state"], sent_to(handed)["h"], dict(params)["code"], "canary"]
    secrets += [value.decode() for jar in (kept, browser.jars[APP]) for value in jar.values()]
    secrets += ["alice", "acme.example/authorize"]
    assert not [secret for secret in secrets if secret in told]
