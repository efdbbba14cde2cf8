"""A person in a real Chromium signs in at each of two providers; what they then keep, and what they never get."""

from collections.abc import Iterator

import pytest

from tests.support.app_routes import SECRET
from tests.support.apps import App
from tests.support.browser import browsing, screenshot, sign_in
from tests.support.idp import Provider, mock_provider, node_provider
from tests.support.raw_http import fetch
from tests.support.stack import Stack, Tunnel
from tests.support.visitor import Visitor

pytestmark = pytest.mark.browser


@pytest.fixture(params=["mock", "node"])
def idp(request, stack: Stack) -> Iterator[Provider]:
    """Each provider in turn."""
    with mock_provider() if request.param == "mock" else node_provider([stack.redirect_uri]) as provider:
        yield provider


@pytest.fixture
def tunnel(stack: Stack, app: App, idp: Provider) -> Tunnel:
    """A tunnel that lets in verified addresses at example.com."""
    return stack.tunnel(app.port, "--subdomain=demo", "--oidc-allow-domain=example.com", *idp.flags)


async def test_a_person_signs_in_and_the_app_knows_who_it_is(stack, tunnel, app, idp):
    async with browsing() as context:
        page = await context.new_page()
        await page.goto(f"{tunnel.url}/?from=mail")
        assert idp.issuer in page.url
        await screenshot(page, f"login-{idp.kind}-provider")
        assert app.seen("/") == []

        await sign_in(page, "alice")
        await page.wait_for_url(f"{tunnel.url}/?from=mail")
        await screenshot(page, f"login-{idp.kind}-app")
        assert await page.text_content("#secret") == SECRET

        seen = await page.evaluate(
            "fetch('/echo', {headers: {'X-Tunnel-Email': 'boss@example.com'}}).then(answer => answer.json())"
        )
        fields = [(name, value) for name, value in seen["fields"] if name.startswith("x-tunnel-")]

    assert ("x-tunnel-email", "alice@example.com") in fields
    assert ("x-tunnel-issuer", idp.issuer) in fields
    assert ("x-tunnel-email", "boss@example.com") not in fields
    assert all("tunnel=" not in request.get("cookie") for request in app.requests)


@pytest.mark.parametrize("who", ["mallory", "eve"])
async def test_a_person_the_rules_do_not_admit_is_told_so_and_sees_nothing(stack, tunnel, app, idp, who):
    async with browsing() as context:
        page = await context.new_page()
        await page.goto(tunnel.url)
        async with page.expect_response(lambda answer: answer.status == 403):
            await sign_in(page, who)
        await page.wait_for_load_state()
        await screenshot(page, f"refused-{idp.kind}-{who}")
        text = await page.content()

    assert SECRET not in text
    assert app.seen("/") == []


async def test_cancelling_at_the_provider_ends_on_a_page_of_ours_and_not_in_the_app(stack, tunnel, app, idp):
    async with browsing() as context:
        page = await context.new_page()
        await page.goto(tunnel.url)
        await page.get_by_role("button", name="Deny" if idp.kind == "mock" else "Cancel").click()
        await page.wait_for_url(lambda url: not url.startswith(idp.issuer))
        await screenshot(page, f"cancelled-{idp.kind}")
        text = await page.content()

    assert SECRET not in text
    assert app.seen("/") == []


async def test_a_login_survives_relay_and_agent_dying(stack, tunnel, app, idp):
    async with browsing() as context:
        page = await context.new_page()
        await page.goto(tunnel.url)
        await sign_in(page, "alice")
        await page.wait_for_selector("#secret")

        mark = len(tunnel.child.lines)
        stack.relay.kill()
        stack.start_relay()
        tunnel.child.wait_for_record("started tunnel", after=mark)
        await page.reload()
        after_relay = await page.text_content("#secret")

        tunnel.child.kill()
        stack.tunnel(app.port, "--subdomain=demo", "--oidc-allow-domain=example.com", *idp.flags)
        await page.reload()
        after_agent = await page.text_content("#secret")

    assert (after_relay, after_agent) == (SECRET, SECRET)


async def test_signing_out_needs_a_click_and_ends_the_session(stack, tunnel, app, idp):
    async with browsing() as context:
        page = await context.new_page()
        await page.goto(tunnel.url)
        await sign_in(page, "alice")
        await page.wait_for_selector("#secret")
        cookies = await context.cookies(tunnel.url)

        await page.goto(f"{tunnel.url}/_tunnel/logout")
        await screenshot(page, f"sign-out-{idp.kind}")
        await page.get_by_role("button").first.click()
        await page.wait_for_load_state()
        await screenshot(page, f"signed-out-{idp.kind}")

    old = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in cookies)
    answer = await fetch(stack.port, "GET", "/", host=tunnel.host_and_port, fields=[("Cookie", old)])
    assert answer.status == 401


async def test_a_session_of_one_endpoint_opens_no_other(stack, tunnel, app, idp):
    other = stack.tunnel(app.port, "--subdomain=other", "--oidc-allow-domain=example.com", *idp.flags)
    with Visitor() as visitor:
        page = visitor.login(tunnel.url, "alice")
        assert SECRET in page.text
        cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.client.cookies.jar)

    answer = await fetch(stack.port, "GET", "/", host=other.host_and_port, fields=[("Cookie", cookie)])
    assert answer.status == 401


async def test_a_program_gets_401_and_json_and_never_a_redirect(stack, tunnel, app):
    for method, target in (("GET", "/"), ("POST", "/upload"), ("HEAD", "/"), ("GET", "/ws")):
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")] if target == "/ws" else []
        answer = await fetch(stack.port, method, target, host=tunnel.host_and_port, fields=upgrade)

        assert answer.status == 401, (method, target)
        assert answer.get("location") is None
        assert answer.get("tunnel-error") == "login_required"
    assert app.requests == []
