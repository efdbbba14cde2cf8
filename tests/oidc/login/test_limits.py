"""Floods of logins begun, of answers at the callback, and of hand-offs: who pays, and that the others get in."""

import asyncio

import pytest

from tests.oidc.world import APP, Browser, Gate, World, code_of, connection, handed_over, location, request
from tunnelrelay.model import Peer, Reply
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.oidc.login.limits import BURST, CONNECTION_BURST, LoginLimits
from tunnelrelay.oidc.providers.known_providers import MAX_CALLS


class Door:
    """A world whose logins are limited, on a clock that the test turns."""

    def __init__(self, connection_burst: int = CONNECTION_BURST) -> None:
        self.now = 1000.0
        self.metrics = Metrics()
        self.audit = Audit(clock=lambda: self.now)
        limits = LoginLimits(
            metrics=self.metrics, audit=self.audit, monotonic=lambda: self.now, connection_burst=connection_burst
        )
        self.world = World(limits=limits)

    async def start(self, address: str, **changes: str) -> Reply:
        asked = request(APP, "/")
        return (await self.world.login.start(APP, connection(**changes), asked, "r", Peer(address, 1))).reply

    async def flood(self, address: str, count: int) -> list[int]:
        return [(await self.start(address)).status for _ in range(count)]


@pytest.fixture
def door() -> Door:
    return Door()


async def test_row127_an_address_that_begins_login_after_login_is_told_to_wait_and_others_are_not(door: Door):
    assert await door.flood("203.0.113.7", BURST) == [303] * BURST
    refused = await door.start("203.0.113.7")
    assert (refused.status, code_of(refused)) == (429, "too_many_requests")
    assert dict(refused.fields)[b"Retry-After"] == b"2"
    assert (await door.start("203.0.113.8")).status == 303
    door.now += 2

    assert await door.flood("203.0.113.7", 2) == [303, 429]
    assert door.metrics.counts["limited"] == {"login_address": 2}
    (event, *_) = door.audit.take()
    assert (event.kind, event.reason, event.host, event.peer) == ("rate.limited", "login_address", APP, "203.0.113.7")


async def test_row127_an_ipv6_network_is_one_address_and_this_machine_none(door: Door):
    for number in range(BURST):
        await door.start(f"2001:db8::{number:x}")

    assert (await door.start("2001:db8::ffff")).status == 429
    assert await door.flood("127.0.0.1", BURST + 5) == [303] * (BURST + 5)


async def test_row127_very_many_addresses_meet_the_connections_limit_and_other_connections_do_not():
    door = Door(connection_burst=50)
    answers = [(await door.start(f"203.0.113.{number}")).status for number in range(60)]

    assert answers == [303] * 50 + [429] * 10
    assert (await door.start("203.0.113.99", id="conn-other")).status == 303


async def test_row127_owners_who_name_one_provider_have_a_limit_each():
    """The connection's id is the same for all of them: a flood at one's endpoint must not close the others'."""
    door = Door(connection_burst=50)
    for number in range(60):
        await door.start(f"203.0.113.{number}", owner="ann", provider="prv_1")

    assert (await door.start("203.0.113.99", owner="bob", provider="prv_1")).status == 303


async def test_row127_what_one_address_is_refused_takes_nothing_from_the_others():
    door = Door(connection_burst=BURST + 1)
    await door.flood("203.0.113.7", 10 * BURST)

    assert (await door.start("203.0.113.8")).status == 303


async def test_row127_a_flood_of_logins_begun_asks_the_provider_nothing_and_keeps_nothing(door: Door):
    store = door.world.store
    before = {name: len(kept) for name, kept in vars(store).items()}
    await door.flood("127.0.0.1", 200)

    assert {call.url.path for call in door.world.provider.calls} == {"/.well-known/openid-configuration"}
    assert len(door.world.provider.calls) == 1
    assert {name: len(kept) for name, kept in vars(store).items()} == before


async def test_row128_a_flood_of_answers_at_the_callback_calls_nobody(door: Door):
    world, browser = door.world, Browser(door.world)
    params = world.provider.authorize(location(await browser.start()))
    calls = len(world.provider.calls)
    answers = {(await browser.callback(params)).status for _ in range(200)}

    assert answers == {303}
    assert len(world.provider.calls) == calls


async def test_row128_a_flood_of_hand_offs_from_other_browsers_calls_nobody_and_uses_nothing_up(door: Door):
    world, browser = door.world, Browser(door.world)
    handed = await handed_over(world, browser)
    for _ in range(100):
        assert code_of(await Browser(world).finish(handed)) == "login_restart"
    assert world.provider.calls_to("/token") == []

    assert (await browser.finish(handed)).status == 303


async def test_row128_codes_that_are_worth_nothing_are_spent_a_few_at_a_time(door: Door):
    world = door.world
    gate = world.provider.gates["/token"] = Gate()
    browsers = [Browser(world) for _ in range(12)]
    handed = [await handed_over(world, browser) for browser in browsers]
    finishing = [asyncio.create_task(browser.finish(reply)) for browser, reply in zip(browsers, handed, strict=True)]
    await gate.reached.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    at_once = len(world.provider.calls_to("/token"))
    gate.open()
    await asyncio.gather(*finishing)

    assert at_once == MAX_CALLS
