"""Many tabs of one browser, restored after its session ended: each gets to its own address, with or without its cookie.

A tab's address travels sealed with its login, so nothing is lost with a cookie, and nobody can choose it for another.
"""

import pytest

from tests.oidc.world import (
    APP,
    EVIL,
    SHARED,
    Browser,
    World,
    as_json,
    code_of,
    connection,
    location,
    sent_to,
    set_cookies,
    text_of,
)
from tunnelrelay.address import PublicAddress
from tunnelrelay.model import Reply
from tunnelrelay.oidc.login.cookies import MAX_TRANSACTIONS
from tunnelrelay.oidc.login.sealed_state import MAX_RETURN
from tunnelrelay.pages.login import USE_ANOTHER_PATH

LOCAL = PublicAddress(scheme="http", domain="localhost", port=80)
HOST = "app.localhost"
TABS = MAX_TRANSACTIONS + 6


def https() -> tuple[World, str]:
    return World(), APP


def http_localhost() -> tuple[World, str]:
    return World(address=LOCAL, endpoints={HOST: connection()}), HOST


async def opened(browser: Browser, host: str, tabs: int = TABS) -> list[Reply]:
    """Starts that many logins, one second after the other."""
    started = []
    for number in range(tabs):
        browser.world.clock.now += 1
        started.append(await browser.start(f"/tab/{number}?q={number}", host))
    return started


async def finished(world: World, browser: Browser, started: Reply, host: str) -> Reply:
    return await browser.finish(await browser.callback(world.provider.authorize(location(started))), host)


def url(world: World, host: str, number: int) -> str:
    return f"{world.address.url(host)}/tab/{number}?q={number}"


@pytest.mark.parametrize("place", [https, http_localhost])
async def test_twelve_tabs_all_finish_by_their_own_login_in_any_order(place) -> None:
    world, host = place()
    browser = Browser(world)
    tabs = await opened(browser, host, 12)
    for number in [5, 0, 11, *range(1, 5), *range(6, 11)]:
        assert location(await finished(world, browser, tabs[number], host)) == url(world, host, number)
    assert len(world.provider.calls_to("/token")) == 12


@pytest.mark.parametrize("place", [https, http_localhost])
async def test_a_finished_login_lets_the_tabs_through_whose_cookie_went(place) -> None:
    world, host = place()
    browser = Browser(world)
    tabs = await opened(browser, host)
    assert len(browser.jars[host]) == MAX_TRANSACTIONS
    await finished(world, browser, tabs[-1], host)
    for number in range(TABS - 1):
        assert location(await finished(world, browser, tabs[number], host)) == url(world, host, number)


@pytest.mark.parametrize("place", [https, http_localhost])
async def test_without_a_session_a_tab_whose_cookie_went_keeps_its_address_on_the_page(place) -> None:
    world, host = place()
    browser = Browser(world)
    tabs = await opened(browser, host)
    page = await finished(world, browser, tabs[0], host)
    assert (page.status, code_of(page)) == (400, "login_restart")
    assert 'href="/tab/0?q=0"' in text_of(page)
    assert world.provider.calls_to("/token") == []
    again = await browser.start("/tab/0?q=0", host)
    assert location(await finished(world, browser, again, host)) == url(world, host, 0)


async def test_row_69_after_an_eviction_of_all_cookies_no_address_is_lost() -> None:
    world = World()
    browser = Browser(world)
    tabs = await opened(browser, APP, 12)
    browser.jars.clear()
    for number, tab in enumerate(tabs):
        assert f'href="/tab/{number}?q={number}"' in text_of(await finished(world, browser, tab, APP))


async def test_a_tab_that_was_kept_on_its_hand_off_for_a_day_leads_on_to_its_address() -> None:
    world = World()
    browser = Browser(world)
    handed = await browser.callback(world.provider.authorize(location(await browser.start("/deep?x=1"))))
    world.clock.now += 86_400
    page = await browser.finish(handed)
    assert code_of(page) == "login_restart"
    assert 'href="/deep?x=1"' in text_of(page)
    await browser.sign_in("/")
    assert location(await browser.finish(handed)) == f"https://{APP}/deep?x=1"


async def test_a_login_that_failed_and_was_used_leads_on_once_another_tab_has_signed_in() -> None:
    world = World()
    browser = Browser(world)
    handed = await browser.callback(world.provider.authorize(location(await browser.start("/deep"))))
    world.provider.answers["/token"] = as_json({"error": "server_error"}, 500)
    failed = await browser.finish(handed)
    assert 'href="/deep"' in text_of(failed)
    world.provider.answers.clear()
    await browser.sign_in("/")
    assert location(await browser.finish(handed)) == f"https://{APP}/deep"


async def test_every_page_on_which_a_login_ends_leads_back_to_its_address() -> None:
    world = World(endpoints={APP: connection(), EVIL: connection(id="conn-evil")})
    world.provider.answers["/.well-known/openid-configuration"] = as_json({}, 500)
    assert 'href="/a?b=c"' in text_of(await Browser(world).start("/a?b=c"))
    world.provider.answers.clear()
    world.clock.now += 60
    for error in ("server_error", "temporarily_unavailable", "invalid_scope", "consent_required", "access_denied"):
        browser = Browser(world)
        state = sent_to(await browser.start("/a?b=c"))["state"]
        page = await browser.finish(await browser.callback([("error", error), ("state", state)]))
        assert 'href="/a?b=c"' in text_of(page)


async def test_a_provider_changed_during_a_login_is_a_page_that_leads_back_to_the_address() -> None:
    world = World()
    browser = Browser(world)
    params = world.provider.authorize(location(await browser.start("/a?b=c")))
    world.endpoints[APP] = connection(epoch="epoch-2")
    page = await browser.callback(params)
    assert code_of(page) == "login_restart"
    assert f'href="https://{APP}/a?b=c"' in text_of(page)


async def test_an_address_of_a_former_owner_is_not_shown() -> None:
    world = World()
    browser = Browser(world)
    params = world.provider.authorize(location(await browser.start("/a?b=c")))
    world.generations[APP] = 2
    page = await browser.callback(params)
    assert code_of(page) == "login_restart"
    assert "/a?b=c" not in text_of(page)


@pytest.mark.parametrize("target", ["//evil.example/x", "/\\evil.example", "/%09/evil.example", "/..//evil.example"])
async def test_row_43_no_address_leads_to_another_host_when_the_cookie_went(target: str) -> None:
    world = World()
    browser = Browser(world)
    handed = await browser.callback(world.provider.authorize(location(await browser.start(target))))
    browser.jars.clear()
    page = text_of(await browser.finish(handed))
    assert 'href="//' not in page
    assert 'href="/\\' not in page
    await browser.sign_in()
    assert location(await browser.finish(handed)).startswith(f"https://{APP}/")


async def test_row_36_a_hand_off_opened_elsewhere_signs_nobody_in_and_leads_to_this_host_only() -> None:
    world = World()
    victim, attacker = Browser(world), Browser(world)
    handed = await attacker.callback(world.provider.authorize(location(await attacker.start("/planted"))))
    page = await victim.finish(handed)
    assert (page.status, code_of(page)) == (400, "login_restart")
    assert await world.signed_in(victim) is None
    assert world.provider.calls_to("/token") == []


async def test_row_127_many_starts_leave_nothing_on_the_server_and_bounded_cookies() -> None:
    world = World()
    browser = Browser(world)
    await opened(browser, APP, 3 * MAX_TRANSACTIONS)
    sizes = [len(name) + len(value) + 3 for name, value in browser.jars[APP].items()]
    assert len(sizes) == MAX_TRANSACTIONS
    assert sum(sizes) < 12 * 1024


async def test_a_tabs_cookie_is_as_small_for_the_longest_address() -> None:
    world = World()
    (short,) = set_cookies(await Browser(world).start("/"))
    (long,) = set_cookies(await Browser(world).start("/" + "a" * (MAX_RETURN - 1)))
    assert abs(len(short) - len(long)) <= 4
    started = await Browser(world).start("/" + "a" * (MAX_RETURN - 1))
    assert len(location(started)) < 4096


async def test_the_longest_address_survives_with_a_long_code() -> None:
    world = World()
    browser = Browser(world)
    path = "/" + "a" * (MAX_RETURN - 1)
    state = sent_to(await browser.start(path))["state"]
    handed = await browser.callback([("code", "c" * 2048), ("state", state)])
    assert len(location(handed)) < 8 * 1024
    browser.jars.clear()
    assert f'href="{path}"' in text_of(await browser.finish(handed))


async def test_use_another_account_comes_back_to_the_address() -> None:
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start("/a?b=c"))["state"]
    page = await browser.finish(await browser.callback([("error", "access_denied"), ("state", state)]))
    assert f'action="{USE_ANOTHER_PATH}"' in text_of(page)
    token = text_of(page).partition('name="token" value="')[2].partition('"')[0]
    switched = await world.login.switch(browser.asking("r", APP), [("token", token)])
    browser.take_end(switched, APP)
    assert sent_to(switched.reply)["prompt"] == "select_account"
    assert location(await finished(world, browser, switched.reply, APP)) == f"https://{APP}/a?b=c"


async def test_a_login_page_that_is_too_old_in_its_tab_goes_on_by_itself() -> None:
    """What Keycloak answers in the other tabs once the visitor has signed in in one."""
    world = World()
    browser = Browser(world)
    tabs = await opened(browser, APP, 3)

    async def too_old(started: Reply) -> Reply:
        params = [
            ("error", "temporarily_unavailable"),
            ("error_description", "authentication_expired"),
            ("state", sent_to(started)["state"]),
        ]
        return await browser.finish(await browser.callback(params, SHARED))

    again = await too_old(tabs[0])
    assert location(again).startswith("https://idp.acme.example/authorize")
    page = await too_old(again)
    assert (page.status, code_of(page)) == (403, "login_unfinished")
    assert 'href="/tab/0?q=0"' in text_of(page)
    await finished(world, browser, tabs[1], APP)
    assert location(await too_old(tabs[2])) == url(world, APP, 2)
