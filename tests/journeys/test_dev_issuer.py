"""`tunnel dev-issuer` as a person uses it: the command, a relay, an agent, and a login in a real Chromium."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support import processes
from tests.support.app_routes import SECRET
from tests.support.apps import App
from tests.support.processes import Child
from tests.support.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def dev_issuer() -> Iterator[Child]:
    users = ["--user=alice@example.com;groups=qa", "--user=bob@example.com"]
    child = processes.python("dev-issuer", "tunnelctl", "dev-issuer", "--port=0", *users)
    try:
        child.wait_for(lambda line: line.startswith("http://"))
        yield child
    finally:
        assert child.stop() == 0


async def test_a_person_signs_in_at_the_test_issuer_and_another_is_kept_out(
    dev_issuer: Child, stack: Stack, app: App, context
):
    (issuer,) = dev_issuer.out
    (shown,) = [line for line in dev_issuer.err if line.startswith("Try it with: ")]
    flags = [word for word in shown.split() if word.startswith(("--", "http:", "dev", "unsafe"))]
    tunnel = stack.tunnel(app.port, "--subdomain=demo", "--oidc-allow-group=qa", *flags)

    page = await context.new_page()
    await page.goto(f"{tunnel.url}/?from=mail")
    assert page.url.startswith(issuer)
    assert "UNSAFE" in await page.inner_text("main")
    await page.get_by_role("button", name="Alice").click()
    await page.wait_for_url(f"{tunnel.url}/?from=mail")
    assert await page.text_content("#secret") == SECRET

    await context.clear_cookies()
    await page.goto(tunnel.url)
    await page.get_by_role("button", name="Bob").click()
    await page.wait_for_selector("h1")
    assert not page.url.startswith(issuer)
    assert SECRET not in await page.content()

    form = {"grant_type": "client_credentials", "client_id": "\x1b[2J", "client_secret": "unsafe-dev-secret"}
    async with httpx.AsyncClient(trust_env=False) as program:
        (await program.post(f"{issuer}/token", data=form)).raise_for_status()
    dev_issuer.wait_for(lambda line: "got a token" in line)
    assert not any("\x1b" in line for line in dev_issuer.err)
    assert any(line.startswith("warning: this issuer is UNSAFE") for line in dev_issuer.err)
    assert [line for line in dev_issuer.err if "signed in" in line] == [
        "unsafe dev issuer: alice@example.com signed in at the client dev",
        "unsafe dev issuer: bob@example.com signed in at the client dev",
    ]
