"""The dashboard as the docs show it: an edge that two tunnels serve, with visitors, on a whole relay.

`python -m tests.dashboard.pictures` takes the pictures of the docs anew; `make test` takes the same ones into
`tests/artifacts`, so that what draws them cannot break unseen.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import Browser, Page

import tunnelctl
from tests.support.browser import fresh_profile, launched
from tests.support.dashboard import actor_for, browse_signed_in
from tests.support.raw_http import fetch
from tests.support.scripted_agent import Asked, ScriptedAgent
from tests.support.tools import ROOT
from tests.support.world import World, world
from tunnelctl.wire.messages import Bound, Join
from tunnelrelay.services.edges import EdgeDraft

DOCS_IMAGES = ROOT / "docs" / "images"
NAMES = ("dashboard-edge", "dashboard-traffic")
PATHS = ("/", "/cart", "/orders/1041", "/orders/1042", "/assets/shop.css", "/api/stock")
VISITS = 60
AGENTS = ("laptop", "build-7")


async def take(chromium: Browser, folder: Path) -> None:
    """Writes each picture of `NAMES` into a folder."""
    with tempfile.TemporaryDirectory() as data_dir:
        async with world(Path(data_dir)) as w, fresh_profile(chromium) as context:
            page = await browse_signed_in(w, context)
            await page.set_viewport_size({"width": 1280, "height": 860})
            await page.emulate_media(color_scheme="light", reduced_motion="reduce")
            agents = [ScriptedAgent() for _ in AGENTS]
            try:
                edge_id = await _stage(w, agents)
                for name, path in zip(NAMES, (f"/edges/{edge_id}", "/traffic"), strict=True):
                    await _open(w, page, path)
                    await page.screenshot(path=folder / f"{name}.png")
            finally:
                for agent in agents:
                    await agent.close()


async def _stage(w: World, agents: Sequence[ScriptedAgent]) -> str:
    """An edge that these serve, and visitors. Returns its id."""
    admin = actor_for((await w.relay.store.users.all(role="admin"))[0])
    edge = await w.relay.parts.services.edges.create(admin, EdgeDraft(host="shop.localhost", description="The shop"))
    for name, agent in zip(AGENTS, agents, strict=True):
        agent.answers = Asked.answer
        await agent.connect(w.port, version=tunnelctl.__version__, platform="linux x86_64")
        bound = await agent.say(Join(tunnel=1, name=name, upstream="http://localhost:3000", edge=edge.row.id))
        assert isinstance(bound, Bound), bound
    for number in range(VISITS):
        await fetch(w.port, "GET", PATHS[number % len(PATHS)], host="shop.localhost")
    return edge.row.id


async def _open(w: World, page: Page, path: str) -> None:
    address = w.relay.address
    await page.goto(address.url(address.dashboard_host) + path)
    await page.get_by_text("build-7").first.wait_for()
    if path.startswith("/edges/"):
        await page.get_by_text("50 %").first.wait_for()  # requests are counted in batches


async def _take_for_docs() -> None:
    async with launched() as chromium:
        await take(chromium, DOCS_IMAGES)


if __name__ == "__main__":
    asyncio.run(_take_for_docs())
