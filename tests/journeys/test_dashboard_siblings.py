"""What a tunnel's page, on a sibling host of the dashboard, can do to an administrator in a real Chromium: nothing.

To the browser both are one site, over TLS here as on a real domain: SameSite cookies come along with whatever the page
asks for. What is refused is refused by the dashboard.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.app_routes import sample_app
from tests.support.apps import App
from tests.support.browser import fresh_profile
from tests.support.neighbours import serve
from tests.support.stack_tls import DOMAIN, SecureStack

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

COOKIE = "__Host-tunnel-dashboard"
READS = {
    "fetch": "fetch(board + '/edges', {credentials: 'include'}).then(a => a.text())",
    "fetch-blind": "fetch(board + '/edges', {credentials: 'include', mode: 'no-cors'}).then(a => a.type)",
    "script": "load('script', 'src', board + '/edges')",
    "style": "load('link', 'href', board + '/edges')",
    "own-script": "load('script', 'src', board + asset)",
    "image": "load('img', 'src', board + '/edges')",
    "embed": "load('embed', 'src', board + '/edges')",
    "event-stream": "new Promise((ok, no) => { const es = new EventSource(board + '/edges/events',"
    " {withCredentials: true}); es.onopen = () => ok('open'); es.onerror = () => { es.close(); no('closed'); }; })",
    "window": "new Promise((ok, no) => { const w = window.open(board + '/edges');"
    " setTimeout(() => { try { ok(w.document.body.innerText) } catch (e) { no(e) } }, 500); })",
}
"""What the page tries, each ending in what it learnt or in a rejection."""
POSTS = ("/edges/new", "/sign-out", "/sign-in")
PAGE = """<!doctype html><title>prizes</title><script>
const board = '%s', asset = '%s';
function load(tag, attribute, url) {
  return new Promise((ok, no) => {
    const element = document.createElement(tag);
    if (tag === 'link') element.rel = 'stylesheet';
    element.onload = () => ok('loaded');
    element.onerror = () => no('failed');
    element[attribute] = url;
    document.documentElement.append(element);
  });
}
</script>%s"""


class Town:
    """A dashboard, and a hostile tunnel beside it.

    Attributes:
        board, evil: Their addresses.
    """

    def __init__(self, stack: SecureStack, app: App) -> None:
        self.app = app
        self.evil = stack.tunnel(app.port, "--subdomain=evil", *stack.agent_flags).url
        self.board = f"https://dashboard.{DOMAIN}:{stack.https_port}"
        self.link = stack.admin_link()
        self.asset = "/edges"
        self.context: BrowserContext

    async def sign_in(self, context: BrowserContext) -> None:
        """By the first link; there is one browser for all tests."""
        self.context = context
        page = await context.new_page()
        await page.goto(self.link)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("heading", level=1).wait_for()
        self.asset = await page.evaluate("new URL(document.scripts[1].src).pathname")
        await page.close()

    async def lure(self, body: str = "") -> Page:
        """The administrator opens the tunnel's page."""
        serve(self.app, "/prizes", PAGE % (self.board, self.asset, body))
        page = await self.context.new_page()
        await page.goto(f"{self.evil}/prizes")
        return page

    async def edges(self) -> Page:
        """The dashboard, in the same browser."""
        page = await self.context.new_page()
        await page.goto(f"{self.board}/edges")
        return page


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder: Path = tmp_path_factory.mktemp("town")
    stack = SecureStack(folder)
    try:
        with sample_app() as app:
            yield Town(stack, app)
    finally:
        stack.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(place: Town, chromium: Browser) -> AsyncIterator[Town]:
    async with fresh_profile(chromium) as context:
        await place.sign_in(context)
        yield place


async def is_signed_in_with_no_edges(town: Town) -> None:
    page = await town.edges()
    await expect(page.get_by_text("No edges yet")).to_be_visible()
    await page.close()


async def test_it_reads_nothing(town: Town):
    """Rows 137, 141."""
    page = await town.lure()
    learnt = {
        name: await page.evaluate(f"{attack}.catch(error => 'refused: ' + error)") for name, attack in READS.items()
    }

    assert {name: words for name, words in learnt.items() if not words.startswith("refused")} in (
        {},
        # A blind answer says that there was one, and an `embed` that it was refused.
        {"embed": "loaded"},
    )


@pytest.mark.parametrize("path", POSTS)
async def test_its_forms_and_scripts_change_nothing(town: Town, path):
    """Rows 137, 143."""
    fields = "<input name=host value=new><input name=name value=stolen><input name=secret value=tc_x>"
    fields += "<input name=csrf value=guess>"
    page = await town.lure(f'<form method=post action="{town.board}{path}">{fields}<button>Win</button></form>')
    blind = f"fetch(board + '{path}', {{method: 'POST', credentials: 'include', mode: 'no-cors',"
    blind += " body: new URLSearchParams({host: 'new', name: 'stolen', csrf: 'guess', secret: 'tc_x'})})"
    await page.evaluate(f"{blind}.catch(() => '')")
    async with page.expect_navigation(url=f"{town.board}{path}") as moved:
        await page.get_by_role("button").click()
    answer = await moved.value

    assert answer is not None
    assert answer.status == 403
    await is_signed_in_with_no_edges(town)


async def test_it_puts_the_dashboard_into_no_frame(town: Town):
    """Row 143."""
    page = await town.lure(f'<iframe src="{town.board}/edges"></iframe>')
    await page.wait_for_load_state("networkidle")

    assert "No edges yet" not in "".join([await frame.content() for frame in page.frames])


async def test_the_cookies_it_plants_sign_nobody_in_or_out(town: Town):
    """Rows 143, 147."""
    page = await town.lure()
    for name in (COOKIE, COOKIE.lower(), "tunnel-dashboard", "__Secure-tunnel-dashboard", f"\u00a0{COOKIE}"):
        for where in (f"domain={DOMAIN}", f"domain=dashboard.{DOMAIN}", ""):
            await page.evaluate("text => { document.cookie = text }", f"{name}=planted; path=/; secure; {where}")

    await is_signed_in_with_no_edges(town)


async def test_a_stranger_with_planted_cookies_is_still_a_stranger(town: Town, context: BrowserContext):
    """Rows 143, 147."""
    value = next(cookie for cookie in await town.context.cookies(town.board) if cookie["name"] == COOKIE)["value"]
    page = await context.new_page()
    await page.goto(f"{town.evil}/prizes")
    for where in (f"domain={DOMAIN}", f"domain=dashboard.{DOMAIN}"):
        planted = f"{COOKIE}={value}; path=/; secure; {where}"
        await page.evaluate("text => { document.cookie = text }", planted)
    await page.goto(f"{town.board}/edges")

    assert page.url.startswith(f"{town.board}/sign-in")
