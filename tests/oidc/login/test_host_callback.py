"""Providers that answer at the endpoint's own host: one hop less, and nothing else is different."""

from urllib.parse import parse_qsl, urlencode

import pytest

from tests.oidc.world import (
    APP,
    EVIL,
    ISSUER,
    Browser,
    World,
    code_of,
    connection,
    location,
    sent_to,
    set_cookies,
    text_of,
)
from tests.web.visiting import Visitor
from tunnelrelay.address import HOST_CALLBACK_PATH
from tunnelrelay.model import Reply

PAGE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "cross-site"}
Params = list[tuple[str, str]]


def own_callback() -> World:
    return World(endpoints={APP: connection(callback="host"), EVIL: connection(id="conn-evil", callback="host")})


async def arrives(world: World, browser: Browser, params: Params, host: str = APP) -> Reply:
    """The provider sends the visitor to the endpoint's callback."""
    return browser.take_end(await world.login.finish_here(browser.asking("r", host), params), host)


async def answered(world: World, browser: Browser, **lies: str) -> Params:
    return world.provider.authorize(location(await browser.start()), **lies)


async def test_a_login_ends_without_a_hop() -> None:
    world = own_callback()
    browser = Browser(world)
    started = await browser.start()
    uri = f"https://{APP}{HOST_CALLBACK_PATH}"
    assert sent_to(started)["redirect_uri"] == uri
    done = await arrives(world, browser, world.provider.authorize(location(started)))
    assert location(done) == f"https://{APP}/x?y=1"
    assert await world.signed_in(browser)
    (call,) = world.provider.calls_to("/token")
    assert dict(parse_qsl(call.content.decode()))["redirect_uri"] == uri


async def test_a_finished_answer_of_somebody_else_signs_nobody_in() -> None:
    """Rows 34, 35."""
    world = own_callback()
    params = await answered(world, Browser(world))
    victim = Browser(world)
    await victim.start()
    refused = await arrives(world, victim, params)
    assert (code_of(refused), set_cookies(refused)) == ("login_restart", [])
    assert world.provider.calls_to("/token") == []


async def test_an_answer_counts_once() -> None:
    """Rows 36, 40."""
    world = own_callback()
    browser = Browser(world)
    params = await answered(world, browser)
    kept = dict(browser.jars[APP])
    await arrives(world, browser, params)
    browser.jars[APP] = kept
    assert code_of(await arrives(world, browser, params)) == "login_restart"
    assert len(world.provider.calls_to("/token")) == 1


async def test_an_answer_counts_on_its_own_host() -> None:
    """Row 37."""
    world = own_callback()
    browser = Browser(world)
    params = await answered(world, browser)
    browser.jars[EVIL] = dict(browser.jars[APP])
    assert code_of(await arrives(world, browser, params, EVIL)) == "login_restart"
    assert world.provider.calls_to("/token") == []


@pytest.mark.parametrize(
    "spoil",
    [{"state": ""}, {"state": "x"}, {"iss": "https://evil.example"}, {"iss": ""}, {"code": ""}, {"error": "x"}],
)
async def test_an_answer_that_is_none_is_a_page(spoil: dict[str, str]) -> None:
    """Rows 33, 39."""
    world = own_callback()
    world.provider.metadata["authorization_response_iss_parameter_supported"] = True
    browser = Browser(world)
    params = dict(await answered(world, browser, iss=ISSUER)) | spoil
    refused = await arrives(world, browser, [(name, value) for name, value in params.items() if value])
    assert code_of(refused) == "login_restart"
    assert world.provider.calls_to("/token") == []


async def test_an_answer_that_came_too_late_leads_back_to_its_address() -> None:
    world = own_callback()
    browser = Browser(world)
    params = world.provider.authorize(location(await browser.start("/late?x=1")))
    world.clock.now += 1200
    page = await arrives(world, browser, params)
    assert (page.status, code_of(page)) == (400, "login_restart")
    assert 'href="/late?x=1"' in text_of(page)
    assert world.provider.calls_to("/token") == []
    started = await browser.start("/")
    await arrives(world, browser, world.provider.authorize(location(started)))
    assert location(await arrives(world, browser, params)) == f"https://{APP}/late?x=1"
    assert len(world.provider.calls_to("/token")) == 1


async def test_the_back_button_leads_into_the_app() -> None:
    world = own_callback()
    browser = Browser(world)
    params = await answered(world, browser)
    await arrives(world, browser, params)
    assert location(await arrives(world, browser, params)) == f"https://{APP}/x?y=1"
    assert browser.outcomes[-1] == "ok"


async def test_it_goes_through_the_web_app_by_address_only() -> None:
    world = own_callback()
    browser, visitor = Browser(world), Visitor(world)
    params = urlencode(await answered(world, browser))
    headers = {**PAGE, "Cookie": browser.cookies()[0].decode()}
    for method in ("POST", "HEAD", "PUT"):
        assert (await visitor.send(method, f"{HOST_CALLBACK_PATH}?{params}", headers=headers)).status_code == 405
    for fetch in ({"Sec-Fetch-Mode": "cors"}, {"Sec-Purpose": "prefetch"}, {"Sec-Fetch-Dest": "iframe"}):
        refused = await visitor.send("GET", f"{HOST_CALLBACK_PATH}?{params}", headers={**headers, **fetch})
        assert "location" not in refused.headers
    done = await visitor.send("GET", f"{HOST_CALLBACK_PATH}?{params}", headers=headers)
    assert done.headers["location"] == f"https://{APP}/x?y=1"
    assert done.headers["referrer-policy"] == "no-referrer"
