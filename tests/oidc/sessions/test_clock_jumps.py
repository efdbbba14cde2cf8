"""The machine's clock is set back or forward by an hour while people sign in."""

import pytest

from tests.oidc.world import OTHER_RSA_KEY, Browser, World, public


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
async def test_row130_keys_that_a_provider_exchanges_are_found_whatever_the_clock_does(jump: float) -> None:
    """Row 130. How old a document is, only a clock that nobody sets can tell."""
    passed = [1000.0]
    world = World(monotonic=lambda: passed[0])
    await Browser(world).sign_in()
    world.provider.key, world.provider.jwks = OTHER_RSA_KEY, {"keys": [public(OTHER_RSA_KEY)]}
    world.provider.header = {"kid": "k2"}
    world.clock.now += jump
    passed[0] += 61
    browser = Browser(world)
    await browser.sign_in()

    assert await world.signed_in(browser)


async def test_row130_a_session_is_over_when_the_clock_says_so() -> None:
    """Row 130. Times in tokens and blobs are the wall clock's: what it calls expired is expired."""
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    assert world.find(browser)
    world.clock.now += 24 * 3600

    assert not await world.current(browser)


async def test_row130_a_session_does_not_live_longer_because_the_clock_was_set_back() -> None:
    """Row 130. Not by more than the clock itself went back, and an ended one stays ended."""
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    session = world.find(browser)
    await world.sessions.end(session.id_digest)
    world.clock.now -= 3600

    assert not await world.current(browser)
