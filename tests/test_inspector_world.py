"""The inspector of an agent behind a real relay: what is captured of visitors' requests, and what replays send."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.apps import App
from tests.support.ports import free_port
from tests.support.raw_http import Response, connect, fetch
from tests.support.waiting import turns
from tests.support.world import World, tunnel_to, world
from tunnelctl.agent.agent import Agent
from tunnelctl.cli.settings import build_tunnel
from tunnelctl.inspector import replays
from tunnelctl.inspector.routes import inspector_routes
from tunnelctl.inspector.store import MAX_BODY, CaptureStore
from tunnelctl.localapi.address import WebAddress, listen
from tunnelctl.localapi.api import LocalApi
from tunnelctl.localapi.server import ApiWatcher
from tunnelctl.wire.messages import PolicySpec

LIST = "/api/requests/http"


@dataclass(slots=True)
class Inspected:
    """An agent with one inspected tunnel, and a client of its local API."""

    world: World
    agent: Agent
    store: CaptureStore
    client: httpx.AsyncClient
    host: str

    async def visit(self, method: str, target: str, **more: Any) -> Response:
        response = await fetch(self.world.port, method, target, host=self.host, **more)
        await turns(lambda: all(one.is_over for one in self.store.newest()))
        return response

    async def listed(self) -> list[dict[str, Any]]:
        return list((await self.client.get(LIST)).raise_for_status().json()["requests"])

    async def replay(self, **asked: Any) -> dict[str, Any]:
        """Replay the newest request and wait for its end. Returns the new request."""
        body = {"id": (await self.listed())[0]["id"], "wait": True} | asked
        made = await self.client.post(LIST, json=body)
        assert made.status_code == 201, made.text
        assert made.headers["location"] == made.json()["uri"]
        return dict((await self.client.get(made.json()["uri"])).json())


@asynccontextmanager
async def inspected(tmp_path, port: int, **config: Any) -> AsyncIterator[Inspected]:
    store = CaptureStore()
    async with world(tmp_path / "data") as w:
        tunnel = w.agent_with(tunnel_to(port, name="web", **config), open_tap=store.begin)
        await tunnel.until_started()
        routes = inspector_routes(tunnel.agent, store)
        api = LocalApi(tunnel.agent, lambda definition: build_tunnel(definition, {}), version="0", routes=routes)
        listener = listen(WebAddress(port=0, is_explicit=True), pytest.fail)
        async with (
            api.serve(listener, ApiWatcher()) as server,
            httpx.AsyncClient(base_url=f"http://{server.address}", trust_env=False) as client,
        ):
            yield Inspected(w, tunnel.agent, store, client, tunnel.host)


def raw(message: dict[str, Any]) -> bytes:
    return base64.b64decode(message["raw"])


async def test_what_visitors_and_the_app_send_is_captured(tmp_path, app: App):
    async with inspected(tmp_path, app.port) as here:
        response = await here.visit(
            "POST", "/echo?token=abc", fields=[("Authorization", "Bearer s3cret"), ("X-Note", "n")], body=b"hello"
        )
        (one,) = await here.listed()
        assert (one["tunnel_name"], one["remote_addr"], one["error"], one["is_over"]) == ("web", "127.0.0.1", "", True)
        request, answer = one["request"], one["response"]
        assert (request["method"], request["uri"], answer["status_code"]) == ("POST", "/echo?token=***", 200)
        assert request["headers"]["Authorization"] == ["Bearer ***"]
        assert request["headers"]["X-Note"] == ["n"]
        assert raw(request).endswith(b"\r\n\r\nhello")
        assert (request["body"]["size"], answer["body"]["size"]) == (5, len(response.body))
        assert answer["headers"]["Content-Type"] == ["application/json"]
        assert all(one["timing"][name] is not None for name in ("connect", "send", "wait", "receive"))
        assert 0 < sum(one["timing"][name] for name in ("connect", "send", "wait", "receive")) <= one["duration"] + 4
        assert (await here.client.get("/api/tunnels/web")).json()["config"]["inspect"] is True


async def test_the_relay_tells_who_asked_by_which_rule_and_how_long_that_took(tmp_path, app: App):
    async with inspected(tmp_path, app.port, policy=PolicySpec(basic_auth=("ann:correct-horse",))) as here:
        pair = base64.b64encode(b"ann:correct-horse").decode()
        assert (await here.visit("GET", "/", fields=[("Authorization", f"Basic {pair}")])).status == 200
        (one,) = await here.listed()
        assert one["visitor"] == {
            "address": "127.0.0.1",
            "subject": "",
            "email": "",
            "name": "",
            "rule": "basic auth",
            "how": "basic",
        }
        assert one["timing"]["gate"] > 0


async def test_nothing_is_captured_of_a_tunnel_that_is_not_inspected(tmp_path, app: App):
    async with inspected(tmp_path, app.port, inspect=False) as here:
        assert (await here.visit("GET", "/")).status == 200
        assert await here.listed() == []
        assert (await here.client.get("/api/tunnels/web")).json()["config"]["inspect"] is False


async def test_a_request_that_got_no_answer_says_why(tmp_path, app: App):
    async with inspected(tmp_path, free_port()) as here:
        assert (await here.visit("GET", "/")).status == 502
        (one,) = await here.listed()
        assert (one["response"], one["error"]) == (None, "connection refused")


async def test_a_large_upload_and_download_are_carried_whole_and_kept_in_part(tmp_path, app: App):
    size = 8 * 1024 * 1024
    body = os.urandom(size)
    async with inspected(tmp_path, app.port) as here:
        assert (
            json.loads((await here.visit("POST", "/echo", body=body)).body)["body"] == base64.b64encode(body).decode()
        )
        assert len((await here.visit("GET", f"/bytes/{size}")).body) == size
        download, upload = await here.listed()
        assert (upload["request"]["body"]["size"], upload["request"]["body"]["kept"]) == (size, MAX_BODY)
        assert (download["response"]["body"]["size"], download["response"]["body"]["kept"]) == (size, MAX_BODY)
        refused = await here.client.post(LIST, json={"id": upload["id"]})
        assert (refused.status_code, refused.json()["msg"]) == (400, "request cannot be replayed")


async def test_a_websocket_is_seen_and_cannot_be_replayed(tmp_path, app: App):
    async with inspected(tmp_path, app.port) as here:
        async with connect(here.world.port) as visitor:
            await visitor.send(
                f"GET /ws HTTP/1.1\r\nHost: {here.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            assert (await visitor.head()).status == 101
        await turns(lambda: all(one.is_over for one in here.store.newest()))
        (one,) = await here.listed()
        assert (one["is_upgrade"], one["response"]["status_code"], one["response"]["body"]["kept"]) == (True, 101, 0)
        assert (await here.client.post(LIST, json={"id": one["id"]})).status_code == 400


async def test_a_replay_sends_what_was_captured_straight_to_the_app(tmp_path, app: App):
    async with inspected(tmp_path, app.port) as here:
        fields = [("Authorization", "Bearer s3cret"), ("Cookie", "a=b")]
        await here.visit("POST", "/echo?token=abc", fields=fields, body=b"hello")
        before = (await here.listed())[0]
        again = await here.replay()
        assert (again["replay_of"], again["tunnel_name"], again["request"]) == (before["id"], "web", before["request"])
        first, second = app.seen("/echo")
        assert second.raw == first.raw  # the secrets too, and the identity fields
        assert raw(again["response"]).partition(b"\r\n\r\n")[2] == raw(before["response"]).partition(b"\r\n\r\n")[2]
        assert again["response"]["status_code"] == 200
        # ngrok's clients get what they expect, and the metrics count visitors alone.
        plain = await here.client.post(LIST, json={"id": before["id"], "tunnel_name": None})
        assert (plain.status_code, plain.content) == (204, b"")
        await turns(lambda: len(app.seen("/echo")) == 3)
        assert (await here.client.get("/api/tunnels/web")).json()["metrics"]["http"]["count"] == 1


async def test_a_replay_can_be_changed(tmp_path, app: App):
    async with inspected(tmp_path, app.port) as here:
        await here.visit("POST", "/echo", fields=[("X-A", "1"), ("x-a", "2"), ("X-B", "3")], body=b"hello")
        changed = await here.replay(
            method="PUT",
            uri="/echo?b=1",
            set_headers={"X-A": "new", "X-C": "4"},
            remove_headers=["x-b"],
            body=base64.b64encode(b"other words").decode(),
        )
        seen = app.requests[-1]
        assert (seen.method, seen.target, seen.get_all("x-a"), seen.get("x-b"), seen.get("x-c")) == (
            "PUT", "/echo?b=1", ["new"], "", "4",
        )  # fmt: skip
        assert seen.get("content-length") == "11"
        assert (
            base64.b64decode(json.loads(raw(changed["response"]).partition(b"\r\n\r\n")[2])["body"]) == b"other words"
        )


@pytest.mark.parametrize(
    "changes",
    [{"uri": "http://evil.example/"}, {"uri": "/a b"}, {"uri": "/\r\nX: y"}, {"method": "GE T"}, {"method": ""},
     {"set_headers": {"X-A": "1\r\nX-B: 2"}}, {"set_headers": {"X A": "1"}}, {"set_headers": {"X-A\r\nB": ""}},
     {"set_headers": {"Content-Length": "1"}}, {"set_headers": {"transfer-encoding": "chunked"}},
     {"remove_headers": ["Content-Length"]}, {"set_headers": {"Connection": "close"}}, {"set_headers": {"X-A: 1": "2"}},
     {"set_headers": {"X-A": "\u20ac"}},
     {"set_headers": {"X-A": "y" * 40_000}}],
)  # fmt: skip
async def test_a_replay_that_would_be_two_requests_is_refused(tmp_path, app: App, changes):
    async with inspected(tmp_path, app.port) as here:
        await here.visit("GET", "/echo")
        body = {"id": (await here.listed())[0]["id"], **changes}
        assert (await here.client.post(LIST, json=body)).json()["msg"] == "request cannot be replayed"
        assert len(app.seen("/echo")) == 1


async def test_a_chunked_request_is_replayed_in_chunks(tmp_path, app: App):
    async with inspected(tmp_path, app.port) as here:
        body = b"5\r\nhello\r\n0\r\n\r\n"
        await here.visit("POST", "/echo", fields=[("Transfer-Encoding", "chunked")], body=body)
        await here.replay()
        again = app.requests[-1]
        assert again.get("transfer-encoding") == "chunked"
        assert raw((await here.listed())[0]["request"]).endswith(b"\r\n\r\nhello")


async def test_only_so_many_replays_are_under_way_and_each_ends(tmp_path, app: App, monkeypatch):
    monkeypatch.setattr(replays, "MAX_REPLAYS", 1)
    async with inspected(tmp_path, app.port) as here:
        await here.visit("GET", "/echo")
        id_ = (await here.listed())[0]["id"]

        async def slow(exchange):
            await exchange.app.gate("slow")
            await exchange.respond(200)

        app.routes["/slow"] = slow
        under_way = asyncio.create_task(here.client.post(LIST, json={"id": id_, "uri": "/slow", "wait": True}))
        await turns(lambda: app.seen("/slow"))
        assert (await here.client.post(LIST, json={"id": id_})).json()["msg"] == "too many replays"
        app.open_gate("slow")
        assert (await under_way).status_code == 201
        monkeypatch.setattr(replays, "REPLAY_SECONDS", 0.0)
        app.routes["/never"] = lambda exchange: exchange.app.gate("never")
        ended = await here.replay(uri="/never")
        assert (ended["response"], ended["error"]) == (None, "no complete answer in 0 s")


async def test_a_replay_ends_with_its_tunnel(tmp_path, app: App):
    async with inspected(tmp_path, app.port) as here:
        await here.visit("GET", "/echo")
        app.routes["/never"] = lambda exchange: exchange.app.gate("never")
        id_ = (await here.listed())[0]["id"]
        under_way = asyncio.create_task(here.client.post(LIST, json={"id": id_, "uri": "/never", "wait": True}))
        await turns(lambda: app.seen("/never"))
        here.agent.remove("web")
        assert (await under_way).status_code == 201
        assert (await here.listed())[0]["error"] == "the tunnel has ended"
        gone = await here.client.post(LIST, json={"id": id_})
        assert (gone.status_code, gone.json()["error_code"]) == (404, 100)


async def test_events_come_while_visitors_do(tmp_path, app: App):
    async with inspected(tmp_path, app.port) as here, here.client.stream("GET", "/api/requests/events") as events:
        lines = events.aiter_lines()
        assert await anext(lines) == ": open"
        await here.visit("GET", "/echo?code=abc")
        told: list[str] = []
        while not (told and json.loads(told[-1])["is_over"]):
            line = await anext(lines)
            told += [line.removeprefix("data: ")] if line.startswith("data: ") else []
        last = json.loads(told[-1])
        assert (last["request"]["uri"], last["response"]["status_code"]) == ("/echo?code=***", 200)
        assert "raw" not in last["request"]


async def test_row152_a_tunnel_to_the_api_shows_no_request_whatever_its_host_header(tmp_path, app: App):
    async with inspected(tmp_path, app.port) as here:
        await here.visit("GET", "/echo")
        address = str(here.client.base_url).rstrip("/")
        for host_header in ("rewrite", "localhost:4040"):
            body = {"name": f"api {host_header}", "addr": address, "proto": "http", "host_header": host_header}
            made = (await here.client.post("/api/tunnels", json=body)).raise_for_status().json()
            host = made["public_url"].partition("://")[2]
            for method, path in (
                ("GET", LIST),
                ("DELETE", LIST),
                ("GET", "/api/tunnels"),
                ("GET", "/api/requests/events"),
            ):
                refused = await fetch(here.world.port, method, path, host=host)
                assert (refused.status, "tunnel" in refused.text) == (403, True)
            assert (await fetch(here.world.port, "GET", "/api/status", host=host)).status == 200
        assert (await here.listed())[-1]["request"]["uri"] == "/echo"
