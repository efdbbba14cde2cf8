"""Re-checks by userinfo: without a refresh token, or where a refresh says nothing about the visitor."""

from typing import Any

import httpx
import pytest

from tests.oidc.sessions.rechecking import OPS, RECHECK, due, refreshing
from tests.oidc.world import APP, World, as_json, connection, signed_in


def userinfo_world(**changes: Any) -> World:
    world = World(endpoints={APP: connection(recheck_seconds=RECHECK, **changes)})
    world.provider.userinfo = {"sub": "alice", "groups": ["ops"]}
    return world


async def test_without_a_refresh_token_userinfo_is_asked_while_the_access_token_is_good() -> None:
    world = userinfo_world(rules=OPS)
    world.provider.token_answer["expires_in"] = 3600
    browser = await due(world)
    world.find(browser)
    await world.rechecked()
    session = world.find(browser)
    assert session.identity.groups == ("ops",)
    assert session.identity.email == "alice@acme.example"
    world.provider.userinfo = {"sub": "alice"}
    world.clock.now += RECHECK
    world.find(browser)
    await world.rechecked()
    assert world.find(browser) is None


async def test_an_access_token_that_has_expired_is_not_shown_and_the_claims_stay_as_they_were() -> None:
    world = userinfo_world(rules=OPS)
    world.provider.token_answer["expires_in"] = 600
    browser = await due(world)
    asked = len(world.provider.calls_to("/userinfo"))
    world.provider.userinfo = {"sub": "alice"}
    assert world.find(browser)
    await world.rechecked()
    world.clock.now += 600
    assert world.find(browser).identity.groups == ("ops",)
    assert len(world.provider.calls_to("/userinfo")) == asked


REFUSED = [as_json({"error": "invalid_token"}, 401), httpx.Response(401, headers={"www-authenticate": "Bearer"})]


@pytest.mark.parametrize("refusal", REFUSED)
@pytest.mark.parametrize(("expires_in", "is_over"), [(3600, True), (None, False)])
async def test_an_access_token_that_was_taken_back_ends_the_session_and_one_that_ran_out_does_not(
    expires_in: int | None, is_over: bool, refusal: httpx.Response
) -> None:
    world = userinfo_world()
    world.provider.token_answer["expires_in"] = expires_in
    browser = await due(world)
    world.provider.answers["/userinfo"] = refusal
    world.find(browser)
    await world.rechecked()
    assert (world.find(browser) is None) is is_over


async def test_userinfo_of_somebody_else_ends_the_session_and_a_broken_one_is_tried_again() -> None:
    world = userinfo_world()
    browser, other = await signed_in(world), await signed_in(world)
    world.clock.now += RECHECK
    world.provider.answers["/userinfo"] = as_json({}, 500)
    world.find(browser)
    await world.rechecked()
    assert world.find(browser)
    world.provider.answers.clear()
    world.provider.userinfo = {"sub": "mallory"}
    world.find(other)
    await world.rechecked()
    assert world.find(other) is None


async def test_an_address_that_changed_is_not_verified_by_the_word_about_the_old_one() -> None:
    world = userinfo_world()
    browser = await due(world)
    world.provider.userinfo = {"sub": "alice", "email": "boss@acme.example"}
    world.find(browser)
    await world.rechecked()
    assert world.find(browser).identity.email == ""


@pytest.mark.parametrize("has_userinfo", [True, False])
async def test_a_refresh_without_an_id_token_is_completed_from_userinfo_or_changes_nothing(has_userinfo: bool) -> None:
    world = refreshing()
    world.provider.metadata["userinfo_endpoint"] = f"{world.provider.issuer}/userinfo" if has_userinfo else None
    browser = await due(world)
    world.provider.refresh_answer = {"id_token": None}
    world.provider.userinfo = {"sub": "alice", "name": "Alice Brown"}
    world.find(browser)
    await world.rechecked()
    assert world.find(browser).identity.name == ("Alice Brown" if has_userinfo else "Alice Adams")
    assert world.find(browser).identity.email == "alice@acme.example"
    assert world.told("session.refresh") == ["ok"]


async def test_a_token_that_rotated_before_userinfo_failed_is_the_one_that_is_shown_next() -> None:
    world = refreshing()
    browser = await due(world)
    world.provider.claims["name"] = None
    world.provider.answers["/userinfo"] = as_json({}, 500)
    world.find(browser)
    await world.rechecked()
    world.provider.answers.clear()
    world.provider.userinfo = {"sub": "alice", "name": "Alice Brown"}
    world.clock.now += 30
    world.find(browser)
    await world.rechecked()
    assert world.provider.refreshes() == ["rt0-1", "rt0-2"]
    assert world.find(browser).identity.name == "Alice Brown"


@pytest.mark.parametrize("by_refresh", [True, False])
async def test_an_access_token_that_was_never_for_userinfo_is_shown_there_once(by_refresh: bool) -> None:
    world = userinfo_world()
    world.provider.gives_refresh = by_refresh
    world.provider.refresh_answer = {"id_token": None}
    world.provider.token_answer["expires_in"] = 7200
    browser = await due(world)
    world.provider.answers["/userinfo"] = as_json({"error": "insufficient_scope"}, 403)
    for _ in range(3):
        assert world.find(browser)
        await world.rechecked()
        world.clock.now += RECHECK
        world.use(browser)
        await world.rechecked()
    assert world.find(browser)
    assert (len(world.provider.refreshes()) > 1) is by_refresh
    assert (len(world.provider.calls_to("/userinfo")) == 1) is not by_refresh


async def test_userinfo_that_somebody_in_between_keeps_us_from_is_one_that_could_not_be_asked() -> None:
    world = userinfo_world()
    browser = await due(world)
    world.provider.answers["/userinfo"] = as_json({"error": "blocked"}, 403)
    world.find(browser)
    await world.rechecked()
    assert world.find(browser)
    assert world.told("session.refresh") == ["unreachable"]
