"""All of it in a real browser: from the first link to an edge with a login that two tunnels serve, and its end."""

import shlex

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support import processes
from tests.support.app_routes import SECRET
from tests.support.apps import App
from tests.support.browser import fresh_profile, sign_in
from tests.support.idp import CLIENT_ID, CLIENT_SECRET, Provider
from tests.support.processes import Child
from tests.support.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ONE, TWO, NONE = "You have 1 tunnel online", "You have 2 tunnels online", "No tunnel is online"


@pytest_asyncio.fixture(loop_scope="session")
async def page(stack: Stack, context: BrowserContext) -> Page:
    """The administrator's browser, signed in by the link that the relay prints."""
    link = stack.admin_link()
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await context.new_page()
    await page.goto(link)
    assert "code=" not in page.url
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", level=1).wait_for()
    return page


def start(stack: Stack, app: App, command: str) -> Child:
    """Runs a command of the edge's page, with this app in the place of the one it names."""
    program, *args = shlex.split(command)
    assert program == "tunnel"
    args = [arg.replace("http://localhost:80", str(app.port)) if arg != "80" else str(app.port) for arg in args]
    relay = f"--relay=http://127.0.0.1:{stack.port}"
    child = processes.python("agent", "tunnelctl", *args, relay, "--log=stdout", "--log-format=json")
    stack.children.append(child)
    return child


async def make_edge(page: Page, name: str) -> None:
    await page.get_by_role("link", name="Edges").first.click()
    await page.get_by_role("link", name="New edge").first.click()
    await page.get_by_label("Host name").fill(name)
    await page.get_by_role("button", name="Create edge").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"{name}.localhost")


async def describe(page: Page, text: str) -> None:
    """By the pencil beside the description, in its place."""
    await expect(page.locator("#description")).to_contain_text("no description")
    await page.get_by_role("link", name="Edit the description").click()
    await page.get_by_label("Description").fill(text)
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#description p")).to_have_text(text)


async def set_up_login(page: Page, idp: Provider) -> None:
    await page.get_by_role("link", name="Begin setup OpenID Connect").click()
    await page.get_by_label("Issuer URL").fill("http://localhost:1")
    await page.get_by_label("Client ID").fill(CLIENT_ID)
    await page.get_by_label("Client secret").fill(CLIENT_SECRET)
    await page.get_by_role("button", name="Test connection").click()
    await expect(page.locator("#findings")).to_contain_text("No login will work")
    await page.get_by_label("Issuer URL").fill(idp.issuer)
    await page.get_by_role("button", name="Test connection").click()
    await expect(page.locator("#findings .ok").first).to_be_visible()
    await page.get_by_label("E-mail domains").fill("example.com")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("1 rule lets visitors in")).to_be_visible()


async def copied(page: Page, what: str) -> str:
    await page.get_by_role("button", name=what, exact=True).click()
    text: str = await page.evaluate("navigator.clipboard.readText()")
    return text


async def test_from_the_first_link_to_an_edge_with_a_login_that_two_tunnels_serve(
    page: Page, stack: Stack, app: App, mock_idp: Provider, chromium: Browser
):
    await make_edge(page, "shop")
    await describe(page, "Storefront preview")
    await set_up_login(page, mock_idp)
    await page.evaluate("window.isTheSamePage = true")

    first = start(stack, app, await copied(page, "Copy the command"))
    await expect(page.get_by_role("heading", name=ONE)).to_be_visible()
    await expect(page.get_by_text("Start additional tunnels to begin load balancing")).to_be_visible()
    second = start(stack, app, await copied(page, "Copy the short command"))
    await expect(page.get_by_role("heading", name=TWO)).to_be_visible()

    url = await copied(page, "Copy the URL")
    async with fresh_profile(chromium) as fresh:
        visitor = await fresh.new_page()
        await visitor.goto(url)
        assert visitor.url.startswith(mock_idp.issuer)
        await sign_in(visitor, "alice")
        assert await visitor.text_content("#secret") == SECRET
        for _ in range(9):
            await visitor.reload()
        await expect(page.locator("#tunnels")).to_contain_text("50 %")

        admin = await page.context.new_page()
        await admin.goto(page.url)
        await admin.get_by_role("link", name="Edit OpenID Connect").click()
        assert await admin.get_by_label("Client secret").input_value() == ""
        await admin.get_by_label("E-mail domains").fill("")
        await admin.get_by_label("E-mail addresses").fill("bob@example.com")
        await admin.get_by_role("button", name="Save").click()
        await admin.get_by_role("heading", name=TWO).wait_for()
        await visitor.reload()
        async with visitor.expect_response(lambda answer: answer.status == 403):
            await sign_in(visitor, "alice")

        await admin.get_by_role("link", name="Edit OpenID Connect").click()
        await admin.get_by_role("button", name="Remove").first.click()
        await admin.get_by_role("button", name="Remove the login").click()
        await admin.get_by_role("heading", name=TWO).wait_for()
        await visitor.goto(url)
        assert await visitor.text_content("#secret") == SECRET

        first.stop()
        await expect(page.get_by_role("heading", name=ONE)).to_be_visible()
        await visitor.reload()
        assert await visitor.text_content("#secret") == SECRET
        second.stop()
        await expect(page.get_by_role("heading", name=NONE)).to_be_visible()
        gone = await visitor.reload()
        assert gone is not None
        assert gone.status == 503

    assert await page.evaluate("window.isTheSamePage")
