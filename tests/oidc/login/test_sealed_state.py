"""What comes back with a provider's answer: a state that was changed, used before, or is of another time."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.oidc.world import (
    APP,
    ISSUER,
    Browser,
    World,
    code_of,
    handed_over,
    location,
    sent_to,
    set_cookies,
    text_of,
)
from tunnelrelay.oidc.login.callback import ArrivedAt


@pytest.mark.parametrize("spoil", ["", "x", "v1.", "v1.x.y", "A" * 100_000, "\x00", "é", "v1..", "../../etc/passwd"])
async def test_a_state_that_is_none_is_refused(spoil: str) -> None:
    """Row 39."""
    reply = await Browser(World()).callback([("code", "c"), ("state", spoil)])
    assert code_of(reply) == "login_state_invalid"
    assert "Traceback" not in text_of(reply)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state[:-1],
        lambda state: state[: len(state) // 2],
        lambda state: state[:-2] + ("A" if state[-2] != "A" else "B") + state[-1],
        lambda state: state.replace("v1.", "v2."),
        lambda state: "v1.deadbeef." + state.split(".")[2],
        lambda state: state + state,
    ],
)
async def test_a_state_that_was_changed_is_refused(spoil: Callable[[str], str]) -> None:
    """Row 39."""
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    assert code_of(await browser.callback([("code", "c"), ("state", spoil(state))])) == "login_state_invalid"


async def test_every_refused_state_looks_the_same() -> None:
    """Row 39."""
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    forged = ["", "x", state[:-1], state[:30] + ("A" if state[30] != "A" else "B") + state[31:]]
    replies = [await browser.callback([("code", "c"), ("state", value)]) for value in forged]
    world.clock.now += 601
    replies += [await browser.callback([("code", "c"), ("state", value)]) for value in forged]
    assert len({reply.body for reply in replies}) == 1


@pytest.mark.parametrize("seconds", [600, 601, 3 * 86_400])
async def test_a_login_that_took_too_long_spends_no_code_and_leads_back_to_its_address(seconds: int) -> None:
    """Row 39. A page with a button, and no redirect: the state says where to, and no more."""
    world = World()
    browser = Browser(world)
    started = await browser.start("/inbox?folder=7&sort=up")
    jar = dict(browser.jars[APP])
    world.clock.now += seconds
    page = await browser.callback(world.provider.authorize(location(started)))
    assert (page.status, code_of(page), set_cookies(page)) == (400, "login_restart", [])
    assert all(name != b"Location" for name, _ in page.fields)
    assert f'href="https://{APP}/inbox?folder=7&amp;sort=up"' in text_of(page)
    assert "code-0" not in text_of(page)
    assert world.provider.calls_to("/token") == []
    assert browser.jars[APP] == jar
    await browser.sign_in("/inbox?folder=7&sort=up")
    assert await world.signed_in(browser)


async def test_a_login_that_the_person_gave_up_after_its_time_leads_back_too() -> None:
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start("/a?b=c"))["state"]
    world.clock.now += 3600
    page = await browser.callback([("error", "access_denied"), ("error_description", "secret words"), ("state", state)])
    assert code_of(page) == "login_restart"
    assert f'href="https://{APP}/a?b=c"' in text_of(page)
    assert "secret words" not in text_of(page)


@pytest.mark.parametrize("target", ["//evil.example/x", "/\\evil.example", "/%09/evil.example", "/@evil.example"])
async def test_row_43_an_expired_state_leads_to_its_own_host_only(target: str) -> None:
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start(target))["state"]
    world.clock.now += 601
    page = text_of(await browser.callback([("code", "c"), ("state", state)]))
    links = re.findall(r'href="([^"]*)"', page)
    assert [urlsplit(link).netloc for link in links if "evil" in link or APP in link] == [APP]


async def test_an_expired_state_of_another_owners_time_says_nothing_of_its_address() -> None:
    """Rows 60, 84."""
    world = World(generations={APP: 1})
    browser = Browser(world)
    state = sent_to(await browser.start("/private"))["state"]
    world.clock.now += 601
    world.generations[APP] = 2
    page = await browser.callback([("code", "c"), ("state", state)])
    assert code_of(page) == "login_restart"
    assert "/private" not in text_of(page)


@pytest.mark.parametrize("wrong", ["issuer", "callback", "key", "twice"])
async def test_an_expired_state_that_would_have_been_refused_is_refused_as_before(wrong: str) -> None:
    """Rows 30, 39."""
    world = World()
    browser = Browser(world)
    params = [("code", "c"), ("state", sent_to(await browser.start("/private"))["state"])]
    arrived = ArrivedAt("connection", "conn-evil") if wrong == "callback" else ArrivedAt("shared")
    if wrong == "issuer":
        params.append(("iss", "https://evil.example"))
    if wrong == "twice":
        params.append(("state", params[1][1]))
    if wrong == "key":
        kid = world.ring.masters[0].kid
        world.ring.adopt(world.ring.with_new_key(world.clock()).without(kid))
    world.clock.now += 601
    page = await browser.callback(params, arrived)
    assert code_of(page) == "login_state_invalid"
    assert "/private" not in text_of(page)


async def test_a_blob_of_another_purpose_is_no_state() -> None:
    """Row 39."""
    world = World()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    for blob in (sent_to(handed)["h"], *(value.decode() for value in browser.jars[APP].values())):
        assert code_of(await browser.callback([("code", "c"), ("state", blob)])) == "login_state_invalid"


async def test_a_state_is_of_no_use_after_its_login() -> None:
    """Row 40."""
    world = World()
    browser = Browser(world)
    started = await browser.start()
    kept = dict(browser.jars[APP])
    await browser.finish(await browser.callback(world.provider.authorize(location(started))))
    browser.jars[APP] = kept
    again = await browser.finish(await browser.callback(world.provider.authorize(location(started))))
    assert code_of(again) == "login_restart"
    assert len(world.provider.calls_to("/token")) == 1


@pytest.mark.parametrize("name", ["code", "state", "iss", "error", "error_description"])
async def test_a_parameter_that_stands_there_twice_is_refused(name: str) -> None:
    """Row 33."""
    world = World()
    browser = Browser(world)
    params = world.provider.authorize(location(await browser.start()), iss=ISSUER)
    value = dict(params).get(name, "x")
    reply = await browser.callback([*params, (name, value), (name, value)])
    assert code_of(reply) == "login_state_invalid"
