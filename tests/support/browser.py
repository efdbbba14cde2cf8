"""A real Chromium (Debian's), driven by Playwright."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

from playwright.async_api import BrowserContext, Page, async_playwright, expect

from tests.support.tools import ARTIFACTS, require_tool
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
PAGE_MS = PATIENCE * 1000
"""For anything in a page."""
expect.set_options(timeout=PAGE_MS)


def chromium() -> str:
    """Where Chromium is; the test is skipped (fails in CI) without it."""
    return require_tool(os.environ.get("CHROMIUM", "chromium"))


@asynccontextmanager
async def browsing(*, guarded: bool = True, leads: Mapping[str, int] = NOWHERE) -> AsyncIterator[BrowserContext]:
    """A fresh profile in a Chromium of its own, which takes any certificate.

    Args:
        guarded: Nothing but this machine can be reached. Chromium neither prefetches nor prerenders then, so a test of
            those goes without, and without pages that name other machines.
        leads: Public names with their ports, such as `*.tun.example:443`, and the ports of this machine they lead to.
    """
    rules = ",".join(f"MAP {name} 127.0.0.1:{port}" for name, port in leads.items())
    flags = [*FLAGS, f"--host-resolver-rules={rules}"] if rules else FLAGS
    inside = ["localhost", "127.0.0.1", *(name.partition(":")[0].removeprefix("*") for name in leads)]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=flags, timeout=PAGE_MS)
        try:
            context = await browser.new_context(viewport={"width": 1100, "height": 720}, ignore_https_errors=True)
            context.set_default_timeout(PAGE_MS)
            if guarded:
                await context.route(lambda url: not any(name in url for name in inside), lambda r: r.abort())
            yield context
        finally:
            await browser.close()


async def sign_in(page: Page, user: str) -> None:
    """Signs in at whichever test provider the page is at."""
    if "/oauth2/authorize" in page.url:
        await page.get_by_role("button", name=user, exact=True).click()
        return
    assert "/interaction/" in page.url, f"not at a provider but at {page.url}\n{await page.inner_text('body')}"
    await page.get_by_placeholder("Login").fill(user)
    await page.get_by_placeholder("Password").fill(user)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("button", name="Continue").click()


async def screenshot(page: Page, name: str) -> Path:
    """Saves what the person sees as `tests/artifacts/NAME.png`."""
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / f"{name}.png"
    await page.screenshot(path=path)
    return path
