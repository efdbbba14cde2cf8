"""The login of people who mean well: what is sent, what comes back, tabs and double clicks, and a relay in trouble."""

import asyncio
from base64 import b64decode
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import httpx
import pytest

from tests.oidc.world import (
    APP,
    CLIENT_ID,
    CLIENT_SECRET,
    ISSUER,
    Browser,
    LyingProvider,
    World,
    code_of,
    connection,
    handed_over,
    location,
    sent_to,
    set_cookies,
)
from tunnelrelay.address import PublicAddress
from tunnelrelay.policy.rules import Rules
from tunnelrelay.store.base import StoreError


async def test_a_visitor_signs_in_and_arrives_where_they_wanted_to_go() -> None:
    world = World()
    browser = Browser(world)
    reply = await browser.sign_in("/x?y=1")
    assert location(reply) == f"https://{APP}/x?y=1"
    session = await world.signed_in(browser)
    assert (session.identity.issuer, session.identity.subject) == (ISSUER, "alice")
    assert session.identity.email == "alice@acme.example"
    assert not [name for name in browser.jars[APP] if b"-tx-" in name]


async def test_the_provider_is_asked_for_a_code_with_everything_that_binds_it() -> None:
    world = World()
    reply = await Browser(world).start()
    asked = sent_to(reply)
    assert location(reply).startswith(f"{ISSUER}/authorize?")
    assert asked["redirect_uri"] == "https://idp.tun.example/oauth2/callback"
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert (asked["client_id"], asked["scope"]) == (CLIENT_ID, "openid email profile")
    assert len(asked["nonce"]) >= 43
    assert len(asked["code_challenge"]) == 43
    assert len(asked["state"]) < 600
    fields = dict(reply.fields)
    assert fields[b"Cache-Control"] == b"no-store"
    assert fields[b"Referrer-Policy"] == b"no-referrer"


async def test_cookies_are_host_only_secure_and_lax() -> None:
    world = World()
    browser = Browser(world)
    (tx_cookie,) = set_cookies(await browser.start())
    assert tx_cookie.startswith(b"__Host-tunnel-tx-")
    assert tx_cookie.endswith(b"; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure")
    assert len(tx_cookie) < 3500
    session_cookie = set_cookies(await browser.sign_in())[-1]
    assert session_cookie.startswith(b"__Host-tunnel=")
    assert session_cookie.endswith(b"; Path=/; HttpOnly; SameSite=Lax; Secure")


async def test_on_plain_http_the_cookies_have_no_prefix() -> None:
    world = World(address=PublicAddress(scheme="http", domain="localhost", port=8080))
    host = "app.localhost"
    world.endpoints[host] = connection()
    started = await Browser(world).start(host=host)
    (tx_cookie,) = set_cookies(started)
    assert tx_cookie.startswith(b"tunnel-tx-")
    assert b"Secure" not in tx_cookie
    assert sent_to(started)["redirect_uri"] == "http://localhost:8080/oauth2/callback"


async def test_the_secret_is_form_encoded_before_it_is_shown_by_basic() -> None:
    world = World()
    await Browser(world).sign_in()
    (call,) = world.provider.calls_to("/token")
    user, _, password = b64decode(call.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
    assert (unquote_plus(user), unquote_plus(password)) == (CLIENT_ID, CLIENT_SECRET)
    form = dict(parse_qsl(call.content.decode()))
    assert form["redirect_uri"] == "https://idp.tun.example/oauth2/callback"
    assert "client_secret" not in form


async def test_the_secret_goes_in_the_form_when_that_is_all_the_provider_takes() -> None:
    world = World()
    world.provider.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    browser = Browser(world)
    await browser.sign_in()
    assert await world.signed_in(browser)
    (call,) = world.provider.calls_to("/token")
    assert "authorization" not in call.headers
    assert dict(parse_qsl(call.content.decode()))["client_secret"] == CLIENT_SECRET


async def test_a_client_without_a_secret_shows_none() -> None:
    world = World(endpoints={APP: connection(client_secret="")})
    await Browser(world).sign_in()
    (call,) = world.provider.calls_to("/token")
    assert "authorization" not in call.headers
    assert dict(parse_qsl(call.content.decode()))["client_id"] == CLIENT_ID


# Tabs, the back button, double submits


async def test_the_newest_login_wins_and_ends_the_session_it_replaces() -> None:
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    first = await world.signed_in(browser)
    old_cookie = browser.session_cookie()
    world.provider.claims["sub"] = "bob"
    await browser.sign_in()
    session = await world.signed_in(browser)
    assert session.identity.subject == "bob"
    assert world.ended == [first.id_digest]
    assert old_cookie is not None
    assert await world.sessions.recall(old_cookie, APP, world.endpoints[APP], world.clock()) is None


async def test_the_back_button_onto_the_hand_off_leads_into_the_app() -> None:
    world = World()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    await browser.finish(handed)
    assert location(await browser.finish(handed)) == f"https://{APP}/x?y=1"


class Slow(LyingProvider):
    """Answers the token endpoint when told."""

    gate = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            await self.gate.wait()
        return await super().handle_async_request(request)


async def test_a_double_click_is_one_login_with_one_answer() -> None:
    world = World()
    world.provider = Slow(clock=world.clock)
    world.provider.gate = asyncio.Event()
    world.restart()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    clicks = [asyncio.ensure_future(browser.finish(handed)) for _ in range(2)]
    await asyncio.sleep(0)
    world.provider.gate.set()
    first, second = await asyncio.gather(*clicks)
    assert first == second
    assert len(world.provider.calls_to("/token")) == 1


async def test_a_login_whose_visitor_went_away_leaves_nothing_behind() -> None:
    world = World()
    world.provider = Slow(clock=world.clock)
    world.provider.gate = asyncio.Event()
    world.restart()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    first, second = (asyncio.ensure_future(browser.finish(handed)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    assert code_of(await second) == "login_restart"
    await browser.finish(handed)
    assert world.told("login.error") == ["used_before"]


# The relay's own troubles


class BrokenStore:
    """A store that has gone away."""

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: Any, **__: Any) -> None:
            raise StoreError("away")

        return fail


async def test_no_login_without_a_store() -> None:
    """Row 61."""
    world = World(store=BrokenStore())
    browser = Browser(world)
    page = await browser.sign_in()
    assert (page.status, code_of(page)) == (503, "relay_busy")
    assert browser.session_cookie() is None
    assert world.provider.calls_to("/token") == []


async def test_a_provider_that_is_away_is_said_to_be() -> None:
    world = World()
    world.provider.answers["/.well-known/openid-configuration"] = httpx.ConnectError("no route")
    page = await Browser(world).start()
    assert code_of(page) == "provider_unreachable"
    assert set_cookies(page) == []


async def test_no_log_line_holds_a_secret_of_the_login(caplog: pytest.LogCaptureFixture) -> None:
    """Row 158."""
    caplog.set_level("DEBUG")
    world = World()
    browser = Browser(world)
    started = await browser.start("/private?token=canary-query")
    params = world.provider.authorize(location(started))
    handed = await browser.callback(params)
    await browser.finish(handed)
    await browser.finish(handed)
    secrets = [sent_to(started)["state"], sent_to(handed)["h"], dict(params)["code"], CLIENT_SECRET, "canary-query"]
    secrets += [value.decode() for value in browser.jars[APP].values()]
    assert not [secret for secret in secrets if secret in caplog.text]


async def test_a_rule_about_groups_asks_for_their_scope_where_the_provider_has_it() -> None:
    world = World(endpoints={APP: connection(rules=Rules(groups=frozenset({"staff"})))})
    world.provider.metadata["scopes_supported"] = ["openid", "groups"]
    assert sent_to(await Browser(world).start())["scope"] == "openid email profile groups"


async def test_a_provider_that_does_not_list_the_scope_groups_is_not_asked_for_it() -> None:
    world = World(endpoints={APP: connection(rules=Rules(groups=frozenset({"staff"})))})
    assert sent_to(await Browser(world).start())["scope"] == "openid email profile"
