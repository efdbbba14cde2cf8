"""The button "use another account" on the page for people whom the rules do not let in."""

import re
from urllib.parse import urlencode

import httpx
import pytest

from tests.oidc.world import APP, EVIL, Browser, World, code_of, connection, location, sent_to, text_of
from tests.web.visiting import FORM, Visitor
from tunnelrelay.model import Reply
from tunnelrelay.oidc.login.sealed_state import LOGIN_SECONDS
from tunnelrelay.pages.login import USE_ANOTHER_PATH
from tunnelrelay.policy.rules import Rules

ONLY_BOB = Rules(emails=frozenset({"bob@acme.example"}))
OWN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


async def refused(world: World, browser: Browser) -> str:
    """Somebody signs in who is not let in. Returns the form's token."""
    page = await browser.sign_in("/report?q=1")
    assert code_of(page) == "not_admitted"
    assert browser.outcomes[-1] == "denied"
    (token,) = re.findall(r'name="token" value="([^"]+)"', text_of(page))
    assert f'action="{USE_ANOTHER_PATH}"' in text_of(page)
    return token


def only_bob() -> World:
    return World(endpoints={APP: connection(rules=ONLY_BOB), EVIL: connection(rules=ONLY_BOB)})


async def pressed(world: World, browser: Browser, token: str, **headers: str) -> httpx.Response:
    """The button is pressed in this browser."""
    cookies = {"Cookie": browser.cookies()[0].decode()} if browser.cookies() else {}
    return await Visitor(world).send(
        "POST",
        USE_ANOTHER_PATH,
        headers={**FORM, **OWN, **cookies, **headers},
        content=urlencode({"token": token}).encode(),
    )


def taken(browser: Browser, response: httpx.Response) -> Reply:
    """The browser keeps the answer's cookies."""
    fields = [(name.title(), value) for name, value in response.headers.raw]
    return browser.take(Reply(response.status_code, tuple(fields)), APP)


async def test_the_provider_lets_people_choose_and_the_way_goes_on_as_before() -> None:
    world = only_bob()
    browser = Browser(world)
    started = taken(browser, await pressed(world, browser, await refused(world, browser)))
    assert sent_to(started)["prompt"] == "select_account"
    world.provider.claims |= {"sub": "bob", "email": "bob@acme.example"}
    done = await browser.finish(await browser.callback(world.provider.authorize(location(started))))
    assert location(done) == f"https://{APP}/report?q=1"


@pytest.mark.parametrize(
    ("listed", "sent"),
    [
        (None, "select_account"),
        (["login", "select_account"], "select_account"),
        (["none", "login"], "login"),
        ("login", "select_account"),
    ],
)
async def test_a_provider_without_a_choice_of_accounts_is_asked_for_a_login(listed: object, sent: str) -> None:
    world = only_bob()
    world.provider.metadata["prompt_values_supported"] = listed
    browser = Browser(world)
    assert sent_to(taken(browser, await pressed(world, browser, await refused(world, browser))))["prompt"] == sent


async def test_the_button_works_in_the_browser_that_was_refused_and_no_other() -> None:
    """Row 34."""
    world = only_bob()
    browser, other = Browser(world), Browser(world)
    token = await refused(world, browser)
    await refused(world, other)
    for stranger in (other, Browser(world)):
        page = await pressed(world, stranger, token)
        assert (page.status_code, page.headers["tunnel-error"]) == (400, "login_restart")
        assert "set-cookie" not in page.headers


@pytest.mark.parametrize("site", ["same-site", "cross-site", "none"])
async def test_only_our_own_page_presses_it(site: str) -> None:
    """Row 77."""
    world = only_bob()
    browser = Browser(world)
    reply = await pressed(world, browser, await refused(world, browser), **{"Sec-Fetch-Site": site})
    assert reply.status_code == 400
    assert "location" not in reply.headers


async def test_the_button_is_of_one_host_and_of_ten_minutes() -> None:
    """Row 37."""
    world = only_bob()
    browser = Browser(world)
    token = await refused(world, browser)
    browser.jars[EVIL] = dict(browser.jars[APP])
    assert (await world.login.switch(browser.asking("r", EVIL), [("token", token)])).outcome == "failed"
    world.clock.now += LOGIN_SECONDS - 1
    assert (await pressed(world, browser, token)).status_code == 303
    world.clock.now += 1
    assert (await pressed(world, browser, token)).status_code != 303


@pytest.mark.parametrize("spoil", ["", "x", "v1.a.b", "A" * 100_000])
async def test_a_token_that_is_none_starts_nothing(spoil: str) -> None:
    """Row 81."""
    world = only_bob()
    browser = Browser(world)
    await refused(world, browser)
    assert (await pressed(world, browser, spoil)).status_code == 400


async def test_the_cookie_that_is_kept_for_the_button_finishes_no_login() -> None:
    """Rows 36, 40."""
    world = only_bob()
    browser = Browser(world)
    started = await browser.start()
    params = world.provider.authorize(location(started))
    handed = await browser.callback(params)
    await browser.finish(handed)
    assert code_of(await browser.finish(handed)) == "login_restart"
    world.clock.now += LOGIN_SECONDS - 2
    again = await browser.callback(params)
    await world.store.delete_expired(world.clock())
    assert code_of(await browser.finish(again)) == "login_restart"
    assert len(world.provider.calls_to("/token")) == 1


async def test_get_is_not_how_it_is_pressed() -> None:
    reply = await Visitor(only_bob()).send("GET", f"{USE_ANOTHER_PATH}?token=x")
    assert reply.status_code == 405
