"""A neighbour plants more cookies than a request may carry; the person finds the way out in a real Chromium."""

import pytest
from playwright.async_api import BrowserContext

from tests.ingress.scene import HOST, Scene

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

NEIGHBOUR = "evil.localhost"


async def test_one_click_lets_a_visitor_back_in(s: Scene, context: BrowserContext):
    """Row 69. The cookies are cleared by the very request that they make unreadable."""
    s.agent.answers = lambda asked: asked.answer()
    url = f"http://{HOST}:{s.port}"
    planted = [{"name": f"c{number}", "value": "x" * 4000, "url": url} for number in range(20)]
    await context.add_cookies([*planted, {"name": "c", "value": "1", "url": f"http://{NEIGHBOUR}:{s.port}"}])
    page = await context.new_page()
    answer = await page.goto(f"{url}/orders")
    assert answer is not None
    assert answer.status == 431
    await page.get_by_role("button", name="Clear the cookies of this site").click()
    await page.get_by_role("heading", name="The cookies are cleared").wait_for()
    assert not [cookie for cookie in await context.cookies() if cookie.get("domain") == HOST]
    async with page.expect_navigation():
        await page.get_by_role("link", name="Go on").click()
    assert page.url == f"{url}/"
    assert [entry.status for entry in s.log if entry.path != "/favicon.ico"] == [431, 200, 200]


async def test_a_neighbours_page_cannot_press_the_button(s: Scene, context: BrowserContext):
    """Row 69."""
    url = f"http://{HOST}:{s.port}"
    planted = [{"name": f"c{number}", "value": "x" * 4000, "url": url} for number in range(20)]
    form = f"<form method=post action='{url}/_tunnel/clear-cookies'><button>Win a prize</button></form>"
    await context.add_cookies(planted)
    page = await context.new_page()
    trap = f"http://{NEIGHBOUR}:{s.port}/trap"
    await page.route(trap, lambda route: route.fulfill(status=200, content_type="text/html", body=form))
    await page.goto(trap)
    await page.get_by_role("button", name="Win a prize").click()
    await page.get_by_role("heading", name="Your browser sends too much along").wait_for()
    assert len(await context.cookies()) == len(planted)
