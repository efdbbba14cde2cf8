"""`tunnel requests` and `tunnel replay` against the real local API of an agent whose relay is a fake."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.agent.fakes import Diary, FakeRelay, make_agent
from tests.inspector.making import Clock, captured
from tests.support.apps import App
from tests.support.ports import free_port
from tests.support.waiting import turns
from tunnelctl.agent.agent import Agent
from tunnelctl.cli import local_client
from tunnelctl.cli import requests as requests_module
from tunnelctl.cli.main import run
from tunnelctl.cli.requests import visitor_of
from tunnelctl.inspector.routes import inspector_routes
from tunnelctl.inspector.store import CaptureStore
from tunnelctl.localapi.address import WebAddress, listen
from tunnelctl.localapi.api import LocalApi
from tunnelctl.localapi.server import ApiWatcher
from tunnelctl.wire.errors import Code


@dataclass(slots=True)
class Desk:
    """A terminal beside an agent with one tunnel, called `command_line`."""

    capsys: pytest.CaptureFixture[str]
    store: CaptureStore
    agent: Agent
    address: str

    async def type(self, *arguments: str, code: int = 0, where: bool = True) -> str:
        """What a command prints on stdout; of one that fails, on stderr."""
        self.capsys.readouterr()
        got = await asyncio.to_thread(run, [*arguments, *([f"--web-addr={self.address}"] if where else [])])
        out, err = self.capsys.readouterr()
        assert got == code, err
        return err if code else out


@pytest.fixture
async def desk(
    app: App, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Desk]:
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path)
    monkeypatch.delenv("TUNNELCTL_CONFIG", raising=False)
    store = CaptureStore(clock=Clock(), now=lambda: 0x548FB5C7)
    async with make_agent(FakeRelay(), Diary(), port=app.port) as agent:
        await agent.online()
        api = LocalApi(agent, pytest.fail, version="0", routes=inspector_routes(agent, store))
        async with api.serve(listen(WebAddress(port=0, is_explicit=True), pytest.fail), ApiWatcher()) as server:
            yield Desk(capsys, store, agent, server.address)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


async def test_requests_are_listed_with_the_newest_last(desk):
    captured(desk.store, "GET /first?token=abc HTTP/1.1", "X-Forwarded-For: 203.0.113.9")
    captured(desk.store, "POST /second HTTP/1.1", status=502, body=b"x", answer=b"x" * 2500)
    captured(desk.store, "GET /third HTTP/1.1", status=0, code=Code.CANCELLED)
    heading, first, second, third = rows(await desk.type("requests"))
    assert heading == ["TIME", "METHOD", "STATUS", "TOOK", "SIZE", "FROM", "PATH", "ID"]
    assert first[1:] == ["GET", "200", "0.0", "ms", "2", "B", "203.0.113.9", "/first?token=***", "548fb5c700000001"]
    assert second[1:3] == ["POST", "502"]
    assert second[5:7] == ["2", "kB"]
    assert third[1:3] == ["GET", "failed"]
    assert [one[-1][-1] for one in rows(await desk.type("requests", "--limit=1"))[1:]] == ["3"]
    assert len(rows(await desk.type("requests", "--tunnel=nope"))) == 1


async def test_json_is_one_object_a_line(desk):
    captured(desk.store, "GET /a HTTP/1.1")
    captured(desk.store, "GET /b HTTP/1.1", answer=b"\x1b[2J\n\x7f")
    objects = [json.loads(line) for line in (await desk.type("requests", "--json")).splitlines()]
    assert [one["request"]["uri"] for one in objects] == ["/a", "/b"]
    assert objects[1]["response"]["raw"]


async def test_row151_bytes_that_a_terminal_would_obey_are_shown_as_escapes(desk):
    captured(desk.store, "GET /\x1b]0;owned\x07 HTTP/1.1", "X-Forwarded-For: \x1b[2J", tunnel="\x1b[31m\u202e")
    for arguments in (("requests",), ("requests", "--json")):
        out = await desk.type(*arguments)
        assert all(one.isprintable() or one == "\n" for one in out)
        assert "owned" in out
        assert not any(ord(one) in (0x07, 0x1B, 0x7F) or 0x80 <= ord(one) < 0xA0 for one in out)


async def test_those_that_come_are_followed(desk, capsys):
    captured(desk.store, "GET /before HTTP/1.1")
    capsys.readouterr()
    following = asyncio.create_task(asyncio.to_thread(run, ["requests", "--follow", f"--web-addr={desk.address}"]))
    seen = ""

    def has(text: str) -> Callable[[], bool]:
        def look() -> bool:
            nonlocal seen
            seen += capsys.readouterr().out
            return text in seen

        return look

    await turns(has("/before"))
    captured(desk.store, "GET /after HTTP/1.1")
    captured(desk.store, "GET /other HTTP/1.1", tunnel="other")
    await turns(has("/other"))
    assert [line.split()[-2] for line in seen.splitlines()[1:]] == ["/before", "/after", "/other"]
    following.cancel()  # the thread ends with the server


async def test_a_request_is_replayed_with_changes(desk, app: App, tmp_path):
    captured(
        desk.store, "POST /echo HTTP/1.1", "X-A: 1", "X-B: 2", "Content-Length: 5", tunnel="command_line", body=b"hello"
    )
    _, row = rows(await desk.type("replay", "548fb5c700000001"))
    assert (row[1], row[2], row[-1]) == ("POST", "200", "548fb5c700000002")
    assert app.requests[-1].get("x-a") == "1"
    (tmp_path / "body").write_bytes(b"from a file")
    made = json.loads(
        await desk.type(
            "replay", "548fb5c700000001", "--json", "--set-header", "X-A: new: value", "--remove-header=x-b",
            "--method=PUT", "--path=/echo?x=1", f"--data=@{tmp_path}/body",
        )
    )  # fmt: skip
    assert made["replay_of"] == "548fb5c700000001"
    seen = app.requests[-1]
    assert (seen.method, seen.target, seen.get("x-a"), seen.get("x-b"), seen.get("content-length")) == (
        "PUT", "/echo?x=1", "new: value", "", "11",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["548fb5c700000009"], 1, "the agent refused: request entry not found: 548fb5c700000009"),
        (["548fb5c700000001", "--set-header", "nonsense"], 2, "--set-header: 'nonsense' has no colon"),
        (["548fb5c700000001", "--set-header", "Content-Length: 1"], 1, "request cannot be replayed: Content-Length"),
        (["548fb5c700000001", "--path", "http://x/"], 1, "is no path"),
        (["548fb5c700000001", "--tunnel", "nope"], 1, "tunnel not found: nope"),
        (["548fb5c700000001", "--data", "@/no/such/file"], 2, "cannot read @/no/such/file"),
        (["548fb5c700000001", "--data", "@/dev/zero"], 2, "more than 128 KiB"),
    ],
)
async def test_a_replay_that_cannot_be_says_why(desk, arguments, code, said):
    captured(desk.store, tunnel="command_line")
    assert said in await desk.type("replay", *arguments, code=code)


async def test_a_replay_without_a_response_is_exit_code_1(desk, app: App):
    async def leave(exchange):
        exchange.writer.transport.abort()

    app.routes["/leave"] = leave
    captured(desk.store, "POST /leave HTTP/1.1", tunnel="command_line")
    assert "without a response" in await desk.type("replay", "548fb5c700000001", code=1)


async def test_the_agent_is_found_at_the_usual_port_the_next_ones_or_where_the_file_says(desk, monkeypatch, tmp_path):
    captured(desk.store)
    port = int(desk.address.rpartition(":")[2])
    monkeypatch.setattr(local_client, "DEFAULT_PORT", port - 1)
    assert "548fb5c700000001" in await desk.type("requests", where=False)
    monkeypatch.setattr(local_client, "DEFAULT_PORT", 1)
    monkeypatch.setattr(local_client, "LOOKED_AT", 2)
    said = await desk.type("requests", where=False, code=1)
    assert "error: no agent answers at 127.0.0.1:1, nor at the 1 ports behind it" in said
    assert "hint: start one with `tunnel http`" in said
    (tmp_path / "tunnel.yml").write_text(f"version: 3\nagent: {{web_addr: 0.0.0.0:{port}}}\n")
    assert "548fb5c700000001" in await desk.type("requests", where=False)
    (tmp_path / "tunnel.yml").write_text("version: 3\nagent: {web_addr: false}\n")
    assert "web_addr is false" in await desk.type("requests", where=False, code=2)


@pytest.mark.parametrize(("web_addr", "code", "said"), [("nonsense", 2, "--web-addr: "), ("false", 2, "is false")])
def test_a_wrong_address_is_a_usage_error(web_addr, code, said, capsys):
    assert run(["requests", f"--web-addr={web_addr}"]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("status", [200, 404])
def test_another_program_at_the_port_is_no_agent(app: App, status, capsys):
    async def answer(exchange):
        await exchange.respond(status, b'["x"]')

    app.routes["/api/status"] = answer
    assert run(["requests", f"--web-addr=127.0.0.1:{app.port}"]) == 1
    assert f"no agent answers at 127.0.0.1:{app.port}" in capsys.readouterr().err
    assert run(["requests", f"--web-addr=127.0.0.1:{free_port()}"]) == 1


async def test_a_narrow_terminal_shows_what_matters_most(desk, monkeypatch):
    captured(desk.store, f"GET /{'x' * 100} HTTP/1.1")
    monkeypatch.setattr(requests_module, "PIPE_WIDTH", 70)
    text = await desk.type("requests")
    heading, row = rows(text)
    assert heading == ["TIME", "METHOD", "STATUS", "TOOK", "PATH", "ID"]
    assert row[-1] == "548fb5c700000001"
    assert all(len(line) <= 70 for line in text.splitlines())


def test_a_visitor_is_told_by_the_name_that_says_most():
    one: dict[str, Any] = {"visitor": {"email": "", "name": "Ann", "subject": "1"}, "remote_addr": "203.0.113.9"}
    assert visitor_of(one) == "Ann"
    assert visitor_of(one | {"visitor": {"email": "ann@acme.com", "name": "Ann"}}) == "ann@acme.com"
    assert visitor_of(one | {"visitor": None}) == "203.0.113.9"
