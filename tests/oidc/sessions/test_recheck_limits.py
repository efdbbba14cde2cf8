"""Re-checks beside all else that happens to a session: limits, ends, changed rules, a store that is away."""

import asyncio
from typing import Any

import pytest

from tests.oidc.sessions.rechecking import OPS, RECHECK, due, refreshing
from tests.oidc.world import (
    APP,
    OTHER_RSA_KEY,
    Browser,
    Gate,
    World,
    connection,
    public,
    signed_in,
)
from tests.support.memory_store import MemoryStore
from tunnelrelay.keys.keyring import sha256
from tunnelrelay.oidc.providers.known_providers import MAX_CALLS, Busy
from tunnelrelay.oidc.sessions.recheck import AWAY_SECONDS
from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.oidc.sessions.sessions import UNKNOWN, ProviderAway, SessionsAway
from tunnelrelay.store.base import SessionCriteria, SessionRow, StoreError


async def test_a_refresh_moves_neither_the_absolute_end_nor_the_idle_one() -> None:
    world = refreshing(max_seconds=2000)
    browser = await due(world)
    session = world.find(browser)
    ends, seen = session.expires_at, session.last_seen
    await world.rechecked()
    assert (session.expires_at, session.last_seen) == (ends, seen)
    world.restart()
    again = await world.signed_in(browser)
    assert (again.expires_at, again.last_seen) == (ends, seen)


async def test_a_session_that_ends_while_the_provider_is_asked_does_not_come_back() -> None:
    world = refreshing()
    browser = await due(world)
    gate = world.provider.gates["/token"] = Gate()
    session = world.find(browser)
    await world.provider.gates["/token"].reached.wait()
    await world.sessions.end(session.id_digest)
    gate.open()
    await world.rechecked()
    assert world.find(browser) is None
    assert world.store.session_rows == {}
    assert len(world.ended) == 1
    world.restart()
    assert await world.current(browser) is None


async def test_a_session_that_is_ended_at_the_other_relay_while_it_is_asked_is_over_here_too() -> None:
    world = refreshing()
    browser = await due(world)
    gate = world.provider.gates["/token"] = Gate()
    session = world.find(browser)
    await world.provider.gates["/token"].reached.wait()
    await world.second_relay().sessions.end(session.id_digest)
    gate.open()
    await world.rechecked()
    assert world.find(browser) is None


async def test_an_owner_who_wants_nobody_asked_about_has_nobody_asked_about() -> None:
    world = World(endpoints={APP: connection(recheck_seconds=0, idle_seconds=8 * 3600)})
    world.provider.gives_refresh = True
    browser = await signed_in(world)
    world.clock.now += 7 * 3600
    assert world.find(browser)
    await world.rechecked()
    assert world.provider.refreshes() == []


async def test_what_is_open_without_requests_is_rechecked_too() -> None:
    world = refreshing(rules=OPS)
    world.provider.claims["groups"] = ["ops"]
    browser = await signed_in(world)
    session = world.find(browser)
    world.clock.now += RECHECK
    world.provider.claims["groups"] = []
    assert world.sessions.look_after(session, world.endpoints[APP], world.clock.now)
    await world.rechecked()
    assert world.ended == [session.id_digest]


async def test_rules_that_change_while_the_provider_is_asked_are_the_ones_that_count() -> None:
    world = refreshing()
    browser = await due(world)
    gate = world.provider.gates["/token"] = Gate()
    world.find(browser)
    await world.provider.gates["/token"].reached.wait()
    world.endpoints[APP] = connection(recheck_seconds=RECHECK, rules_version="rules-2", rules=OPS)
    assert world.find(browser) is None
    gate.open()
    await world.rechecked()
    assert world.find(browser) is None


class AwayStore(MemoryStore):
    """Can be away, or take no writes."""

    is_away = is_full = False

    async def load_session(self, key: bytes) -> SessionRow | None:
        if self.is_away:
            raise StoreError("away")
        return await super().load_session(key)

    async def lease(self, key: bytes, now: float, until: float) -> bool:
        self._write()
        return await super().lease(key, now, until)

    async def end_sessions(self, criteria: SessionCriteria, at: float) -> list[bytes]:
        self._write()
        return await super().end_sessions(criteria, at)

    def _write(self) -> None:
        if self.is_full:
            raise StoreError("disk is full")


def refreshing_into(store: AwayStore, **changes: Any) -> World:
    world = refreshing(**changes)
    world.store = store
    world.restart()
    return world


async def test_while_the_store_is_away_known_sessions_go_on_and_are_rechecked_when_it_is_back() -> None:
    store = AwayStore()
    world = refreshing_into(store)
    browser = await due(world)
    store.is_away = True
    for _ in range(RECHECK // 30):
        assert isinstance(await found(world, browser), VisitorSession)
        await world.rechecked()
        world.clock.now += 29
    assert world.provider.refreshes() == []
    store.is_away = False
    world.find(browser)
    await world.rechecked()
    assert world.provider.refreshes() == ["rt0-1"]


@pytest.mark.parametrize("policy", ["keep", "login"])
async def test_a_store_that_takes_no_writes_keeps_nobody_in_for_longer_than_claims_are_believed(policy: str) -> None:
    store = AwayStore()
    world = refreshing_into(store, on_recheck_error=policy)
    browser = await due(world)
    store.is_full = True
    world.provider.families["rt0"] = "dead"
    for _ in range(RECHECK // 60):
        assert isinstance(await found(world, browser), VisitorSession)
        await world.rechecked()
        world.clock.now += 60
    assert await world.current(browser) is None
    assert world.find(browser) is None
    assert world.told("session.end") == ["not_rechecked"]


async def test_with_policy_502_a_store_that_takes_no_writes_lets_nobody_in_until_it_does() -> None:
    store = AwayStore()
    world = refreshing_into(store, on_recheck_error="502")
    browser = await due(world, late=RECHECK)
    store.is_full = True
    with pytest.raises(ProviderAway):
        await world.current(browser)
    store.is_full = False
    world.clock.now += AWAY_SECONDS
    assert await world.current(browser)


async def found(world: World, browser: Browser) -> Any:
    """What comes of a request that is let in."""
    session = world.find(browser)
    session = await world.current(browser) if session is UNKNOWN else session
    world.sessions.seen(session, world.clock())
    return session


async def crowd(world: World, count: int) -> list[Browser]:
    """Browsers whose sessions are due together, at a provider that does not answer yet."""
    browsers = [await signed_in(world) for _ in range(count)]
    world.provider.gates["/token"] = Gate()
    world.clock.now += RECHECK
    return browsers


async def test_of_many_sessions_that_are_due_together_a_few_are_asked_about_at_once() -> None:
    world = refreshing()
    browsers = await crowd(world, 6)
    assert all(world.find(browser) for browser in browsers)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(world.provider.refreshes()) == MAX_CALLS
    world.provider.gates["/token"].open()
    await world.rechecked()
    assert len(world.provider.refreshes()) == 6
    assert all(world.find(browser) for browser in browsers)


@pytest.mark.parametrize("policy", ["keep", "login", "502"])
async def test_our_own_queue_at_a_slow_provider_signs_nobody_out_and_keeps_nobody_out(
    monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setattr("tunnelrelay.oidc.sessions.recheck.TURN_SECONDS", 0)
    world = refreshing(on_recheck_error=policy)
    browsers = await crowd(world, 30)
    assert all(world.find(browser) for browser in browsers)
    for _ in range(50):
        await asyncio.sleep(0)
    assert world.told("session.refresh") == ["busy"] * (30 - MAX_CALLS)
    assert all(world.find(browser) for browser in browsers)

    monkeypatch.setattr("tunnelrelay.oidc.sessions.recheck.TURN_SECONDS", 20)
    world.provider.gates.pop("/token").open()
    await world.rechecked()
    world.clock.now += 30
    assert all(world.find(browser) for browser in browsers)
    await world.rechecked()
    assert len(world.provider.refreshes()) == 30
    assert (world.ended, world.told("session.end")) == ([], [])


async def test_a_session_whose_turn_never_comes_is_believed_for_two_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.oidc.sessions.recheck.TURN_SECONDS", 0)
    world = refreshing(on_recheck_error="login")
    *others, browser = await crowd(world, MAX_CALLS + 1)
    for other in others:
        world.find(other)
    await world.provider.gates["/token"].reached.wait()
    world.clock.now += RECHECK - 1
    assert await world.current(browser)
    world.clock.now += 1
    assert await world.current(browser) is None
    assert world.told("session.end") == ["not_rechecked"]
    world.provider.gates["/token"].open()
    await world.rechecked()


async def test_calls_of_others_that_stand_in_line_at_the_provider_are_our_queue_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = refreshing(on_recheck_error="login")
    browser = await due(world)

    async def busy(*_args: object) -> None:
        raise Busy

    monkeypatch.setattr(world.providers, "refresh", busy)
    assert world.find(browser)
    await world.rechecked()
    assert world.find(browser)
    assert world.told("session.refresh") == ["busy"]
    monkeypatch.undo()
    world.clock.now += 30
    world.find(browser)
    await world.rechecked()
    assert world.provider.refreshes() == ["rt0-1"]


async def test_a_visitor_that_leaves_while_waiting_stops_no_recheck() -> None:
    world = refreshing()
    browser = await due(world, late=60)
    gate = world.provider.gates["/token"] = Gate()
    waiting = asyncio.ensure_future(world.current(browser))
    await world.provider.gates["/token"].reached.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.open()
    await world.rechecked()
    assert world.find(browser)


async def test_a_session_that_could_not_be_checked_for_the_store_is_neither_let_in_nor_signed_out() -> None:
    store = AwayStore()
    world = refreshing_into(store)
    browser = await due(world)
    world.forget_sessions()
    store.is_away = True
    with pytest.raises(SessionsAway):
        await world.current(browser)


async def test_new_keys_of_the_provider_are_found_at_a_recheck() -> None:
    world = refreshing()
    browser = await due(world)
    world.provider.key, world.provider.header = OTHER_RSA_KEY, {"kid": "k2"}
    world.provider.jwks = {"keys": [public(OTHER_RSA_KEY)]}
    world.find(browser)
    await world.rechecked()
    assert world.told("session.refresh") == ["ok"]


async def test_a_recheck_that_fails_in_an_unforeseen_way_is_one_that_could_not_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = refreshing()
    browser = await due(world)

    async def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(world.providers, "metadata", broken)
    assert world.find(browser)
    await world.rechecked()
    assert world.find(browser)
    assert world.told("session.refresh") == ["unreachable"]


async def test_activity_of_while_the_provider_was_asked_is_not_undone_in_the_store() -> None:
    world = refreshing()
    browser = await due(world)
    gate = world.provider.gates["/token"] = Gate()
    world.find(browser)
    await gate.reached.wait()
    world.clock.now += 10
    world.use(browser)
    await world.sessions.flush()
    gate.open()
    await world.rechecked()
    (row,) = world.store.session_rows.values()
    assert row.last_seen == world.clock.now


async def test_a_relay_that_holds_the_lease_and_does_not_answer_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tunnelrelay.oidc.sessions.recheck.LEASE_LOOK_SECONDS", 0.001)
    monkeypatch.setattr("tunnelrelay.oidc.sessions.recheck.LEASE_WAIT_SECONDS", 0.005)
    world = refreshing(on_recheck_error="login")
    browser = await due(world)
    session = world.find(browser)
    await world.rechecked()
    lease = sha256(b"recheck\0" + session.id_digest)
    world.clock.now += RECHECK
    assert await world.store.lease(lease, world.clock.now, world.clock.now + 1000)
    assert world.find(browser)
    await world.rechecked()
    assert world.find(browser)
    assert world.provider.refreshes() == ["rt0-1"]
    assert world.told("session.refresh")[-1] == "elsewhere"
