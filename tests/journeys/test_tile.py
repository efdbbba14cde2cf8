"""A provider's page of apps in a real Chromium: its tile starts a login, or leads straight into the app."""

from collections.abc import Iterator
from html import escape

import pytest
from playwright.async_api import BrowserContext, Page

from tests.journeys.test_another_account import hosts
from tests.support.app_routes import SECRET, sample_app
from tests.support.browser import sign_in
from tests.support.idp import Provider
from tests.support.stack import Stack, Tunnel, stacked
from tunnelrelay.model import Reply

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stacked(tmp_path_factory.mktemp("relay")) as stack:
        yield stack


@pytest.fixture(scope="module", params=["relay", "host"])
def tunnel(request: pytest.FixtureRequest, stack: Stack, mock_idp: Provider) -> Iterator[Tunnel]:
    """A tunnel whose provider answers at the callback host, and one whose provider answers at the endpoint."""
    with sample_app() as app:
        at = request.param
        yield stack.tunnel(app.port, f"--subdomain=demo-{at}", f"--oidc-callback={at}", *mock_idp.flags)


async def press(context: BrowserContext, method: str, action: str, **fields: str) -> Page:
    """A button on a page of another site."""
    inputs = "".join(f'<input type=hidden name={name} value="{escape(value)}">' for name, value in fields.items())
    body = f'<form method={method} action="{action}">{inputs}<button>Open</button></form>'.encode()
    page = await context.new_page()
    async with hosts({("tiles.localhost", "/"): Reply(200, ((b"Content-Type", b"text/html"),), body)}) as port:
        await page.goto(f"http://tiles.localhost:{port}/")
        await page.get_by_role("button").click()
        await page.wait_for_url(lambda url: "tiles.localhost" not in url)
    return page


@pytest.mark.parametrize("method", ["get", "post"])
async def test_a_tile_signs_in_and_the_next_one_finds_the_session(
    tunnel: Tunnel, mock_idp: Provider, context: BrowserContext, method: str
) -> None:
    """The cookie is SameSite=Lax: it does not come with another site's form, but with the redirect after it."""
    asked = {"iss": mock_idp.issuer, "target_link_uri": f"{tunnel.url}/?from=tile", "login_hint": "alice"}
    page = await press(context, method, f"{tunnel.url}/_tunnel/login", **asked)
    assert page.url.startswith(mock_idp.issuer)
    assert "login_hint=alice" in page.url
    await sign_in(page, "alice")
    await page.wait_for_url(f"{tunnel.url}/?from=tile")
    assert await page.text_content("#secret") == SECRET

    seen: list[str] = []
    context.on("request", lambda request: seen.append(request.url))
    again = await press(context, method, f"{tunnel.url}/_tunnel/login", **asked)
    await again.wait_for_url(f"{tunnel.url}/?from=tile")
    assert not [url for url in seen if url.startswith(mock_idp.issuer)]


async def test_one_address_serves_the_tiles_of_all_endpoints(
    stack: Stack, tunnel: Tunnel, mock_idp: Provider, context: BrowserContext
) -> None:
    start = f"http://idp.localhost:{stack.port}/_tunnel/login"
    page = await press(context, "post", start, iss=mock_idp.issuer, target_link_uri=f"{tunnel.url}/")
    assert page.url.startswith(mock_idp.issuer)
    stranger = await press(context, "post", start, iss=mock_idp.issuer, target_link_uri="http://evil.localhost/")
    assert stranger.url == start
