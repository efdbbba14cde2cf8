"""What a neighbour's page can do with a visitor's session in a real Chromium: open the app, as a link does, no more.

Both hosts are one site to the browser, so it sends the session cookie along with everything the neighbour's page asks
for (SameSite changes nothing between them). What is refused is refused by the relay.
"""

from collections.abc import Iterator

import pytest
from playwright.async_api import Page

from tests.support.app_routes import SECRET
from tests.support.apps import Exchange
from tests.support.browser import sign_in
from tests.support.neighbours import Neighbours, neighbours, serve, shows_app

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ATTACKS = {
    "fetch": "fetch(app + '/echo', {credentials: 'include'}).then(a => a.text())",
    "fetch-blind": "fetch(app + '/echo', {credentials: 'include', mode: 'no-cors'}).then(a => a.type)",
    "post-blind": "fetch(app + '/echo', {method: 'POST', credentials: 'include', mode: 'no-cors', body: 'x'})"
    ".then(a => a.type)",
    "read-with-cors": "fetch(app + '/cors', {credentials: 'include'}).then(a => a.text())",
    "put-with-cors": "fetch(app + '/cors', {method: 'PUT', credentials: 'include', body: 'x'}).then(a => a.text())",
    "beacon": "fetch(app + '/echo', {method: 'POST', credentials: 'include', mode: 'no-cors', keepalive: true})"
    ".then(a => a.type)",
    "image": "load('img', 'src', app + '/pixel')",
    "script": "load('script', 'src', app + '/pixel')",
    "style": "load('link', 'href', app + '/pixel')",
    "frame": "load('iframe', 'src', app + '/echo')",
    "embed": "load('embed', 'src', app + '/echo')",
    "websocket": "new Promise((ok, no) => { const ws = new WebSocket(app.replace('http', 'ws') + '/ws');"
    " ws.onopen = () => ok('open'); ws.onerror = () => no('closed'); })",
    "event-stream": "new Promise((ok, no) => { const es = new EventSource(app + '/events', {withCredentials: true});"
    " es.onmessage = m => ok(m.data); es.onerror = () => { es.close(); no('closed'); }; })",
}
"""What the neighbour's script tries, each ending in what it learnt or in a rejection."""

PAGE = """<!doctype html><title>prizes</title><script>
const app = '%s';
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
</script>"""


@pytest.fixture(scope="module")
def town(tmp_path_factory, chromium) -> Iterator[Neighbours]:
    """One relay for all tests here; the app trusts every origin, as careless ones do."""
    with neighbours(tmp_path_factory.mktemp("town"), chromium) as town:
        town.serve("/", PAGE % town.door.url)
        serve(town.app, "/pixel", "1", ("Content-Type", "image/png"))
        town.app.routes["/cors"] = trusting
        yield town


async def trusting(exchange: Exchange) -> None:
    """Reflects the origin, with credentials."""
    origin = exchange.request.get("origin")
    fields = [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true")]
    await exchange.respond(200, SECRET, [*fields, ("Access-Control-Allow-Methods", "PUT")])


async def test_a_neighbours_page_reaches_nothing_behind_the_login(town):
    """Rows 77, 78, 114. The cookie comes along; the app hears of none of it."""
    async with town.signed_in() as (context, _page):
        page = await context.new_page()
        await page.goto(town.trap.url)
        learnt = {
            name: await page.evaluate(f"{attack}.catch(error => 'refused: ' + error)")
            for name, attack in ATTACKS.items()
        }

    assert not [name for name, words in learnt.items() if SECRET in words or words == "open"], learnt
    assert town.app.requests == []


async def test_the_same_requests_work_from_the_apps_own_page(town):
    async with town.signed_in() as (_context, page):
        await page.evaluate("window.app = location.origin")
        answer = await page.evaluate(ATTACKS["fetch"])
        socket = await page.evaluate(ATTACKS["websocket"])
        read = await page.evaluate(ATTACKS["read-with-cors"])

    assert "x-tunnel-email" in answer
    assert (socket, read) == ("open", SECRET)


async def test_a_link_on_a_neighbours_page_opens_the_app(town):
    async with town.signed_in() as (context, _page):
        page = await context.new_page()
        await page.goto(town.trap.url)
        await page.evaluate("location.href = app")
        await shows_app(page)


async def test_a_form_on_a_neighbours_page_is_not_sent_to_the_app(town):
    """Row 77. A form needs no script and no permission, and brings the cookie along."""
    town.serve(
        "/form", f'<form method=post action="{town.door.url}/upload"><input name=to value=eve><button>Win</button>'
    )
    async with town.signed_in() as (context, _page):
        page = await context.new_page()
        await page.goto(f"{town.trap.url}/form")
        async with page.expect_navigation(url=f"{town.door.url}/upload") as moved:
            await page.get_by_role("button").click()
        answer = await moved.value
        assert answer is not None
        assert answer.status == 401

    assert town.app.requests == []


@pytest.mark.parametrize("base", ["trap", "rogue", "elsewhere"])
async def test_no_page_signs_people_out_behind_their_back(town, base):
    """Row 76. Neither by an image, nor by a frame, nor by a form that it sends itself."""
    logout = f"{town.door.url}/_tunnel/logout"
    town.serve(
        "/logout",
        f'<img src="{logout}"><iframe src="{logout}"></iframe><form method=post action="{logout}" target=f>'
        "<input name=token value=guess></form><iframe name=f></iframe><script>document.forms[0].submit()</script>",
    )
    address = {"trap": town.trap.url, "rogue": town.rogue, "elsewhere": f"http://127.0.0.1:{town.evil.port}"}[base]
    async with town.signed_in() as (context, page):
        other = await context.new_page()
        async with other.expect_event("request", lambda request: request.method == "POST"):
            await other.goto(f"{address}/logout", wait_until="networkidle")
        await other.wait_for_load_state("networkidle")
        await page.reload()
        await shows_app(page)


async def test_a_service_worker_of_a_neighbour_serves_its_own_host_only(town):
    """Row 84."""
    town.serve("/sw.js", "onfetch = e => e.respondWith(new Response('trapped'))", ("Content-Type", "text/javascript"))
    async with town.signed_in() as (context, page):
        other = await context.new_page()
        await other.goto(town.trap.url)
        await other.evaluate("navigator.serviceWorker.register('/sw.js').then(() => navigator.serviceWorker.ready)")
        foreign = await other.evaluate(
            f"navigator.serviceWorker.register('/sw.js', {{scope: '{town.door.url}/'}}).catch(e => e.name)"
        )
        await page.reload()
        await shows_app(page)

    assert foreign == "SecurityError"


async def test_the_reserved_pages_hold_no_script_that_a_service_worker_could_be(town):
    """Row 84. An app's own worker may serve its whole host, but none comes from the relay's part of it."""
    async with town.signed_in() as (_context, page):
        for path in ("/_tunnel/logout", "/_tunnel/signed-out", "/_tunnel/sw.js", "/_tunnel/login"):
            name = await page.evaluate(f"navigator.serviceWorker.register('{path}').then(() => 'taken', e => e.name)")
            assert name in ("SecurityError", "TypeError"), path


async def test_a_login_goes_its_way_beside_an_apps_own_service_worker(town):
    """Row 84. The worker never sees the cookies that carry the login."""
    script = "onfetch = e => e.request.mode === 'navigate' || e.respondWith(fetch(e.request));"
    async with town.signed_in() as (context, page):
        await claimed_by(town, page, script)
        assert await page.evaluate("document.cookie") == ""
        await context.clear_cookies()
        await town.log_in(page, "bob")
        seen = await page.evaluate("fetch('/echo').then(a => a.json()).then(a => Object.fromEntries(a.fields))")

    assert seen["x-tunnel-email"] == "bob@example.com"


async def test_a_login_goes_through_an_apps_own_service_worker_that_passes_page_loads_on(town):
    """Row 84. Browsers mark what it passes on as a script's request, and still say who began it.

    The way back from the provider was begun by the provider: one click says that it is no frame of a neighbour's.
    """
    async with town.signed_in() as (context, page):
        await claimed_by(town, page, "onfetch = e => e.respondWith(fetch(e.request));")
        await context.clear_cookies()
        await page.goto(f"{town.door.url}/?again")
        await sign_in(page, "bob")
        await page.click("text=Open and sign in")
        await shows_app(page)
        seen = await page.evaluate("fetch('/echo').then(a => a.json()).then(a => Object.fromEntries(a.fields))")

    assert seen["x-tunnel-email"] == "bob@example.com"


async def claimed_by(town: Neighbours, page: Page, script: str) -> None:
    """The app's page is served through this service worker from now on."""
    claims = " onactivate = e => e.waitUntil(clients.claim())"
    serve(town.app, "/sw.js", script + claims, ("Content-Type", "text/javascript"))
    await page.evaluate("navigator.serviceWorker.register('/sw.js').then(() => navigator.serviceWorker.ready)")
    await page.wait_for_function("navigator.serviceWorker.controller")
