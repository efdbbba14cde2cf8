"""The provider is asked again about whoever is signed in: once, behind their requests, and what it says counts."""

import asyncio
from typing import Any

import pytest

from tests.oidc.sessions.rechecking import OPS, RECHECK, due, refreshing
from tests.oidc.world import (
    CLIENT_ID,
    OTHER_RSA_KEY,
    START,
    Gate,
    World,
    signed_in,
)
from tunnelrelay.oidc.sessions.sessions import UNKNOWN


async def test_behind_a_request_that_is_served_from_what_was_known_the_provider_is_asked_once() -> None:
    world = refreshing()
    browser = await signed_in(world)
    world.clock.now += RECHECK - 1
    assert world.find(browser)
    assert world.provider.refreshes() == []
    world.clock.now += 1
    world.provider.claims["name"] = "Alice Brown"
    assert {world.find(browser).identity.name for _ in range(10)} == {"Alice Adams"}
    await world.rechecked()
    assert world.find(browser).identity.name == "Alice Brown"
    assert world.provider.refreshes() == ["rt0-1"]
    assert world.told("session.refresh") == ["ok"]
    world.clock.now += RECHECK
    world.find(browser)
    await world.rechecked()
    assert world.provider.refreshes() == ["rt0-1", "rt0-2"]
    world.restart()
    assert (await world.current(browser)).identity.name == "Alice Brown"


async def test_what_a_recheck_brings_counts_in_the_memory_of_logins() -> None:
    world = refreshing()
    browser = await due(world)
    before = world.sessions.in_memory.total
    world.provider.claims["name"] = "A" * 5_000
    world.find(browser)
    await world.rechecked()
    session = world.find(browser)
    assert world.sessions.in_memory.total == session.weight > before + 10_000


async def test_row22_a_group_that_was_taken_away_ends_the_session_at_the_next_recheck() -> None:
    """Row 22."""
    world = refreshing(rules=OPS)
    world.provider.claims["groups"] = ["ops"]
    browser = await due(world)
    world.provider.claims["groups"] = ["guests"]
    assert world.find(browser)
    await world.rechecked()
    assert world.find(browser) is None
    assert len(world.ended) == 1
    assert world.told("session.end") == ["rules_group"]


async def test_row22_a_request_that_comes_long_after_waits_for_what_the_provider_says() -> None:
    """Row 22."""
    world = refreshing(rules=OPS)
    world.provider.claims["groups"] = ["ops"]
    browser, other = await signed_in(world), await signed_in(world)
    world.clock.now += RECHECK + 30
    assert world.find(browser) is UNKNOWN
    assert await world.current(browser)
    world.provider.claims["groups"] = []
    assert await world.current(other) is None
    assert world.find(browser)


async def test_the_old_data_serves_while_the_provider_is_slow_and_no_longer_than_half_a_minute() -> None:
    world = refreshing()
    browser = await due(world)
    gate = world.provider.gates["/token"] = Gate()
    for second in range(30):
        assert world.find(browser), second
        world.clock.now += 1
    assert world.find(browser) is UNKNOWN
    waiting = asyncio.ensure_future(world.current(browser))
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.open()
    assert (await waiting).identity.subject == "alice"
    assert len(world.provider.refreshes()) == 1


def wrong_key(claims: dict[str, Any]) -> str:
    liar = World().provider
    liar.key, liar.header = OTHER_RSA_KEY, {"kid": "k2"}
    return liar.id_token(claims)


@pytest.mark.parametrize(
    ("claims", "answer"),
    [
        ({"sub": "mallory"}, {}),
        ({"sub": None}, {}),
        ({"iss": "https://idp.acme.example/"}, {}),
        ({"aud": "other"}, {}),
        ({"aud": [CLIENT_ID, "other"]}, {}),
        ({"nonce": "another"}, {}),
        ({"auth_time": int(START) + 900}, {}),
        ({"auth_time": 10**400}, {}),
        ({"exp": int(START) - 100}, {}),
        ({"iat": int(START) - 10_000}, {}),
        ({"events": {}}, {}),
        ({}, {"id_token": "x.y.z"}),
        ({}, {"access_token": None}),
        ({}, {"token_type": "DPoP"}),
    ],
)
async def test_row62_a_refresh_that_speaks_of_another_login_ends_the_session(
    claims: dict[str, Any], answer: dict[str, Any]
) -> None:
    """Row 62."""
    world = refreshing()
    world.provider.claims["auth_time"] = int(START) - 5
    browser = await due(world)
    world.provider.refresh_claims, world.provider.refresh_answer = claims, answer
    assert world.find(browser)
    await world.rechecked()
    assert world.find(browser) is None
    assert len(world.ended) == 1


async def test_row62_a_refreshed_token_by_a_strange_key_ends_the_session() -> None:
    """Row 62."""
    world = refreshing()
    browser = await due(world)
    world.provider.make_token = wrong_key
    assert await world.current(browser)
    await world.rechecked()
    world.find(browser)
    await world.rechecked()
    assert world.find(browser) is None


async def test_row62_a_refreshed_token_repeats_the_logins_nonce_or_has_none() -> None:
    """Row 62."""
    world = refreshing()
    browser = await due(world)
    grant = await world.sessions.grant_of(world.find(browser))
    assert grant is not None
    world.provider.refresh_claims = {"nonce": grant.nonce}
    world.find(browser)
    await world.rechecked()
    assert world.told("session.refresh") == ["ok"]


async def test_row62_userinfo_of_somebody_else_ends_the_session() -> None:
    """Row 62."""
    world = refreshing()
    browser = await due(world)
    world.provider.claims["name"] = None
    world.provider.userinfo = {"sub": "mallory", "name": "Alice Adams"}
    world.find(browser)
    await world.rechecked()
    assert world.find(browser) is None


async def test_row63_fifty_requests_at_two_relays_make_one_refresh_and_nobody_is_logged_out() -> None:
    """Row 63."""
    world = refreshing()
    browser = await due(world, late=60)
    world.provider.claims["name"] = "Alice Brown"
    second = world.second_relay()
    found = await asyncio.gather(*(node.current(browser) for _ in range(25) for node in (world, second)))
    await world.rechecked()
    await second.rechecked()
    assert {session.identity.name for session in found} == {"Alice Brown"}
    assert world.provider.refreshes() == ["rt0-1"]
    assert (world.ended, second.ended) == ([], [])


async def test_row63_a_relay_that_asks_later_goes_by_what_the_first_was_told() -> None:
    """Row 63."""
    world = refreshing()
    browser = await signed_in(world)
    second = world.second_relay()
    assert await second.current(browser)
    world.clock.now += RECHECK
    world.find(browser)
    await world.rechecked()
    world.provider.claims["name"] = "nobody asks"
    assert second.find(browser)
    await second.rechecked()
    assert second.find(browser).version == world.find(browser).version == 3
    assert len(world.provider.refreshes()) == 1


async def test_row64_a_relay_that_dies_in_the_middle_ends_the_session_and_its_token_is_never_shown_again() -> None:
    """Row 64."""
    world = refreshing()
    browser = await due(world)
    world.provider.gates["/token"] = Gate()
    before = asyncio.all_tasks()
    world.find(browser)
    dead = asyncio.all_tasks() - before
    await world.provider.gates["/token"].reached.wait()
    survivor = world.second_relay()
    world.provider.gates.clear()
    world.clock.now += 60
    assert await survivor.current(browser) is None
    assert survivor.told("session.end") == ["refresh_interrupted"]
    assert world.provider.refreshes() == ["rt0-1"]
    for task in dead:
        task.cancel()


async def test_row64_a_relay_that_is_stopped_lets_the_refresh_finish() -> None:
    """Row 64."""
    world = refreshing()
    browser = await due(world)
    gate = world.provider.gates["/token"] = Gate()
    world.find(browser)
    stopping = asyncio.ensure_future(world.sessions.finish(10))
    await world.provider.gates["/token"].reached.wait()
    gate.open()
    await stopping
    world.restart()
    assert await world.current(browser)
    assert world.provider.refreshes() == ["rt0-1"]
