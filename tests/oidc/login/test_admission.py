"""From a code to being let in: token endpoint, userinfo and rules that do not go well (rows 1-20, 59)."""

from typing import Any

import httpx
import pytest

from tests.oidc.world import (
    APP,
    ISSUER,
    Browser,
    World,
    as_json,
    code_of,
    connection,
    handed_over,
    location,
    text_of,
)
from tunnelrelay.policy.rules import Rules

# The token endpoint


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(
            302, headers={"location": "http://127.0.0.1/", "content-type": "application/json"}, content=b"{}"
        ),
        httpx.Response(200, headers={"content-type": "text/html"}, content=b"<html>"),
        httpx.Response(200, headers={"content-type": "application/json"}, content=b"x" * 1_000_000),
        httpx.ReadTimeout("slow"),
        as_json([]),
        as_json({"error": "invalid_client", "error_description": "<script>"}, 401),
        as_json({}, 500),
    ],
)
async def test_a_token_endpoint_that_misbehaves_ends_the_login(answer: httpx.Response | Exception) -> None:
    """Row 59."""
    world = World()
    world.provider.answers["/token"] = answer
    browser = Browser(world)
    page = await browser.sign_in()
    assert code_of(page) in ("provider_error", "provider_unreachable")
    assert "script>" not in text_of(page)
    assert browser.session_cookie() is None
    assert not [name for name in browser.jars[APP] if b"-tx-" in name]


@pytest.mark.parametrize(
    "lies",
    [
        {"id_token": None},
        {"id_token": ""},
        {"id_token": 7},
        {"id_token": "x.y.z"},
        {"token_type": "DPoP"},
        {"token_type": None},
        {"access_token": None},
        {"access_token": "a\r\nb"},
        {"access_token": 7},
        {"access_token": "é"},
    ],
)
async def test_a_token_answer_without_what_must_be_there_ends_the_login(lies: dict[str, Any]) -> None:
    """Row 59."""
    world = World()
    world.provider.token_answer.update(lies)
    assert code_of(await Browser(world).sign_in()) == "provider_error"


@pytest.mark.parametrize("expires_in", ["abc", -1, None, 10**99, [], True])
async def test_a_strange_life_of_the_access_token_changes_nothing(expires_in: Any) -> None:
    """Row 59."""
    world = World()
    world.provider.token_answer["expires_in"] = expires_in
    browser = Browser(world)
    await browser.sign_in()
    assert await world.signed_in(browser)


@pytest.mark.parametrize("when", ["callback", "finish"])
@pytest.mark.parametrize("change", [{"epoch": "epoch-2"}, {"id": "conn-2"}, None])
async def test_a_login_under_another_configuration_starts_again(when: str, change: dict[str, str] | None) -> None:
    """Row 60."""
    world = World()
    browser = Browser(world)
    started = await browser.start()
    handed = await browser.callback(world.provider.authorize(location(started)))
    if when == "callback":
        del world.endpoints[APP]
        if change is not None:
            world.endpoints[APP] = connection(**change)
        reply = await browser.callback(world.provider.authorize(location(started)))
        assert code_of(reply) == "login_restart"
    elif change is not None:
        world.endpoints[APP] = connection(**change)
        assert code_of(await browser.finish(handed)) == "login_restart"
    assert world.provider.calls_to("/token") == []


# Who is let in


async def test_a_token_that_fails_the_check_list_signs_nobody_in() -> None:
    """Rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16."""
    for lies in ({"aud": "other"}, {"nonce": "other"}, {"exp": 1}, {"iss": ISSUER + "/"}, {"sub": None}):
        world = World()
        world.provider.claims.update(lies)
        browser = Browser(world)
        assert code_of(await browser.sign_in()) == "provider_error"
        assert browser.session_cookie() is None


async def test_a_login_is_used_up_by_a_wrong_nonce() -> None:
    """Row 12."""
    world = World()
    browser = Browser(world)
    world.provider.claims["nonce"] = "other"
    handed = await handed_over(world, browser)
    kept = dict(browser.jars[APP])
    await browser.finish(handed)
    browser.jars[APP] = kept
    assert code_of(await browser.finish(handed)) == "login_restart"


@pytest.mark.parametrize(
    "email",
    [
        "alice@good.com@evil.com",
        '"a@good.com "@evil',
        "a@good.com\x00",
        "a@good.com\n",
        "a@gооd.com",
        "a@sub.good.com",
        "a@good.com.evil",
        "good.com",
        "@good.com",
        "a@good.com,b@evil",
        "a@good.com ",
        "a@xgood.com",
        ["a@good.com"],
    ],
)
async def test_an_address_that_only_looks_right_is_not_admitted(email: Any) -> None:
    """Row 19."""
    world = World(endpoints={APP: connection(rules=Rules(domains=frozenset({"good.com"})))})
    world.provider.claims["email"] = email
    browser = Browser(world)
    assert code_of(await browser.sign_in()) == "not_admitted"
    assert browser.session_cookie() is None


async def test_case_does_not_matter() -> None:
    """Row 19."""
    world = World(endpoints={APP: connection(rules=Rules(domains=frozenset({"good.com"})))})
    world.provider.claims["email"] = "a@GOOD.com"
    browser = Browser(world)
    await browser.sign_in()
    assert (await world.signed_in(browser)).identity.email == "a@good.com"


@pytest.mark.parametrize("verified", [False, None, "false", "true", 1, 0, []])
async def test_an_address_that_is_not_verified_admits_nobody(verified: Any) -> None:
    """Row 20."""
    world = World(endpoints={APP: connection(rules=Rules(emails=frozenset({"alice@acme.example"})))})
    world.provider.claims["email_verified"] = verified
    world.provider.userinfo = {"sub": "alice"}
    page = await Browser(world).sign_in()
    assert (page.status, code_of(page)) == (403, "not_admitted")
    assert "Alice Adams" in text_of(page)
    assert "verified" in text_of(page)
    assert "Grace Hopper" in text_of(page)


async def test_an_address_that_is_not_verified_reaches_no_app() -> None:
    """Row 20."""
    world = World()
    world.provider.claims["email_verified"] = False
    browser = Browser(world)
    await browser.sign_in()
    assert (await world.signed_in(browser)).identity.email == ""


# Userinfo


async def test_userinfo_is_not_asked_when_the_id_token_says_it_all() -> None:
    world = World()
    await Browser(world).sign_in()
    assert world.provider.calls_to("/userinfo") == []


async def test_userinfo_fills_in_what_the_rules_need() -> None:
    world = World(endpoints={APP: connection(rules=Rules(groups=frozenset({"ops"})))})
    world.provider.userinfo = {"sub": "alice", "groups": ["ops"], "email": "mallory@evil.example", "iss": "evil"}
    browser = Browser(world)
    await browser.sign_in()
    identity = (await world.signed_in(browser)).identity
    assert (identity.groups, identity.email, identity.issuer) == (("ops",), "alice@acme.example", ISSUER)
    (call,) = world.provider.calls_to("/userinfo")
    assert call.headers["authorization"] == "Bearer at"


async def test_userinfo_does_not_verify_the_address_of_another_document() -> None:
    world = World(endpoints={APP: connection(rules=Rules(emails=frozenset({"alice@acme.example"})))})
    world.provider.claims["email_verified"] = None
    world.provider.userinfo = {"sub": "alice", "email": "other@acme.example", "email_verified": True}
    assert code_of(await Browser(world).sign_in()) == "not_admitted"
    world.provider.userinfo["email"] = "alice@acme.example"
    browser = Browser(world)
    await browser.sign_in()
    assert await world.signed_in(browser)


@pytest.mark.parametrize(
    "answer",
    [
        as_json({"sub": "bob", "groups": ["ops"]}),
        as_json({"groups": ["ops"]}),
        as_json({"sub": "alice", "groups": ["ops"]}, 401),
        httpx.Response(200, headers={"content-type": "application/jwt"}, content=b"eyJhbGciOiJub25lIn0.e30."),
        httpx.Response(
            302, headers={"location": "http://169.254.169.254/", "content-type": "application/json"}, content=b"{}"
        ),
        httpx.Response(200, headers={"content-type": "text/html"}, content=b"<html>"),
    ],
)
async def test_userinfo_that_cannot_be_believed_ends_the_login(answer: httpx.Response) -> None:
    """Rows 14, 15."""
    world = World(endpoints={APP: connection(rules=Rules(groups=frozenset({"ops"})))})
    world.provider.answers["/userinfo"] = answer
    browser = Browser(world)
    assert code_of(await browser.sign_in()) == "provider_error"
    assert browser.session_cookie() is None
