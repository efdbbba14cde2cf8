"""Somebody with two accounts in a real Chromium: the wrong one is refused, and the button leads to the right one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import BrowserContext

from tests.support.app_routes import SECRET
from tests.support.apps import App
from tests.support.browser import sign_in
from tests.support.idp import Provider
from tests.support.stack import Stack
from tunnelrelay.model import Reply
from tunnelrelay.pages import login as pages

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_the_wrong_account_is_refused_and_another_one_gets_in(
    stack: Stack, app: App, mock_idp: Provider, context: BrowserContext
) -> None:
    tunnel = stack.tunnel(app.port, "--subdomain=demo", "--oidc-allow-email=bob@example.com", *mock_idp.flags)
    page = await context.new_page()
    await page.goto(f"{tunnel.url}/?from=mail")
    await sign_in(page, "alice")
    await page.get_by_text("alice@example.com").wait_for()

    await page.get_by_role("button", name="Use another account").click()
    await page.wait_for_url(f"{mock_idp.issuer}/**")
    assert "prompt=select_account" in page.url
    await sign_in(page, "bob")
    await page.wait_for_url(f"{tunnel.url}/?from=mail")
    assert await page.text_content("#secret") == SECRET


@asynccontextmanager
async def hosts(answers: dict[tuple[str, str], Reply]) -> AsyncIterator[int]:
    """A server for many names under `localhost`, each with its pages."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        host = next(line for line in head if line.lower().startswith("host:")).split(":")[1].strip()
        reply = answers.get((host, head[0].split()[1]), Reply(404))
        fields = b"".join(b"%b: %b\r\n" % field for field in reply.fields)
        writer.write(b"HTTP/1.1 %d x\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
            reply.status, fields, len(reply.body), reply.body))  # fmt: skip
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_the_button_leads_to_a_provider_behind_the_provider(context: BrowserContext) -> None:
    """It may send people on to another one at once, and browsers hold redirects after a form to the page's policy."""
    answers: dict[tuple[str, str], Reply] = {}
    async with hosts(answers) as port:
        broker, behind = f"http://broker.localhost:{port}/authorize", f"http://behind.localhost:{port}/login"
        form = pages.use_another(token="t", provider=broker)
        answers[("app.localhost", "/")] = pages.not_admitted(request_id="r", host="app", who="alice", form=form)
        answers[("app.localhost", pages.USE_ANOTHER_PATH)] = Reply(303, ((b"Location", broker.encode()),))
        answers[("broker.localhost", "/authorize")] = Reply(303, ((b"Location", behind.encode()),))
        answers[("behind.localhost", "/login")] = Reply(200, ((b"Content-Type", b"text/html"),), b"<p>sign in")

        page = await context.new_page()
        await page.goto(f"http://app.localhost:{port}/")
        await page.get_by_role("button", name="Use another account").click()
        await page.wait_for_url(behind)
