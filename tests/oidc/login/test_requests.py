"""What a visitor's request may decide about a login: that it starts, and nothing else."""

from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from tests.oidc.login.test_login import BrokenStore
from tests.oidc.world import (
    APP,
    PEER,
    TUN_EXAMPLE,
    Browser,
    World,
    code_of,
    connection,
    location,
    request,
    sent_to,
    set_cookies,
)
from tunnelrelay.model import RequestKind
from tunnelrelay.oidc.login.cookies import MAX_TRANSACTIONS
from tunnelrelay.oidc.login.sealed_state import MAX_RETURN
from tunnelrelay.policy.classify import classify


@pytest.mark.parametrize("target", ["//evil.example/x", "/\\evil.example", "/%09/evil", "/..//evil", "/" + "a" * 4000])
async def test_a_login_ends_on_the_host_it_began_on(target: str) -> None:
    """Row 43."""
    world = World()
    reply = await Browser(world).sign_in(target)
    assert urlsplit(location(reply)).netloc == APP


async def test_nothing_in_a_visitors_request_changes_where_a_login_leads() -> None:
    """Rows 44, 58."""
    world = World()
    target = "/?rd=//evil&redirect_uri=https://evil&prompt=none&scope=admin&acr_values=x&login_hint=y&state=z&next=https://evil"
    fields = [("X-Auth-Request-Redirect", "https://evil"), ("X-Forwarded-Uri", "//evil"), ("X-Forwarded-Host", "evil")]
    reply = (await world.login.start(APP, world.endpoints[APP], request(APP, target, fields), "r", PEER)).reply
    asked = sent_to(reply)
    assert asked.keys().isdisjoint({"prompt", "acr_values", "login_hint", "rd", "next"})
    assert (asked["scope"], asked["redirect_uri"]) == (
        "openid email profile",
        "https://idp.tun.example/oauth2/callback",
    )
    assert "evil" not in location(reply)


async def test_a_login_in_one_tab_survives_others_and_the_oldest_goes_first() -> None:
    """Row 46."""
    world = World()
    browser = Browser(world)
    tabs = []
    for number in range(MAX_TRANSACTIONS + 2):
        tabs.append(await browser.start(f"/tab-{number}"))
        world.clock.now += 1
    assert len(browser.jars[APP]) == MAX_TRANSACTIONS
    ends = [
        await browser.finish(await browser.callback(world.provider.authorize(location(tab))))
        for tab in (tabs[0], tabs[2])
    ]
    assert code_of(ends[0]) == "login_restart"
    assert location(ends[1]).endswith("/tab-2")


async def test_stray_login_cookies_are_removed() -> None:
    world = World()
    browser = Browser(world)
    browser.jars[APP] = {b"__Host-tunnel-tx-%08x" % number: b"junk" for number in range(30)}
    reply = await browser.start()
    assert len(browser.jars[APP]) == 30 - 20 + 1
    assert len(set_cookies(reply)) == 21


async def test_two_session_cookies_are_both_cleared_when_a_login_begins() -> None:
    """Row 66."""
    world = World()
    head = request(APP, "/", [("Cookie", "__Host-tunnel=A; __Host-tunnel=B")])
    reply = (await world.login.start(APP, world.endpoints[APP], head, "r", PEER)).reply
    assert any(value.startswith(b"__Host-tunnel=; ") and b"Max-Age=0" in value for value in set_cookies(reply))


@pytest.mark.parametrize(
    "fields",
    [
        [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"), ("Accept", "text/html")],
        [("X-Requested-With", "XMLHttpRequest"), ("Accept", "text/html")],
        [("Accept", "application/json")],
        [],
    ],
)
def test_polling_never_starts_a_login(fields: list[tuple[str, str]]) -> None:
    """Row 46."""
    assert classify(request(APP, "/poll", fields)) is not RequestKind.NAVIGATION


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_only_get_starts_a_login_so_no_body_is_ever_kept(method: str) -> None:
    """Row 48."""
    fields = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Accept", "text/html")]
    assert classify(request(APP, "/form", fields, method)) is not RequestKind.NAVIGATION


async def test_a_flood_of_logins_begun_keeps_nothing() -> None:
    """Row 127. Nothing is written or looked up, and the provider's documents are read once."""
    world = World(store=BrokenStore())
    for number in range(300):
        assert (await Browser(world).start(f"/{number}")).status == 303
    assert [call.url.path for call in world.provider.calls] == ["/.well-known/openid-configuration"]


async def test_a_flood_of_answers_makes_no_calls() -> None:
    """Row 128."""
    world = World(store=BrokenStore())
    browser = Browser(world)
    params = world.provider.authorize(location(await browser.start()))
    before = len(world.provider.calls)
    for _ in range(300):
        assert (await browser.callback(params)).status == 303
        assert code_of(await browser.callback([("code", "x"), ("state", "v1.a.b")])) == "login_state_invalid"
        assert code_of(await Browser(world).open_handoff([("h", "v1.a.b")])) == "login_restart"
    assert len(world.provider.calls) == before


async def test_the_cookie_of_the_longest_login_fits_a_browsers_limit() -> None:
    """RFC 6265 section 6.1: 4,096 bytes of name and value; browsers drop what is longer without a word."""
    host = f"{'a' * 63}.{'b' * 189}"
    address = replace(TUN_EXAMPLE, domain="b" * 189, port=65535, is_multi_tenant=True)
    world = World(address=address, endpoints={host: connection(id="c" * 26, epoch="e" * 26, callback="host")})
    (cookie,) = set_cookies(await Browser(world).start("/" + "a" * (MAX_RETURN - 1), host))
    assert len(cookie.partition(b"; ")[0]) <= 4096
