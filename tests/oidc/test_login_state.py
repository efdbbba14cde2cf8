"""What comes back with a provider's answer: a state that was changed, used before, or is of another time."""

from collections.abc import Callable

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
    text_of,
)


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
    world.clock.now += 601
    replies = [await browser.callback([("code", "c"), ("state", value)]) for value in ("", "x", state, state[:-1])]
    assert len({reply.body for reply in replies}) == 1


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
