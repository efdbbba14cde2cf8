"""A former owner's service worker in a real Chromium, and how it ends at the visits after the name changed hands."""

import asyncio

import pytest
from playwright.async_api import BrowserContext, Page

from tests.ingress.scene import HOST, Scene
from tests.support.scripted_agent import Asked
from tests.support.waiting import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PLANT = b"""<title>planting</title><script>
localStorage.setItem("theirs", "1");
navigator.serviceWorker.register("/sw.js").then(() => navigator.serviceWorker.ready).then(() => {
  document.title = "planted";
});
</script>"""
WORKER = b"""
addEventListener("install", () => skipWaiting());
addEventListener("activate", event => event.waitUntil(clients.claim()));
addEventListener("fetch", event => {
  if (event.request.mode === "navigate" && !event.request.url.endsWith("/passed")) {
    event.respondWith(new Response("<title>owned</title>", {headers: {"Content-Type": "text/html"}}));
  }
});
"""


class Owner:
    """What an owner's app answers, and what it was asked."""

    def __init__(self, pages: dict[str, tuple[bytes, bytes]]) -> None:
        self.pages = pages
        self.paths: list[str] = []

    def answer(self, asked: Asked) -> None:
        path = asked.line.split(b" ")[1].decode()
        self.paths.append(path)
        kind, body = self.pages.get(path, (b"", b""))
        asked.answer(body, 200 if body else 404, b"Content-Type: %b\r\n" % kind if body else b"")


GONE = """async () => {
  while ((await navigator.serviceWorker.getRegistrations()).length) await new Promise(go => setTimeout(go, 50));
}"""
NEW = (b"text/html", b"<title>the new app</title>")


async def plant(s: Scene, context: BrowserContext) -> Page:
    owner = Owner({"/": (b"text/html", PLANT), "/sw.js": (b"text/javascript", WORKER)})
    s.agent.answers = owner.answer
    page = await context.new_page()
    await page.goto(f"http://{HOST}:{s.port}/")
    await page.wait_for_function("document.title === 'planted'")
    await page.reload()
    assert await page.title() == "owned"
    return page


def change_hands(s: Scene, owner: Owner) -> None:
    endpoint = s.relay.registry.find(HOST)
    assert endpoint is not None
    endpoint.generation += 1
    s.agent.answers = owner.answer


async def until_no_worker(page: Page) -> None:
    """Chromium looks for a newer worker when a page has been quiet for a moment."""
    async with asyncio.timeout(PATIENCE):
        await page.evaluate(GONE)


async def open_new(s: Scene, page: Page) -> None:
    """The next visit is the new owner's, and nothing of the former one is left."""
    answer = await page.goto(f"http://{HOST}:{s.port}/")
    assert answer is not None
    assert not answer.from_service_worker
    assert await page.title() == "the new app"
    assert await page.evaluate("localStorage.length") == 0


async def test_a_planted_worker_answers_once_more_and_is_gone(s: Scene, context: BrowserContext):
    """Row 84. By the browser's own look for a newer worker, which no worker can answer."""
    page = await plant(s, context)
    new = Owner({"/": NEW})
    change_hands(s, new)
    await page.reload()
    assert await page.title() == "owned"  # only the worker was asked
    await until_no_worker(page)
    assert new.paths == ["/sw.js"]
    await open_new(s, page)


async def test_a_planted_worker_is_gone_once_it_lets_a_page_through(s: Scene, context: BrowserContext):
    """Row 84."""
    page = await plant(s, context)
    new = Owner({"/": NEW, "/passed": NEW})
    change_hands(s, new)
    await page.goto(f"http://{HOST}:{s.port}/passed")
    assert await page.evaluate("localStorage.length") == 0
    assert new.paths == ["/passed"]
    await open_new(s, page)


async def test_a_first_visit_that_no_worker_answers_clears_storage_and_the_next_one_keeps_it(
    s: Scene, context: BrowserContext
):
    """Row 84."""
    s.agent.answers = Owner({"/": (b"text/html", b"<script>localStorage.setItem('theirs', '1')</script>")}).answer
    page = await context.new_page()
    await page.goto(f"http://{HOST}:{s.port}/")
    assert await page.evaluate("localStorage.length") == 1
    change_hands(s, Owner({"/": NEW}))
    await page.reload()
    assert await page.evaluate("localStorage.length") == 0
    await page.evaluate("localStorage.setItem('ours', '1')")
    await page.reload()
    assert await page.evaluate("localStorage.length") == 1
