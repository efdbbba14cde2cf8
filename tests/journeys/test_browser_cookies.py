"""Cookies that a sibling host plants or pushes out, in a real Chromium and over TLS, as on a public domain."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page

from tests.support.apps import Exchange
from tests.support.browser import sign_in
from tests.support.neighbours import Neighbours, neighbours, shows_app
from tests.support.stack_tls import DOMAIN

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SESSION = "__Host-tunnel"
SPELLINGS = {
    "plain": b"__Host-tunnel=%b",
    "raw-a0-in-front": b"\xa0__Host-tunnel=%b",
    "raw-85-in-front": b"\x85__Host-tunnel=%b",
    "nbsp-in-front": b"\xc2\xa0__Host-tunnel=%b",
    "ideographic-space-in-front": b"\xe3\x80\x80__Host-tunnel=%b",
    "raw-a0-behind": b"__Host-tunnel\xa0=%b",
    "nbsp-behind": b"__Host-tunnel\xc2\xa0=%b",
    "without-a-name": b"=__Host-tunnel=%b",
    "quoted": b'"__Host-tunnel"=%b',
    "lower-case": b"__host-tunnel=%b",
    "comma": b"a=b,__Host-tunnel=%b",
    "version": b"$Version=1,__Host-tunnel=%b",
    "without-prefix": b"tunnel=%b",
}
"""Each as `Set-Cookie` of a sibling, with the domain they share. Chromium takes most of them."""
MANY = 200
"""More than the about 180 cookies that Chromium keeps for a site."""


@pytest.fixture(scope="module")
def town(tmp_path_factory, chromium) -> Iterator[Neighbours]:
    with neighbours(tmp_path_factory.mktemp("town"), chromium, tls=True) as town:
        yield town


def plants(town: Neighbours, path: str, cookies: list[bytes]) -> None:
    """`rogue` sets these cookies for the whole domain when `path` is opened."""
    lines = [b"Set-Cookie: %b; Domain=%b; Path=/\r\n" % (cookie, DOMAIN.encode()) for cookie in cookies]

    async def answer(exchange: Exchange) -> None:
        exchange.close()
        await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n%b\r\nok" % b"".join(lines))

    town.evil.routes[path] = answer


async def session_of(town: Neighbours, user: str) -> bytes:
    """The session cookie of `user` at the app, as `user` could read it from their own browser."""
    async with town.signed_in(user) as (context, _page):
        cookies = await context.cookies(town.door.url)
        (value,) = [cookie["value"] for cookie in cookies if cookie["name"] == SESSION]
    return value.encode()


async def asks_to_sign_in(town: Neighbours, page: Page) -> None:
    await page.goto(town.door.url)
    assert urlsplit(page.url).netloc == urlsplit(town.idp.issuer).netloc, page.url


async def test_a_session_that_a_sibling_plants_is_nobodys(town, context):
    """Rows 65, 66, 67, 73. Bob's session, valid at this very host, in every spelling that a browser lets through."""
    bobs = await session_of(town, "bob")
    plants(town, "/plant", [spelling % bobs for spelling in SPELLINGS.values()])
    page = await context.new_page()
    await page.goto(f"{town.rogue}/plant")
    stored = await context.cookies(town.door.url)
    assert len(stored) > len(SPELLINGS) // 2, stored

    await asks_to_sign_in(town, page)
    await sign_in(page, "alice")
    await shows_app(page)
    seen = await page.evaluate("fetch('/echo').then(a => a.json()).then(a => Object.fromEntries(a.fields))")

    assert seen["x-tunnel-email"] == "alice@example.com"
    assert bobs.decode() not in str([request.raw for request in town.app.requests])


async def test_cookies_that_push_the_session_out_cost_another_login_and_nothing_else(town):
    """Row 69. Only Secure cookies do it, so by a script on a neighbour's page over TLS."""
    plant = f"for (let n = 0; n < {MANY}; n++) document.cookie = `f${{n}}=x; Domain={DOMAIN}; Path=/; Secure`"
    async with town.signed_in() as (context, page):
        await page.goto(town.trap.url)
        # What is written comes to the jar by and by, in order; what is read waits for what was written before.
        await page.evaluate(f"{plant}; document.cookie")
        assert SESSION not in [cookie["name"] for cookie in await context.cookies(town.door.url)]

        await asks_to_sign_in(town, page)
        await sign_in(page, "alice")
        await shows_app(page)


async def test_a_browser_whose_cookies_no_head_can_hold_finds_a_way_out(town):
    """Row 69. The page with the button is all that such a browser can be shown."""
    plants(town, "/bomb", [b"b%d=%b" % (number, b"x" * 3_500) for number in range(12)])
    async with town.signed_in() as (_context, page):
        await page.goto(f"{town.rogue}/bomb")
        answer = await page.goto(town.door.url)
        assert answer is not None
        assert answer.status == 431

        await page.get_by_role("button").click()
        await page.get_by_role("link").click()
        await page.wait_for_url(f"{town.idp.issuer}/**")
        await sign_in(page, "alice")
        await shows_app(page)


async def test_what_an_app_sets_stays_at_its_own_host(town, context):
    """Row 70. Evil's app, through the relay: our names are dropped, and the shared domain is taken off."""
    lines = ["__Host-tunnel=x; Path=/; Secure", "tunnel=x; Path=/", f"mine=1; Domain={DOMAIN}; Path=/", "own=1; Path=/"]
    town.serve("/cookies", "ok", *(("Set-Cookie", line) for line in lines))
    page = await context.new_page()
    await page.goto(f"{town.trap.url}/cookies")
    here = {cookie["name"] for cookie in await context.cookies(town.trap.url)}
    there = {cookie["name"] for cookie in await context.cookies(town.door.url)}

    assert (here, there) == ({"mine", "own"}, set())
