"""Logins of somebody else: begun, finished or stolen by another visitor, or carried to another endpoint."""

from urllib.parse import parse_qsl, urlsplit

import msgspec

from tests.oidc.world import (
    APP,
    EVIL,
    Browser,
    World,
    code_of,
    connection,
    handed_over,
    location,
    sent_to,
    set_cookies,
)
from tunnelrelay.oidc.login.sealed_state import Transaction, open_blob, seal_blob


async def test_a_finished_answer_of_somebody_else_signs_nobody_in() -> None:
    """Row 34."""
    world = World()
    attacker, victim = Browser(world), Browser(world)
    handed = await handed_over(world, attacker)
    refused = await victim.finish(handed)
    assert code_of(refused) == "login_restart"
    assert set_cookies(refused) == []
    assert world.provider.calls_to("/token") == []


async def test_a_login_begun_by_somebody_else_cannot_be_finished() -> None:
    """Row 35."""
    world = World()
    attacker, victim = Browser(world), Browser(world)
    started = await attacker.start()
    await victim.start()
    refused = await victim.finish(await victim.callback(world.provider.authorize(location(started))))
    assert code_of(refused) == "login_restart"
    assert world.provider.calls_to("/token") == []


async def test_a_hand_off_works_once() -> None:
    """Row 36."""
    world = World()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    kept = dict(browser.jars[APP])
    assert (await browser.finish(handed)).status == 303
    thief = Browser(world)
    thief.jars[APP] = kept
    assert code_of(await thief.finish(handed)) == "login_restart"
    assert len(world.provider.calls_to("/token")) == 1


async def test_a_hand_off_works_on_one_host() -> None:
    """Row 36."""
    world = World()
    world.endpoints[EVIL] = connection()
    browser = Browser(world)
    params = parse_qsl(urlsplit(location(await handed_over(world, browser))).query)
    browser.jars[EVIL] = browser.jars[APP]
    assert code_of(await browser.open_handoff(params, EVIL)) == "login_restart"


async def test_a_hand_off_works_for_a_minute() -> None:
    """Row 36."""
    world = World()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    world.clock.now += 61
    assert code_of(await browser.finish(handed)) == "login_restart"


async def test_a_hand_off_is_remembered_as_used_by_the_next_process_too() -> None:
    """Row 36."""
    world = World()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    kept = dict(browser.jars[APP])
    await browser.finish(handed)
    world.restart()
    thief = Browser(world)
    thief.jars[APP] = kept
    assert code_of(await thief.finish(handed)) == "login_restart"


async def test_a_hand_off_of_one_login_does_not_go_with_the_cookie_of_another() -> None:
    """Row 37."""
    world = World()
    first, second = Browser(world), Browser(world)
    handed = await handed_over(world, first)
    await second.start()
    (name,), (value,) = first.jars[APP], second.jars[APP].values()
    second.jars[APP] = {name: value}
    assert code_of(await second.finish(handed)) == "login_restart"
    assert world.provider.calls_to("/token") == []


async def test_an_error_needs_the_cookie_of_its_login_too() -> None:
    world = World()
    state = sent_to(await Browser(world).start())["state"]
    stranger = Browser(world)
    page = await stranger.finish(await stranger.callback([("error", "access_denied"), ("state", state)]))
    assert code_of(page) == "login_restart"


async def test_a_cookie_that_names_the_login_without_its_secret_is_not_enough() -> None:
    """Row 37. As if the relay itself had been brought to seal one."""
    world = World()
    attacker, victim = Browser(world), Browser(world)
    handed = await handed_over(world, attacker)
    await victim.start()
    (name,), (theirs,), (ours,) = attacker.jars[APP], attacker.jars[APP].values(), victim.jars[APP].values()
    named, own = (open_blob(world.ring, Transaction, APP, blob.decode(), world.clock()) for blob in (theirs, ours))
    assert named is not None
    assert own is not None
    forged = msgspec.structs.replace(own, tx=named.tx)
    victim.jars[APP] = {name: seal_blob(world.ring, APP, forged).encode()}
    assert code_of(await victim.finish(handed)) == "login_restart"
    assert world.provider.calls_to("/token") == []
