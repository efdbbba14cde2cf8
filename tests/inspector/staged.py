"""An agent with its inspector behind a real relay, a sample app behind the agent, and a browser before the pages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Browser, Page

from tests.support.apps import App
from tests.support.browser import fresh_profile
from tests.support.looks import DESK
from tests.support.ports import free_port
from tests.support.raw_http import Response, fetch
from tests.support.world import World, WorldTunnel, tunnel_to, world
from tunnelctl.inspector.pages import page_routes
from tunnelctl.inspector.routes import inspector_routes
from tunnelctl.inspector.store import CaptureStore
from tunnelctl.inspector.traffic import AgentTraffic
from tunnelctl.localapi.address import WebAddress, listen
from tunnelctl.localapi.api import LocalApi
from tunnelctl.localapi.server import ApiWatcher, LocalServer

LIST = "/inspect/http"


@dataclass(slots=True)
class Stage:
    """All of it.

    Attributes:
        agent: With the tunnels `shop`, open to all, and `preview`, behind a password.
        server: Of the local API.
        said: What browsers complained about: errors, and what the pages' policy did not let load.
    """

    world: World
    app: App
    agent: WorldTunnel
    store: CaptureStore
    server: LocalServer
    said: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """Of the pages."""
        return f"http://{self.server.address}"

    async def visit(
        self, method: str, target: str, *fields: tuple[str, str], body: bytes | None = None, host: str = "shop"
    ) -> Response:
        """A visitor's request."""
        name = f"{host}.localhost:{self.world.port}"
        return await fetch(self.world.port, method, target, host=name, fields=list(fields), body=body)

    @asynccontextmanager
    async def page(self, chromium: Browser, path: str = LIST) -> AsyncIterator[Page]:
        """This page of the inspector, in a fresh profile."""
        async with fresh_profile(chromium) as context:
            page = await context.new_page()
            page.on("pageerror", lambda error: self.said.append(str(error)))
            page.on("console", lambda message: self.said.append(message.text) if message.type == "error" else None)
            await page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
            await page.emulate_media(reduced_motion="reduce")
            await page.goto(self.origin + path)
            yield page


@asynccontextmanager
async def staged(data_dir: Path, app: App, *, inspects: bool = True) -> AsyncIterator[Stage]:
    """The stage, with both tunnels online.

    Args:
        inspects: Whether requests are kept.
    """
    async with world(data_dir) as w:
        store, traffic = CaptureStore(), AgentTraffic()
        agent = w.agent_with(
            tunnel_to(app.port, name="shop", subdomain="shop"),
            tunnel_to(free_port(), name="preview", subdomain="preview"),
            open_tap=store.begin if inspects else None,
        )
        agent.agent.watchers.add(traffic)
        for _ in range(2):
            await agent.until_started()
        routes = [*inspector_routes(agent.agent, store), *page_routes(agent.agent, traffic.series, "9.9.9")]
        api = LocalApi(agent.agent, asyncio.Event, version="9.9.9", routes=routes)
        listener = listen(WebAddress(port=0, is_explicit=True), str)
        async with api.serve(listener, ApiWatcher()) as server:
            yield Stage(w, app, agent, store, server)
