"""What an administrator hands out, in a real browser: made, shown once, used, taken away; and what a member sees."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.journeys.test_dashboard_edges import copied
from tests.support import processes
from tests.support.apps import App
from tests.support.browser import fresh_profile
from tests.support.idp import CLIENT_ID, CLIENT_SECRET, Provider
from tests.support.processes import Child
from tests.support.stack import Stack, stacked
from tests.support.tools import require_tool

pytestmark = [pytest.mark.thorough, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ONCE = "This is the only time it is shown."


@pytest.fixture
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A relay on loopback, with the flags that a test asks for."""
    with stacked(tmp_path / "data", *getattr(request, "param", ())) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def page(stack: Stack, context: BrowserContext) -> Page:
    """The administrator's browser, signed in by the link that the relay prints."""
    link = stack.admin_link()
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await context.new_page()
    await page.goto(link)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", level=1).wait_for()
    return page


async def go(page: Page, area: str) -> None:
    await page.get_by_role("navigation", name="Main").get_by_role("link", name=area, exact=True).first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(area)


async def confirm(page: Page, button: str, answer: str) -> None:
    await page.get_by_role("button", name=button, exact=True).first.click()
    await page.get_by_role("dialog").get_by_role("button", name=answer, exact=True).click()


def run(command: str, *more: str) -> Child:
    """Runs a `tunnel` command of a page to its end."""
    program, *args = shlex.split(command)
    assert program == "tunnel"
    return processes.run("tunnelctl", *args, *more)


@pytest.mark.parametrize("stack", [["--multi-tenant=true"]], indirect=True, ids=["tokens are asked for"])
async def test_an_authtoken_is_shown_once_serves_what_it_may_and_is_cut_off_when_revoked(
    page: Page, stack: Stack, app: App, tmp_path: Path
):
    await go(page, "Authtokens")
    await page.get_by_role("link", name="New authtoken").first.click()
    await page.get_by_label("Description").fill("CI previews")
    await page.get_by_label("What it may serve").fill("bind:pr-*")
    await page.get_by_role("button", name="Create authtoken").click()
    await expect(page.get_by_text(ONCE)).to_be_visible()
    text = await copied(page, "Copy the authtoken")
    command = await copied(page, "Copy the command")
    await page.get_by_role("link", name="Done").click()
    await page.get_by_role("link", name="CI previews").click()
    await expect(page.get_by_role("heading", name="CI previews")).to_be_visible()
    assert text not in await page.content()

    file = f"--config={tmp_path / 'tunnel.yml'}"
    assert run(command, file).returncode == 0
    refused = stack.agent(app.port, file, "--subdomain=shop")
    assert refused.wait() == 3, refused.output
    assert "bind:pr-*" in refused.output, refused.output
    tunnel = stack.tunnel(app.port, file, "--subdomain=pr-17")
    assert "pr-17.localhost" in tunnel.url

    await confirm(page, "Revoke", "Revoke the authtoken")
    await expect(page.get_by_text("No authtokens yet")).to_be_visible()
    assert tunnel.child.wait() == 3


async def test_an_api_key_is_shown_once_does_what_was_ticked_and_nothing_once_deleted(page: Page, tmp_path: Path):
    await go(page, "API keys")
    await page.get_by_role("link", name="New API key").first.click()
    await page.get_by_label("Description").fill("Deploy pipeline")
    await page.get_by_text("Only some of it").click()
    await page.get_by_label("Read: Edges, backends, tunnels, endpoints").check()
    await page.get_by_role("button", name="Create API key").click()
    await expect(page.get_by_text(ONCE)).to_be_visible()
    text = await copied(page, "Copy the API key")
    setting, command = await copied(page, "Copy the setting"), await copied(page, "Copy the command")
    curl = await copied(page, "Copy the curl command")

    file = f"--config={tmp_path / 'tunnel.yml'}"
    assert run(setting, file).returncode == 0
    listed = run(command, file)
    assert listed.returncode == 0, listed.output
    assert run(command.replace("edges https", "users"), file).returncode != 0
    asked = Child("curl", [require_tool("curl"), "-s", *shlex.split(curl)[1:]])
    assert asked.wait() == 0
    assert '"https_edges":[]' in asked.output

    await page.get_by_role("link", name="Done").click()
    await page.get_by_role("link", name="Deploy pipeline").click()
    assert text not in await page.content()
    await confirm(page, "Delete", "Delete the key")
    await expect(page.get_by_text("No API keys yet")).to_be_visible()
    assert run(command, file).returncode != 0


async def test_a_provider_is_tried_out_registered_and_named_without_its_secret(
    page: Page, stack: Stack, app: App, mock_idp: Provider, chromium: Browser
):
    await go(page, "Providers")
    await page.get_by_role("link", name="New provider").first.click()
    await page.get_by_label("Name").fill("work")
    await page.get_by_label("Issuer URL").fill("http://localhost:1")
    await page.get_by_label("Client ID").fill(CLIENT_ID)
    await page.get_by_label("Client secret").fill(CLIENT_SECRET)
    await page.get_by_role("button", name="Test connection").click()
    await expect(page.locator("#findings")).to_contain_text("No login will work")
    await page.get_by_label("Issuer URL").fill(mock_idp.issuer)
    await page.get_by_role("button", name="Test connection").click()
    await expect(page.locator("#findings .ok").first).to_be_visible()
    await page.get_by_role("button", name="Register").click()
    await expect(page.get_by_role("heading", name="@work")).to_be_visible()
    assert await page.get_by_label("Client secret").input_value() == ""
    assert await copied(page, "Copy the redirect URI") == f"http://localhost:{stack.port}/oauth2/callback"
    command = f"tunnel http 80 --oidc=@work --relay http://localhost:{stack.port}"
    assert await copied(page, "Copy the command") == command
    await page.get_by_role("button", name="Test connection").click()
    await expect(page.locator("#findings .ok").first).to_be_visible()

    tunnel = stack.tunnel(app.port, "--oidc=@work", "--oidc-allow-domain=example.com")
    async with fresh_profile(chromium) as fresh:
        visitor = await fresh.new_page()
        await visitor.goto(tunnel.url)
        assert visitor.url.startswith(mock_idp.issuer)
        await visitor.get_by_role("button", name="alice", exact=True).click()
        await visitor.locator("#secret").wait_for(state="attached")

        await go(page, "Logins")
        row = page.get_by_role("row").filter(has_text="alice@example.com")
        await expect(row).to_contain_text(tunnel.host)
        await row.get_by_role("button", name=re.compile("End")).click()
        await expect(page.get_by_text("Nobody is signed in")).to_be_visible()
        await visitor.reload()
        assert visitor.url.startswith(mock_idp.issuer)

    await go(page, "Audit log")
    await page.locator("summary").filter(has_text="Provider registered").click()
    await expect(page.get_by_text("An administrator registered a named provider.")).to_be_visible()
    assert CLIENT_SECRET not in await page.content()


async def test_a_member_comes_by_his_link_and_sees_only_what_is_his_owners(page: Page, chromium: Browser):
    """Row 138."""
    await go(page, "Domains")
    await page.get_by_role("link", name="Reserve a domain").first.click()
    await page.get_by_label("Name").fill("secret-project")
    await page.get_by_role("button", name="Reserve").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("secret-project.localhost")
    theirs = page.url.partition("?")[0]
    await go(page, "Users")
    await page.get_by_role("link", name="Add a user").click()
    await page.get_by_label("Name").fill("Ann")
    await page.get_by_label("Owner").fill("ann")
    await page.get_by_role("button", name="Add user").click()
    await expect(page.get_by_text(ONCE)).to_be_visible()
    link = await copied(page, "Copy the link")

    async with fresh_profile(chromium) as fresh:
        ann = await fresh.new_page()
        await ann.goto(link)
        await ann.get_by_role("button", name="Sign in").click()
        await expect(ann.get_by_text("Member of ann").first).to_be_visible()
        await expect(ann.get_by_role("link", name="Users")).to_have_count(0)
        await go(ann, "Domains")
        await expect(ann.get_by_text("No domains reserved")).to_be_visible()
        await ann.goto(theirs)
        await expect(ann.get_by_role("heading", name="There is nothing here")).to_be_visible()
        await go(ann, "Domains")
        await ann.get_by_role("link", name="Reserve a domain").first.click()
        await ann.get_by_label("Name").fill("mine")
        await ann.get_by_role("button", name="Reserve").click()
        await go(ann, "Domains")
        await expect(ann.locator("tbody tr")).to_have_count(1)

        await go(page, "Users")
        await page.get_by_role("link", name="Ann", exact=True).click()
        await confirm(page, "Disable", "Disable")
        await expect(page.get_by_text("Disabled", exact=True)).to_be_visible()
        await ann.reload()
        await expect(ann.get_by_role("button", name="Sign in")).to_be_visible()
