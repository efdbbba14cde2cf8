"""Starts a real Chromium (Debian's), driven by Playwright, for tests in a browser."""

import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType

from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.support.tools import require_tool
from tests.support.waiting import PATIENCE

FLAGS = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]

NOWHERE: Mapping[str, int] = MappingProxyType({})
HERE = ("localhost localhost", "*.localhost localhost", "127.0.0.1 127.0.0.1")
"""Chromium's rules for the names of this machine, which are looked up as usual."""
PAGE_MS = PATIENCE * 1000
"""Milliseconds for which Playwright waits for anything in a page."""
expect.set_options(timeout=PAGE_MS)


def chromium_path() -> str:
    """Return the path of Chromium. Without it the test is skipped; in CI it fails.

    Debian's build without windows is preferred: it is the same engine, and opens a page for a third of the CPU.
    """
    found = [os.environ.get("CHROMIUM", ""), "chromium-headless-shell", "chromium"]
    return require_tool(next((name for name in found if shutil.which(name)), found[1]))


@asynccontextmanager
async def launched(*, leads: Mapping[str, int] = NOWHERE, names: Sequence[str] = ()) -> AsyncIterator[Browser]:
    """Context manager: a Chromium that connects only to this machine.

    Tests share the one of the fixture `chromium` (tests/conftest.py), as starting one takes a second of CPU.

    Args:
        leads: Ports of this machine by the public name and port that lead to them, such as `*.tun.example:443`.
        names: Further names that are looked up as usual.
    """
    rules = [f"MAP {name} 127.0.0.1:{port}" for name, port in leads.items()]  # Chromium uses the first that matches
    rules += [*(f"MAP {name}" for name in HERE), "MAP * ~NOTFOUND", *(f"EXCLUDE {name}" for name in names)]
    flags = [*FLAGS, f"--host-resolver-rules={','.join(rules)}"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=flags, timeout=PAGE_MS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def fresh_profile(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Context manager: a browser profile without cookies, storage and cache, which accepts any certificate."""
    context = await browser.new_context(viewport={"width": 1100, "height": 720}, ignore_https_errors=True)
    try:
        context.set_default_timeout(PAGE_MS)
        yield context
    finally:
        await context.close()


@asynccontextmanager
async def browsing() -> AsyncIterator[BrowserContext]:
    """Context manager: a fresh profile in a Chromium of its own, for programs that are no tests."""
    async with launched() as browser, fresh_profile(browser) as context:
        yield context


async def sign_in(page: Page, user: str) -> None:
    """Sign in as a user at the test provider whose login page is open."""
    if "/oauth2/authorize" in page.url:
        await page.get_by_role("button", name=user, exact=True).click()
        return
    assert "/interaction/" in page.url, f"not at a provider but at {page.url}\n{await page.inner_text('body')}"
    await page.get_by_placeholder("Login").fill(user)
    await page.get_by_placeholder("Password").fill(user)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("button", name="Continue").click()
