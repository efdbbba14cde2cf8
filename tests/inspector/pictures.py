"""The inspector as the docs show it: visitors of a shop, and one of their requests in detail.

`python -m tests.inspector.pictures` takes the picture of the docs anew; `make test` takes the same one into
`tests/artifacts`, so that what draws it cannot break unseen.
"""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import Browser, expect

from tests.inspector.staged import Stage, staged
from tests.support.app_routes import sample_app
from tests.support.apps import Exchange
from tests.support.browser import launched
from tests.support.tools import ROOT

DOCS_IMAGES = ROOT / "docs" / "images"
NAME = "inspector"
VISITS = (
    ("GET", "/"),
    ("GET", "/assets/shop.css"),
    ("GET", "/orders/1041"),
    ("GET", "/api/stock?item=cup"),
    ("GET", "/"),
    ("GET", "/assets/shop.css"),
    ("GET", "/api/stock?item=tea"),
    ("GET", "/orders/1042"),
    ("GET", "/favicon.ico"),
    ("POST", "/api/orders?source=newsletter"),
    ("GET", "/orders/1043"),
)
ORDER = b'{"item": "tea", "count": 2, "voucher": null, "card_token": "tok_visa"}'
ANSWER = b'{"order": 1043, "total": 17.8, "state": "accepted"}'


async def take(chromium: Browser, folder: Path) -> None:
    """Writes the picture into a folder."""
    with tempfile.TemporaryDirectory() as data_dir, sample_app() as app:
        for method, target in VISITS:
            app.routes[target.partition("?")[0]] = _accept if method == "POST" else _page
        app.routes["/favicon.ico"] = _missing
        async with staged(Path(data_dir), app) as stage, stage.page(chromium) as page:
            await _visit(stage)
            await page.set_viewport_size({"width": 1280, "height": 720})
            await page.get_by_role("button", name="POST /api/orders").click()
            await expect(page.get_by_role("region", name="Details")).to_contain_text("Where the time went")
            await page.get_by_role("region", name="Details").evaluate("pane => window.scrollTo(0, pane.offsetTop - 16)")
            await page.screenshot(path=folder / f"{NAME}.png")


async def _visit(stage: Stage) -> None:
    for method, target in VISITS:
        is_order = method == "POST"
        fields = [("Content-Type", "application/json")] if is_order else []
        await stage.visit(method, target, *fields, body=ORDER if is_order else None)


async def _page(exchange: Exchange) -> None:
    await exchange.respond(200, b"<!doctype html><title>Shop</title>", [("Content-Type", "text/html")])


async def _accept(exchange: Exchange) -> None:
    await exchange.body()
    await exchange.respond(201, ANSWER, [("Content-Type", "application/json")])


async def _missing(exchange: Exchange) -> None:
    await exchange.respond(404, b"")


async def _take_for_docs() -> None:
    async with launched() as chromium:
        await take(chromium, DOCS_IMAGES)


if __name__ == "__main__":
    asyncio.run(_take_for_docs())
