"""What a page of another origin that the owner named learns, in a real Chromium, when the relay answers for the app."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page

from tests.support.app_routes import sample_app
from tests.support.apps import App, Exchange
from tests.support.browser import sign_in
from tests.support.idp import Provider
from tests.support.neighbours import serve, shows_app
from tests.support.stack import Stack, Tunnel, stacked
from tests.support.stack_tls import DOMAIN

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

READ = """async url => {
  try {
    const answer = await fetch(url, {credentials: 'include'});
    const fields = Object.fromEntries(['tunnel-error', 'retry-after', 'www-authenticate'].map(
      name => [name, answer.headers.get(name)]));
    return {status: answer.status, text: await answer.text(), ...fields};
  } catch (error) { return {failed: error.name}; }
}"""
FAILED = {"failed": "TypeError"}


@dataclass(frozen=True)
class Place:
    """An app behind a login, and the shop whose pages may use it.

    Attributes:
        door: The app's tunnel. It names the shop's two origins.
        shop: The shop's own tunnel: another origin, and one site with the app, so that cookies are sent.
        elsewhere: The shop under an address that is another site to a browser.
    """

    stack: Stack
    idp: Provider
    app: App
    door: Tunnel
    shop: Tunnel
    elsewhere: str

    async def logged_in(self, page: Page) -> None:
        await page.goto(self.door.url)
        await sign_in(page, "alice")
        await shows_app(page)

    async def reads(self, page: Page, base: str, path: str = "/api/orders") -> dict[str, object]:
        """What a script on the shop's page at `base` learns of an answer of the app's address."""
        await page.goto(f"{base}/page")
        learnt: dict[str, object] = await page.evaluate(READ, f"{self.door.url}{path}")
        return learnt


@pytest.fixture
def place(tmp_path: Path, mock_idp: Provider) -> Iterator[Place]:
    with (
        stacked(tmp_path / "data", f"--domain={DOMAIN}", "--hold-seconds=0") as stack,
        sample_app() as app,
        sample_app() as shop,
    ):
        serve(shop, "/page", "<!doctype html><title>shop</title>")
        serving = stack.tunnel(shop.port, "--subdomain=shop")
        elsewhere = f"http://127.0.0.1:{shop.port}"
        named = f"--oidc-cross-site=allow:{serving.url.rstrip('/')},{elsewhere}"
        door = stack.tunnel(app.port, "--subdomain=app", named, *mock_idp.flags)
        app.routes["/api/orders"] = orders
        yield Place(stack, mock_idp, app, door, serving, elsewhere)


async def orders(exchange: Exchange) -> None:
    """Lets the asking origin read, as apps with CORS do."""
    origin = exchange.request.get("origin")
    fields = [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true")]
    await exchange.respond(200, "two orders", fields)


async def test_a_page_of_a_named_origin_reads_that_a_login_is_needed(place: Place, context: BrowserContext) -> None:
    page = await context.new_page()
    for base in (place.shop.url, place.elsewhere):
        learnt = await place.reads(page, base)
        assert (learnt["status"], learnt["tunnel-error"]) == (401, "login_required")
        assert str(learnt["www-authenticate"]).startswith("OpenID ")
        assert '"login_required"' in str(learnt["text"])

    # Another port of the same machine is another origin, and was not named.
    assert await place.reads(page, f"http://localhost:{place.elsewhere.rpartition(':')[2]}") == FAILED
    assert place.app.requests == []


async def test_a_page_of_a_named_origin_reads_that_the_app_is_away_and_when_to_ask_again(
    place: Place, context: BrowserContext
) -> None:
    page = await context.new_page()
    await place.logged_in(page)
    learnt = await place.reads(page, place.shop.url)
    assert (learnt["status"], learnt["text"]) == (200, "two orders")

    place.door.child.kill()
    learnt = await place.reads(page, place.shop.url)
    assert (learnt["status"], learnt["tunnel-error"]) == (503, "endpoint_offline")
    assert int(str(learnt["retry-after"])) > 0
    assert '"endpoint_offline"' in str(learnt["text"])
    assert await place.reads(page, f"http://rogue.{DOMAIN}:{place.elsewhere.rpartition(':')[2]}") == FAILED
