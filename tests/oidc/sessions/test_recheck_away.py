"""Re-checks of which nothing comes: the provider wants the person back, or it cannot be asked."""

import httpx
import pytest

from tests.oidc.sessions.rechecking import RECHECK, due, refreshing
from tests.oidc.world import Gate, as_json
from tunnelrelay.oidc.sessions.sessions import UNKNOWN, ProviderAway


@pytest.mark.parametrize("error", ["invalid_grant", "interaction_required", "login_required", "consent_required"])
async def test_a_provider_that_wants_the_person_back_ends_the_session(error: str) -> None:
    world = refreshing()
    browser = await due(world)
    world.provider.answers["/token"] = as_json({"error": error}, 400)
    world.find(browser)
    await world.rechecked()
    assert world.find(browser) is None
    assert world.told("session.end") == [error]


AWAY = [
    as_json({}, 500),
    as_json({"error": "invalid_client"}, 401),
    as_json({"error": "temporarily_unavailable"}, 400),
    httpx.Response(502, content=b"<html>", headers={"content-type": "text/html"}),
    httpx.ReadTimeout("slow"),
    httpx.ConnectError("refused"),
]


@pytest.mark.parametrize("answer", AWAY)
async def test_a_provider_that_cannot_be_asked_costs_nobody_the_session_for_a_while(
    answer: httpx.Response | Exception,
) -> None:
    world = refreshing()
    browser = await due(world)
    world.provider.answers["/token"] = answer
    assert world.find(browser)
    await world.rechecked()
    world.clock.now += RECHECK - 1
    assert world.find(browser)
    await world.rechecked()
    assert world.told("session.refresh") == ["unreachable", "unreachable"]
    world.provider.answers.clear()
    world.clock.now += 1
    assert await world.current(browser)
    assert world.provider.refreshes() == ["rt0-1"] * 3


async def test_a_token_that_was_exchanged_behind_a_lost_answer_ends_the_session_at_the_next_try() -> None:
    world = refreshing()
    browser = await due(world)
    world.provider.rotated("rt0")  # it has the request, and its answer never arrives
    world.provider.answers["/token"] = httpx.ReadTimeout("slow")
    assert world.find(browser)
    await world.rechecked()
    world.provider.answers.clear()
    world.clock.now += 30
    assert world.find(browser)
    await world.rechecked()
    assert world.find(browser) is None
    assert world.told("session.end") == ["invalid_grant"]
    assert world.provider.refreshes() == ["rt0-1", "rt0-1"]


@pytest.mark.parametrize("late", [False, True])
async def test_what_the_provider_takes_too_long_over_is_asked_again_with_what_is_known(
    monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """A time-out may come before the new tokens, or after them, while userinfo or keys are asked for."""
    monkeypatch.setattr("tunnelrelay.oidc.sessions.recheck.ASK_SECONDS", 0)
    world = refreshing()
    browser = await due(world)
    world.provider.refresh_answer = {"id_token": None} if late else {}
    world.provider.gates["/userinfo" if late else "/token"] = Gate()
    assert world.find(browser)
    await world.rechecked()
    assert world.told("session.refresh") == ["unreachable"]
    world.provider.gates.clear()
    world.provider.userinfo = {"sub": "alice"}
    monkeypatch.undo()
    world.clock.now += 30
    assert world.find(browser)
    await world.rechecked()
    assert world.told("session.refresh") == ["unreachable", "ok"]
    assert world.provider.refreshes() == ["rt0-1", "rt0-2" if late else "rt0-1"]


async def test_claims_as_old_as_two_intervals_are_not_believed() -> None:
    world = refreshing()
    browser = await due(world)
    world.provider.answers["/token"] = as_json({}, 503)
    world.find(browser)
    await world.rechecked()
    world.clock.now += RECHECK
    assert await world.current(browser) is None
    assert world.told("session.end") == ["provider_unreachable"]


async def test_while_it_cannot_be_asked_it_is_asked_twice_a_minute() -> None:
    world = refreshing()
    browser = await due(world)
    world.provider.answers["/token"] = as_json({}, 503)
    for _ in range(120):
        assert world.find(browser)
        await world.rechecked()
        world.clock.now += 1
    assert len(world.provider.refreshes()) == 4


async def test_with_policy_login_whoever_cannot_be_asked_about_signs_in_again() -> None:
    world = refreshing(on_recheck_error="login")
    browser = await due(world)
    world.provider.answers["/token"] = as_json({}, 503)
    world.find(browser)
    await world.rechecked()
    assert world.find(browser) is None


async def test_with_policy_502_nobody_comes_in_until_the_provider_is_back_and_then_without_a_login() -> None:
    world = refreshing(on_recheck_error="502")
    browser = await due(world)
    digest = world.find(browser).id_digest
    world.provider.answers["/token"] = as_json({}, 503)
    await world.rechecked()
    for _ in range(5):
        assert world.find(browser) is UNKNOWN
        with pytest.raises(ProviderAway):
            await world.current(browser)
    asked = len(world.provider.refreshes())
    assert digest in world.ended  # what it had open is closed
    assert await world.signed_in(browser)  # and it can still sign out
    world.provider.answers.clear()
    world.clock.now += 5
    assert await world.current(browser)
    assert len(world.provider.refreshes()) == asked + 1
    assert world.told("session.end") == []
