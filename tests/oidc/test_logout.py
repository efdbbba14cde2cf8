"""Signing out: only by our own form (rows 74, 76)."""

import re

import pytest

from tests.oidc.world import APP, Browser, World, code_of, connection, location, set_cookies
from tunnelrelay.model import Reply


async def ask(browser: Browser) -> Reply:
    world = browser.world
    return await world.logout.ask(APP, world.endpoints[APP], browser.cookies(), "r")


async def submit(browser: Browser, *tokens: str) -> Reply:
    world = browser.world
    form = [("token", token) for token in tokens]
    return await world.logout.submit(APP, world.endpoints[APP], form, browser.cookies(), "r")


def token_in(page: Reply) -> str:
    (token,) = re.findall(r'name="token" value="([^"]+)"', page.body.decode())
    assert isinstance(token, str)
    return token


async def test_the_button_signs_out() -> None:
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    page = await ask(browser)
    assert b"alice@acme.example" in page.body
    done = await submit(browser, token_in(page))
    assert location(done) == f"https://{APP}/_tunnel/signed-out"
    assert dict(done.fields)[b"Clear-Site-Data"] == b'"cache"'
    (cleared,) = set_cookies(done)
    assert cleared.startswith(b"__Host-tunnel=;")
    assert len(world.ended) == 1
    assert await world.signed_in(browser) is None


async def test_row_76_opening_the_page_signs_nobody_out() -> None:
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    await ask(browser)
    assert await world.signed_in(browser)


async def test_a_form_without_the_sessions_own_token_signs_nobody_out() -> None:
    world = World()
    browser, other = Browser(world), Browser(world)
    await browser.sign_in()
    await other.sign_in()
    foreign, own = token_in(await ask(other)), token_in(await ask(browser))
    for tokens in ([], [""], [foreign], [own, own], [own[:-1]], [own + "x"], ["é"]):
        assert code_of(await submit(browser, *tokens)) == "bad_request"
    assert await world.signed_in(browser)


@pytest.mark.parametrize("restarted", [True, False])
async def test_whoever_is_not_signed_in_is_told_so(restarted: bool) -> None:
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    world.endpoints[APP] = connection(epoch="epoch-2")
    if restarted:
        world.restart()
    for reply in (await ask(browser), await submit(browser, "x"), await ask(Browser(world))):
        assert location(reply).endswith("/_tunnel/signed-out")
