"""Several tabs, the back button, frames and pages fetched ahead: how people and browsers really get to a login."""

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.async_api import BrowserContext, Page

from tests.support.browser import sign_in
from tests.support.neighbours import Neighbours, neighbours, serve, shows_app
from tests.support.stack import until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TABS = 12
"""A browser that restores its windows."""
TRANSACTION = "tunnel-tx-"
AHEAD = """
const rules = document.createElement('script');
rules.type = 'speculationrules';
rules.textContent = JSON.stringify({%s: [{urls: [%r], eagerness: 'immediate'}]});
document.head.append(rules);
"""


@pytest.fixture(scope="module")
def town(tmp_path_factory, chromium) -> Iterator[Neighbours]:
    with neighbours(tmp_path_factory.mktemp("town"), chromium) as town:
        yield town


async def email_seen(page: Page) -> str:
    """Who the app is told is there."""
    seen = await page.evaluate("fetch('/echo').then(a => a.json()).then(a => Object.fromEntries(a.fields))")
    return str(seen["x-tunnel-email"])


async def names_of(context: BrowserContext, town: Neighbours) -> list[str]:
    return [cookie["name"] for cookie in await context.cookies(town.door.url)]


def is_at_provider(town: Neighbours, page: Page) -> bool:
    return urlsplit(page.url).netloc == urlsplit(town.idp.issuer).netloc


@pytest.mark.thorough
async def test_logins_begun_in_twelve_tabs_all_end_well_and_the_newest_counts_in_all(town, context):
    tabs = [await context.new_page() for _ in range(TABS)]
    await asyncio.gather(*(tab.goto(f"{town.door.url}/?tab={number}") for number, tab in enumerate(tabs)))
    assert len([name for name in await names_of(context, town) if name.startswith(TRANSACTION)]) == TABS
    for number, tab in reversed(list(enumerate(tabs))):
        await sign_in(tab, "alice" if number else "bob")
        await shows_app(tab)
        assert tab.url == f"{town.door.url}/?tab={number}"

    assert await names_of(context, town) == ["tunnel"]
    assert {await email_seen(tab) for tab in tabs} == {"bob@example.com"}


async def test_a_session_that_a_newer_login_replaced_is_over(town, context):
    """Row 74. Whoever kept the older cookie has nothing."""
    first, second = await context.new_page(), await context.new_page()
    await first.goto(town.door.url)
    await second.goto(town.door.url)
    await sign_in(first, "alice")
    await shows_app(first)
    older = [cookie for cookie in await context.cookies(town.door.url) if cookie["name"] == "tunnel"]
    await sign_in(second, "bob")
    await shows_app(second)
    await context.clear_cookies()
    await context.add_cookies(older)
    await first.goto(town.door.url)

    assert is_at_provider(town, first)


async def test_the_back_button_after_a_login_leads_through_the_provider_to_the_app_again(town):
    """Row 40. The provider gives a new code for a login that is over: it is not taken, and nobody is signed out."""
    async with town.signed_in() as (context, page):
        before = await context.cookies(town.door.url)
        await page.go_back()
        assert is_at_provider(town, page)
        await sign_in(page, "bob")
        await shows_app(page)

        assert await context.cookies(town.door.url) == before
        assert await email_seen(page) == "alice@example.com"


async def test_a_reload_of_a_page_that_is_shown_after_a_login_starts_nothing_anew(town):
    async with town.signed_in() as (_context, page):
        await page.reload()
        await shows_app(page)
        await page.goto(f"{town.door.url}/?a")
        await page.go_back()
        await shows_app(page)


@pytest.mark.parametrize("where", ["a sibling", "another site"])
async def test_no_login_shows_inside_another_page(town, where):
    """Row 57. Signed in or not, the frame gets a page that leads out of it, and the provider is not asked."""
    town.serve("/frame", f'<iframe src="{town.door.url}/"></iframe>')
    outer = town.trap.url if where == "a sibling" else f"http://127.0.0.1:{town.evil.port}"
    async with town.signed_in() as (context, _page):
        for _ in ("signed in", "signed out"):
            page = await context.new_page()
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            await page.goto(f"{outer}/frame", wait_until="networkidle")
            link = page.frames[1].get_by_role("link")
            assert await link.get_attribute("target") == "_top"
            assert not [url for url in asked if url.startswith(town.idp.issuer)]
            await context.clear_cookies()
        await link.click()
        await page.wait_for_url(f"{town.idp.issuer}/**")

    assert town.app.requests == []


@pytest.mark.parametrize("kind", ["prefetch", "prerender"])
async def test_a_page_that_the_browser_fetches_ahead_begins_no_login(town, kind, context):
    """Row 56. On the app's own page, after the session has ended elsewhere; opening it for real then begins one."""
    serve(town.app, "/list", "<title>list</title>")
    page = await context.new_page()
    await town.log_in(page, "alice")
    await page.goto(f"{town.door.url}/list")
    await context.clear_cookies()
    await page.evaluate(AHEAD % (kind, f"/ahead-{kind}"))
    ahead = await asyncio.to_thread(exchange_of, town, f"/ahead-{kind}")

    assert (ahead["status"], ahead["error"]) == (503, "prefetch_refused")
    assert await names_of(context, town) == []
    assert town.app.seen(f"/ahead-{kind}") == []

    await page.evaluate(f"location.href = '/ahead-{kind}'")
    await page.wait_for_url(f"{town.idp.issuer}/**")


def exchange_of(town: Neighbours, path: str) -> dict[str, object]:
    """What the relay's log says of the first request for `path`."""
    found: list[dict[str, object]] = []

    def is_logged() -> bool:
        found[:] = [record for record in town.stack.relay.records() if record.get("path") == path]
        return bool(found)

    until(is_logged, f"the request for {path}")
    return found[0]
