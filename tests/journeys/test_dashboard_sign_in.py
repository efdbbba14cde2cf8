"""People sign in to the dashboard by the operator's own OpenID provider, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.support.browser import sign_in
from tests.support.idp import CLIENT_ID, CLIENT_SECRET, Provider
from tests.support.stack import Stack, stacked

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def relay(tmp_path: Path, mock_idp: Provider) -> Iterator[Stack]:
    """Its administrators are the staff, its members the guests."""
    secret = tmp_path / "secret"
    secret.write_text(CLIENT_SECRET)
    flags = [
        f"--dashboard-oidc={mock_idp.issuer}",
        f"--dashboard-oidc-client-id={CLIENT_ID}",
        f"--dashboard-oidc-client-secret=file:{secret}",
        "--dashboard-admin=staff",
        "--dashboard-member=guests",
    ]
    with stacked(tmp_path / "data", *flags) as stack:
        yield stack


async def come_in(page: Page, relay: Stack, user: str, path: str = "/edges") -> None:
    """Asks for a page, and signs in on the way to it."""
    await page.goto(f"http://dashboard.localhost:{relay.port}{path}")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to localhost")
    await page.get_by_role("link", name="Sign in with").click()
    await sign_in(page, user)


async def test_an_administrator_comes_in_where_they_wanted_to_be_and_leaves_for_good(
    relay: Stack, context: BrowserContext
):
    """Row 144."""
    page = await context.new_page()
    await come_in(page, relay, "alice")
    await page.wait_for_url(f"http://dashboard.localhost:{relay.port}/edges")
    await expect(page.get_by_role("complementary")).to_contain_text("Administrator")
    await page.get_by_role("link", name="New edge").first.click()
    await page.get_by_label("Host name").fill("shop")
    await page.get_by_role("button", name="Create edge").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("shop.localhost")

    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("button").first.click()
    await page.wait_for_load_state()
    await page.goto(f"http://dashboard.localhost:{relay.port}/edges")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to localhost")


async def test_a_member_sees_his_own_and_no_page_about_users(relay: Stack, context: BrowserContext):
    """Rows 138, 144."""
    page = await context.new_page()
    await come_in(page, relay, "bob")
    await page.wait_for_url(f"http://dashboard.localhost:{relay.port}/edges")

    await expect(page.get_by_role("complementary")).to_contain_text("Member of")
    assert await page.get_by_role("link", name="Users").count() == 0


async def test_whoever_has_no_role_is_told_so_and_sees_nothing(relay: Stack, context: BrowserContext):
    """Row 144."""
    page = await context.new_page()
    async with page.expect_response(lambda answer: answer.status == 403):
        await come_in(page, relay, "mallory")
    await page.goto(f"http://dashboard.localhost:{relay.port}/edges")

    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to localhost")
