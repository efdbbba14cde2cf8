"""A person in a real Chromium signs in at each of two providers; what they then keep, and what they never get."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.support.app_routes import SECRET, sample_app
from tests.support.apps import App
from tests.support.browser import sign_in
from tests.support.idp import Provider, mock_provider, node_provider
from tests.support.raw_http import fetch
from tests.support.stack import Stack, Tunnel, stacked
from tests.support.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@dataclass(frozen=True)
class Door:
    """A tunnel that lets in verified addresses at example.com.

    Attributes:
        idp: Where people sign in.
    """

    stack: Stack
    app: App
    idp: Provider
    tunnel: Tunnel

    def start_agent(self, subdomain: str) -> Tunnel:
        """One more tunnel with these rules."""
        return guarded(self.stack, self.app, self.idp, subdomain)


def guarded(stack: Stack, app: App, idp: Provider, subdomain: str) -> Tunnel:
    return stack.tunnel(app.port, f"--subdomain={subdomain}", "--oidc-allow-domain=example.com", *idp.flags)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Door]]:
    """A door for each provider, at one relay."""
    with stacked(tmp_path_factory.mktemp("relay")) as stack, sample_app() as app, ExitStack() as held:
        found = {}
        for provider in (mock_provider(), node_provider([stack.redirect_uri])):
            idp = held.enter_context(provider)
            found[idp.kind] = Door(stack, app, idp, guarded(stack, app, idp, idp.kind))
        yield found


@pytest.fixture(params=["mock", "node"])
def door(request: pytest.FixtureRequest, doors: dict[str, Door]) -> Door:
    door = doors[request.param]
    door.app.requests.clear()
    return door


async def test_a_person_signs_in_and_the_app_knows_who_it_is(door, context):
    page = await context.new_page()
    await page.goto(f"{door.tunnel.url}/?from=mail")
    assert door.idp.issuer in page.url
    assert door.app.seen("/") == []

    await sign_in(page, "alice")
    await page.wait_for_url(f"{door.tunnel.url}/?from=mail")
    assert await page.text_content("#secret") == SECRET

    seen = await page.evaluate(
        "fetch('/echo', {headers: {'X-Tunnel-Email': 'boss@example.com'}}).then(answer => answer.json())"
    )
    fields = [(name, value) for name, value in seen["fields"] if name.startswith("x-tunnel-")]

    assert ("x-tunnel-email", "alice@example.com") in fields
    assert ("x-tunnel-issuer", door.idp.issuer) in fields
    assert ("x-tunnel-email", "boss@example.com") not in fields
    assert all("tunnel=" not in request.get("cookie") for request in door.app.requests)


@pytest.mark.parametrize("who", ["mallory", "eve"])
async def test_a_person_the_rules_do_not_admit_is_told_so_and_sees_nothing(door, who, context):
    page = await context.new_page()
    await page.goto(door.tunnel.url)
    async with page.expect_response(lambda answer: answer.status == 403):
        await sign_in(page, who)
    await page.wait_for_load_state()
    text = await page.content()

    assert SECRET not in text
    assert door.app.seen("/") == []


async def test_cancelling_at_the_provider_ends_on_a_page_of_ours_and_not_in_the_app(door, context):
    page = await context.new_page()
    await page.goto(door.tunnel.url)
    await page.get_by_role("button", name="Deny" if door.idp.kind == "mock" else "Cancel").click()
    await page.wait_for_url(lambda url: not url.startswith(door.idp.issuer))
    text = await page.content()

    assert SECRET not in text
    assert door.app.seen("/") == []


async def test_a_login_survives_relay_and_agent_dying(doors, context):
    """At both providers with one death each: relay and agents serve the tests that follow, too."""
    pages = {}
    for kind, door in doors.items():
        pages[kind] = await context.new_page()
        await pages[kind].goto(door.tunnel.url)
        await sign_in(pages[kind], "alice")
        await pages[kind].wait_for_selector("#secret")

    stack = next(iter(doors.values())).stack
    marks = {kind: len(door.tunnel.child.lines) for kind, door in doors.items()}
    stack.relay.kill()
    stack.start_relay()
    for kind, door in doors.items():
        door.tunnel.child.wait_for_record("started tunnel", after=marks[kind])
        await pages[kind].reload()
        assert await pages[kind].text_content("#secret") == SECRET

    for kind, door in doors.items():
        door.tunnel.child.kill()
        door.start_agent(kind)
        await pages[kind].reload()
        assert await pages[kind].text_content("#secret") == SECRET


async def test_signing_out_needs_a_click_and_ends_the_session(door, context):
    page = await context.new_page()
    await page.goto(door.tunnel.url)
    await sign_in(page, "alice")
    await page.wait_for_selector("#secret")
    cookies = await context.cookies(door.tunnel.url)

    await page.goto(f"{door.tunnel.url}/_tunnel/logout")
    await page.get_by_role("button").first.click()
    await page.wait_for_load_state()

    old = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in cookies)
    answer = await fetch(door.stack.port, "GET", "/", host=door.tunnel.host_and_port, fields=[("Cookie", old)])
    assert answer.status == 401


async def test_a_session_of_one_endpoint_opens_no_other(door):
    other = door.start_agent(f"other-{door.idp.kind}")
    with Visitor() as visitor:
        page = visitor.login(door.tunnel.url, "alice")
        assert SECRET in page.text
        cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.client.cookies.jar)

    answer = await fetch(door.stack.port, "GET", "/", host=other.host_and_port, fields=[("Cookie", cookie)])
    assert answer.status == 401


async def test_a_program_gets_401_and_json_and_never_a_redirect(door):
    for method, target in (("GET", "/"), ("POST", "/upload"), ("HEAD", "/"), ("GET", "/ws")):
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")] if target == "/ws" else []
        answer = await fetch(door.stack.port, method, target, host=door.tunnel.host_and_port, fields=upgrade)

        assert answer.status == 401, (method, target)
        assert answer.get("location") is None
        assert answer.get("tunnel-error") == "login_required"
    assert door.app.requests == []
