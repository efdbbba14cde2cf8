"""The local API of an agent behind a real relay: what programs that drive `ngrok` do with it, and what visitors get."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from tests.support.apps import App
from tests.support.asgi_tasks import requests_ended
from tests.support.ports import free_port
from tests.support.raw_http import Response, connect, fetch
from tests.support.waiting import turns
from tests.support.world import World, WorldTunnel, world
from tunnelctl.agent.status import SessionState
from tunnelctl.cli.settings import build_tunnel
from tunnelctl.localapi.address import WebAddress, listen
from tunnelctl.localapi.api import LocalApi
from tunnelctl.localapi.server import ApiWatcher
from tunnelrelay.config.values import PortRange


@dataclass(slots=True)
class Driven:
    """An agent that was started with `--none`, and a client of its API."""

    world: World
    tunnel: WorldTunnel
    client: httpx.AsyncClient

    async def visit(self, public_url: str, target: str = "/") -> Response:
        return await fetch(self.world.port, "GET", target, host=public_url.partition("://")[2])


@asynccontextmanager
async def driven(w: World) -> AsyncIterator[Driven]:
    tunnel = w.agent_with()
    api = LocalApi(tunnel.agent, lambda definition: build_tunnel(definition, {}), version="0")
    listener = listen(WebAddress(port=0, is_explicit=True), pytest.fail)
    async with (
        api.serve(listener, ApiWatcher()) as server,
        httpx.AsyncClient(base_url=f"http://{server.address}", trust_env=False) as client,
    ):
        yield Driven(w, tunnel, client)


async def test_a_tunnel_is_added_visited_counted_and_deleted(tmp_path, app: App):
    async with world(tmp_path / "data") as w, driven(w) as agent:
        await agent.tunnel.agent.online()
        body = {"name": "my tunnel", "addr": str(app.port), "proto": "http"}
        made = (await agent.client.post("/api/tunnels", json=body)).raise_for_status().json()
        assert (await agent.visit(made["public_url"], "/")).status == 200
        shown = (await agent.client.get(made["uri"])).json()
        assert shown["name"] == "my tunnel"
        assert (shown["metrics"]["http"]["count"], shown["metrics"]["conns"]["gauge"]) == (1, 0)  # the probe is not one
        assert shown["metrics"]["http"]["p50"] > 1000
        assert (await agent.client.delete(made["uri"])).status_code == 204
        assert (await agent.visit(made["public_url"])).status == 404


async def test_a_tcp_tunnel_is_added_and_counts_its_connections(tmp_path):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    app = await asyncio.start_server(serve, "127.0.0.1", 0)
    local = f"127.0.0.1:{app.sockets[0].getsockname()[1]}"
    port = free_port()
    async with app, world(tmp_path / "data", tcp_ports=(PortRange(None, port, port),)) as w, driven(w) as agent:
        await agent.tunnel.agent.online()
        body = {"name": "ssh", "upstream": {"url": local}, "url": "tcp://", "inspect": False}
        made = (await agent.client.post("/api/endpoints", json=body)).raise_for_status().json()
        assert (made["proto"], made["public_url"]) == ("tcp", f"tcp://localhost:{port}")
        assert (made["config"]["addr"], made["upstream"]["url"]) == (local, local)
        async with connect(port) as visitor:
            await visitor.send(b"hello\n")
            assert await visitor.rest() == b"hello\n"
        await turns(lambda: agent.tunnel.diary.exchanges)
        metrics = (await agent.client.get(made["uri"])).json()["metrics"]
        assert (metrics["conns"]["count"], metrics["conns"]["gauge"], metrics["http"]["count"]) == (1, 0, 0)
        assert (
            await agent.client.post("/api/tunnels", json={"name": "x", "addr": local, "proto": "tcp"})
        ).status_code == 502


async def test_the_agents_own_user_publishes_a_directory(tmp_path):
    """Only Linux tells whose program asks."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("home")
    url = f"file://{tmp_path}/site"
    async with world(tmp_path / "data") as w, driven(w) as agent:
        await agent.tunnel.agent.online()
        for path, body in (
            ("tunnels", {"name": "a", "addr": url, "proto": "http"}),
            ("endpoints", {"name": "b", "upstream": {"url": url}}),
        ):
            answer = await agent.client.post(f"/api/{path}", json=body)
            if sys.platform != "linux":
                assert answer.status_code == 400
                continue
            made = answer.raise_for_status().json()
            assert (made["config"]["addr"], made["upstream"]["url"]) == (url, url)
            assert (await agent.visit(made["public_url"])).text == "home"
            missing = await agent.client.post(f"/api/{path}", json={**body, "name": "c", "addr": f"{url}/none"})
            assert missing.status_code == 400
        await requests_ended()


async def test_a_tunnel_to_the_api_shows_visitors_the_status_and_nothing_else(tmp_path):
    async with world(tmp_path / "data") as w, driven(w) as agent:
        await agent.tunnel.agent.online()
        body = {"name": "api", "upstream": {"url": str(agent.client.base_url).rstrip("/")}}
        made = (await agent.client.post("/api/endpoints", json=body)).raise_for_status().json()
        assert (await agent.visit(made["url"], "/status")).text == "online\n"
        assert '"status":"online"' in (await agent.visit(made["url"], "/api/status")).text
        assert (await agent.visit(made["url"], "/api/tunnels")).status == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_row152_a_tcp_tunnel_to_the_api_connects_no_visitor(tmp_path, host):
    """A visitor's bytes could not be told from a request of this machine's user, who may even publish files."""
    port = free_port()
    async with world(tmp_path / "data", tcp_ports=(PortRange(None, port, port),)) as w, driven(w) as agent:
        await agent.tunnel.agent.online()
        own = f"{host}:{agent.client.base_url.port}"
        body = {"name": "api", "upstream": {"url": own}, "url": "tcp://"}
        (await agent.client.post("/api/endpoints", json=body)).raise_for_status()
        answer = b""
        with contextlib.suppress(ConnectionError):
            async with connect(port) as visitor:
                await visitor.send(b"GET /api/tunnels HTTP/1.1\r\nHost: localhost:4040\r\nConnection: close\r\n\r\n")
                answer = await visitor.rest()
        assert answer == b""
        await turns(lambda: agent.tunnel.diary.exchanges)
        assert (await agent.client.get("/api/tunnels")).status_code == 200


async def test_two_hundred_tunnels_go_over_one_link(tmp_path, app: App):
    async with world(tmp_path / "data") as w, driven(w) as agent:
        await agent.tunnel.agent.online()
        for number in range(200):
            body = {"name": f"t{number}", "addr": app.port, "proto": "http", "subdomain": f"t{number}"}
            assert (await agent.client.post("/api/tunnels", json=body)).status_code == 201
        assert len((await agent.client.get("/api/tunnels")).json()["tunnels"]) == 200
        assert len(agent.tunnel.agent.tunnels) == 200
        for number in (0, 199):
            assert (await agent.visit(f"http://t{number}.localhost:{w.port}")).status == 200


async def test_while_the_relay_is_away_no_tunnel_is_ready_and_after_it_the_same_post_succeeds(tmp_path, app: App):
    async with world(tmp_path / "data") as w, driven(w) as agent:
        await agent.tunnel.agent.online()
        body = {"name": "later", "addr": app.port, "proto": "http", "subdomain": "later"}
        await w.relay.stop()
        await turns(lambda: agent.tunnel.agent.status.state is SessionState.RECONNECTING)
        refused = await agent.client.post("/api/tunnels", json=body)
        assert (refused.status_code, refused.json()["error_code"]) == (503, 104)
        assert (await agent.client.get("/api/status")).json()["status"] == "reconnecting"
        await w.start_relay()
        await agent.tunnel.agent.online()
        assert (await agent.client.post("/api/tunnels", json=body)).status_code == 201
