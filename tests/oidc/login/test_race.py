"""What changes while a login is under way: the owner's configuration, the endpoint's owner, the relay's settings."""

from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from tests.oidc.world import APP, EVIL, TUN_EXAMPLE, Browser, World, code_of, connection, handed_over, location
from tunnelrelay.oidc.login.callback import ArrivedAt


@pytest.mark.parametrize("when", ["before the answer", "before the hand-off"])
async def test_a_login_begun_under_a_former_owner_is_worth_nothing(when: str) -> None:
    """Rows 60, 84. The very same provider and client, as an owner who took the name over may well have them."""
    world = World(generations={APP: 1})
    browser = Browser(world)
    if when == "before the answer":
        params = world.provider.authorize(location(await browser.start()))
        world.generations[APP] = 2
        reply = await browser.callback(params)
    else:
        handed = await handed_over(world, browser)
        world.generations[APP] = 2
        reply = await browser.finish(handed)
    assert code_of(reply) == "login_restart"
    assert world.provider.calls_to("/token") == []


async def test_a_login_goes_on_when_another_name_changes_hands() -> None:
    world = World(generations={APP: 1, EVIL: 1})
    browser = Browser(world)
    started = await browser.start()
    world.generations[EVIL] = 2
    done = await browser.finish(await browser.callback(world.provider.authorize(location(started))))
    assert location(done) == f"https://{APP}/x?y=1"


@pytest.mark.parametrize("wish", ["host", "shared"])
async def test_a_code_is_redeemed_with_the_redirect_uri_it_was_asked_with(wish: str) -> None:
    """Row 60."""
    world = World(address=replace(TUN_EXAMPLE, is_multi_tenant=True))
    browser = Browser(world)
    started = await browser.start()
    world.endpoints[APP] = connection(callback=wish)
    params = world.provider.authorize(location(started))
    done = await browser.finish(await browser.callback(params, ArrivedAt("connection", "conn-app")))
    assert location(done) == f"https://{APP}/x?y=1"
    (call,) = world.provider.calls_to("/token")
    sent = dict(parse_qsl(call.content.decode()))["redirect_uri"]
    assert sent == "https://idp.tun.example/oauth2/callback/conn-app"


async def test_an_endpoint_that_is_gone_takes_no_answer() -> None:
    """Row 61."""
    world = World()
    browser = Browser(world)
    params = world.provider.authorize(location(await browser.start()))
    del world.endpoints[APP]
    assert code_of(await browser.callback(params)) == "login_restart"
