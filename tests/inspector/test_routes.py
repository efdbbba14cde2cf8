"""The inspector's paths of the local API, asked without a network."""

import asyncio
import base64
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.agent.fakes import Diary, FakeRelay, FakeUpstream, make_agent
from tests.inspector.making import Clock, captured, opened
from tests.support.canaries import Canaries
from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.inspector import events as events_module
from tunnelctl.inspector import views
from tunnelctl.inspector.routes import inspector_routes
from tunnelctl.inspector.store import MAX_BODY, Capture, CaptureStore
from tunnelctl.localapi.api import LocalApi
from tunnelctl.localapi.caller import NOT_YOURS
from tunnelctl.localapi.message import ApiAnswer, ApiError, ApiRequest

LIST = "/api/requests/http"
EVENTS = "/api/requests/events"


@dataclass(slots=True)
class Inspected:
    """The API, asked without a network, and the store behind it."""

    api: LocalApi
    store: CaptureStore

    async def ask(self, method: str, path: str, body: Any = None, **fields: str) -> ApiAnswer:
        path, _, query = path.partition("?")
        data = b"" if body is None else json.dumps(body).encode()
        named = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in fields.items()}
        host = named.pop("host", "127.0.0.1:4040")
        request = ApiRequest(method=method, path=path, query=query, host=host, fields=named, body=data)
        try:
            return await self.api.answer(request)
        except ApiError as error:
            return error.answer()

    async def json(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = await self.ask(method, path, body)
        data = answer.body
        if answer.stream is not None:
            data = b"".join([piece async for piece in answer.stream])
        return answer.status, json.loads(data) if data else None


@contextlib.asynccontextmanager
async def inspected(*tunnels: TunnelConfig) -> AsyncIterator[Inspected]:
    store = CaptureStore(now=lambda: 0x548FB5C7)
    async with make_agent(FakeRelay(), Diary(), tunnels=tunnels, upstream=FakeUpstream()) as agent:
        await agent.online()
        routes = inspector_routes(agent, store)
        yield Inspected(LocalApi(agent, pytest.fail, version="3.9.9", routes=routes), store)


async def test_the_newest_requests_are_listed():
    async with inspected() as here:
        assert await here.json("GET", LIST) == (200, {"uri": LIST, "requests": []})
        for number in range(3):
            captured(here.store, f"GET /{number} HTTP/1.1", tunnel="web" if number else "other")
        _, listed = await here.json("GET", LIST)
        assert [one["request"]["uri"] for one in listed["requests"]] == ["/2", "/1", "/0"]
        _, one = await here.json("GET", listed["requests"][0]["uri"])
        assert one == listed["requests"][0]
        _, listed = await here.json("GET", f"{LIST}?limit=1")
        assert [one["request"]["uri"] for one in listed["requests"]] == ["/2"]
        _, listed = await here.json("GET", f"{LIST}?tunnel_name=other&limit=5")
        assert [one["request"]["uri"] for one in listed["requests"]] == ["/0"]
        assert (await here.json("GET", f"{LIST}?limit=x"))[0] == 400


async def test_a_list_leaves_out_what_was_forgotten_before_its_turn():
    async with inspected() as here:
        for number in range(3):
            captured(here.store, f"GET /{number} HTTP/1.1")
        answer = await here.ask("GET", LIST)
        pieces = [await anext(answer.stream), await anext(answer.stream)]
        here.store.clear()
        pieces += [piece async for piece in answer.stream]
        assert [one["request"]["uri"] for one in json.loads(b"".join(pieces))["requests"]] == ["/2"]


async def test_a_large_body_is_shown_as_any_other():
    async with inspected() as here:
        captured(here.store, answer=b"x" * 100_000)
        _, listed = await here.json("GET", LIST)
        body = listed["requests"][0]["response"]["body"]
        assert (body["size"], body["kept"], body["is_cut"]) == (100_000, MAX_BODY, True)
        assert await here.json("GET", listed["requests"][0]["uri"]) == (200, listed["requests"][0])


async def test_an_unknown_request_is_not_found_in_ngroks_words():
    async with inspected() as here:
        for id_ in ("548fb5c700000001", "nonsense"):
            status, error = await here.json("GET", f"{LIST}/{id_}")
            assert (status, error["error_code"], error["msg"]) == (404, 106, "request entry not found")
            assert error["details"] == {"id": id_}
        assert (await here.json("POST", LIST, {"id": "548fb5c700000001"}))[1]["error_code"] == 106


async def test_all_are_forgotten_when_a_user_asks():
    async with inspected() as here:
        captured(here.store)
        assert await here.json("DELETE", LIST) == (204, None)
        assert (await here.json("GET", LIST))[1]["requests"] == []


async def test_an_archive_of_all_or_one_is_har():
    async with inspected() as here:
        captured(here.store, "GET /0 HTTP/1.1")
        captured(here.store, "GET /1 HTTP/1.1")
        _, archive = await here.json("GET", f"{LIST}?format=har")
        assert archive["log"]["version"] == "1.2"
        assert [one["request"]["url"] for one in archive["log"]["entries"]] == [
            "http://demo.tun.example/1",
            "http://demo.tun.example/0",
        ]
        id_ = archive["log"]["entries"][1]["_id"]
        answer = await here.ask("GET", f"{LIST}/{id_}?format=har")
        assert json.loads(answer.body)["log"]["entries"] == [archive["log"]["entries"][1]]
        assert answer.fields == (("Content-Disposition", f'attachment; filename="{id_}.har"'),)


@pytest.mark.parametrize(
    "body",
    [[], {}, {"id": 1}, {"id": "548fb5c700000001", "method": 1}, {"id": "548fb5c700000001", "set_headers": ["a"]},
     {"id": "548fb5c700000001", "set_headers": {"a": 1}}, {"id": "548fb5c700000001", "remove_headers": [1]},
     {"id": "548fb5c700000001", "body": "%"}, {"id": "548fb5c700000001", "wait": "yes"}],
)  # fmt: skip
async def test_a_replay_that_makes_no_sense_is_refused(body):
    async with inspected() as here:
        captured(here.store)
        assert (await here.ask("POST", LIST, body)).status == 400


async def test_a_replay_to_a_tunnel_that_is_gone_is_not_found():
    async with inspected() as here:
        captured(here.store)
        status, error = await here.json(
            "POST", LIST, {"id": "548fb5c700000001", "tunnel_name": None, "tunnelName": "x"}
        )
        assert (status, error["error_code"], error["details"]) == (404, 100, {"name": "web"})


async def test_a_replay_to_a_file_or_a_socket_is_for_the_agents_own_user():
    """It goes around the relay's rules, with the rights of the agent's user."""
    upstream = UpstreamAddress("http", path="/run/docker.sock")
    async with inspected(TunnelConfig(upstream=upstream, name="app")) as here:
        captured(here.store)
        captured(here.store, tunnel="app")
        for body in ({"id": "548fb5c700000001", "tunnel_name": "app"}, {"id": "548fb5c700000002"}):
            status, error = await here.json("POST", LIST, body)
            assert (status, error["details"]["err"]) == (403, NOT_YOURS)
        assert len(list(here.store.newest())) == 2


async def test_row150_web_pages_may_neither_replay_nor_clear_nor_follow():
    async with inspected() as here:
        captured(here.store)
        for method, path in (("POST", LIST), ("DELETE", LIST), ("GET", EVENTS), ("GET", LIST)):
            assert (
                await here.ask(method, path, {"id": "548fb5c700000001"}, origin="https://evil.example")
            ).status == 403
            assert (await here.ask(method, path, host="evil.example:4040")).status == 401
        assert (await here.ask("POST", LIST, {"id": "1"}, content_type="text/plain")).status == 415
        assert len(list(here.store.newest())) == 1


async def test_row152_what_comes_through_a_tunnel_sees_no_request_even_with_a_local_host():
    async with inspected() as here:
        captured(here.store)
        for method, path in (("GET", LIST), ("GET", EVENTS), ("DELETE", LIST), ("GET", "/api/tunnels")):
            answer = await here.ask(method, path, host="localhost:4040", x_forwarded_for="203.0.113.9")
            assert (answer.status, answer.stream) == (403, None)
        assert (
            await here.ask("GET", "/api/status", host="localhost:4040", x_forwarded_for="203.0.113.9")
        ).status == 200


async def test_row153_no_answer_shows_a_credential():
    canaries = Canaries()
    plant = canaries.plant
    async with inspected() as here:
        captured(
            here.store, f"POST /cb?code={plant('query')} HTTP/1.1", f"Authorization: Bearer {plant('bearer')}",
            f"Cookie: sid={plant('cookie')}", f"X-Tunnel-Assertion: {plant('assertion')}",
            "Content-Type: application/json",
            f"Referer: https://a.example/?access_token={plant('referer')}",
            body=json.dumps({"password": plant("body")}).encode(),
            response=(f"Set-Cookie: sid={plant('set-cookie')}; Path=/", f"Location: /x?id_token={plant('location')}"),
            answer=json.dumps({"refresh_token": plant("answer")}).encode(),
        )  # fmt: skip
        events = (await here.ask("GET", EVENTS)).stream
        await anext(events)
        here.store.find(1).ended(None, "")
        places = {"event": await anext(events)}
        await events.aclose()
        for path in (LIST, f"{LIST}/548fb5c700000001", f"{LIST}?format=har", f"{LIST}/548fb5c700000001?format=har"):
            _, value = await here.json("GET", path)
            places[path] = json.dumps(value).encode()
            messages = [each["request"] for each in value.get("requests", [])] + [
                each["response"] for each in value.get("requests", [])
            ]
            places[f"{path} raw"] = b"".join(base64.b64decode(each["raw"]) for each in messages)
    assert b"***" in places[f"{LIST} raw"]
    assert canaries.leaks(places) == []


def told(batch: bytes) -> list[tuple[str, Any]]:
    """Names and values of the events in a batch."""
    found = []
    for block in batch.decode().strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((lines["event"], json.loads(lines["data"])))
    return found


async def test_readers_are_told_what_begins_what_is_over_and_what_is_gone(monkeypatch):
    monkeypatch.setattr(events_module, "BATCH_SECONDS", 0.0)
    async with inspected() as here:
        answer = await here.ask("GET", EVENTS)
        assert answer.content_type == "text/event-stream"
        assert await anext(answer.stream) == b": open\n\n"
        pending = here.store.begin("web", opened("GET /slow HTTP/1.1"))
        captured(here.store)
        batch = told(await anext(answer.stream))
        assert [(name, one["request"]["uri"], one["is_over"]) for name, one in batch] == [
            ("exchange", "/slow", False),
            ("exchange", "/", True),
        ]
        pending.answered(204, b"")
        pending.ended(None, "")
        ((name, one),) = told(await anext(answer.stream))
        assert (name, one["id"], one["is_over"]) == ("exchange", batch[0][1]["id"], True)
        here.store.clear()
        assert told(await anext(answer.stream)) == [("cleared", {})]
        await answer.stream.aclose()


async def test_a_slow_reader_is_told_how_much_it_missed(monkeypatch):
    monkeypatch.setattr(events_module, "MAX_UNTOLD", 3)
    async with inspected() as here:
        stream = (await here.ask("GET", EVENTS)).stream
        await anext(stream)
        for _ in range(10):
            captured(here.store)
        batch = told(await anext(stream))
        assert batch[0] == ("gap", {"missed": 7})
        assert [one["id"][-1] for _, one in batch[1:]] == ["8", "9", "a"]
        await stream.aclose()


@pytest.mark.parametrize("path", [LIST, f"{LIST}?format=summary", f"{LIST}?format=har", f"{EVENTS}?headers=true"])
async def test_row155_a_long_head_is_masked_beside_the_loop_which_visitors_wait_for(path, monkeypatch):
    """Visitors choose how long it is, and masking 32 KB takes as long as serving a hundred requests."""
    threads = set()
    masked = views.mask_address

    def mask(address: str) -> str:
        threads.add(threading.get_ident())
        return masked(address)

    monkeypatch.setattr(views, "mask_address", mask)
    async with inspected() as here:
        following = (await here.ask("GET", path)).stream if path.startswith(EVENTS) else None
        if following is not None:
            await anext(following)
        captured(here.store, f"GET /?{'a=b&' * 5000} HTTP/1.1")
        if following is None:
            await here.json("GET", path)
        else:
            await anext(following)
            await following.aclose()
    assert threads
    assert threads
    assert threading.get_ident() not in threads


async def test_row155_a_reader_rests_three_times_as_long_as_its_last_batch_took(monkeypatch):
    clock, slept, sleep = Clock(), [], asyncio.sleep

    async def rest(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    async def summarize(capture: Capture) -> dict[str, Any]:
        clock.time += 2.0
        return {"id": "x"}

    store = CaptureStore(clock=clock)
    reader = events_module.EventFeed(store).open(summarize)
    monkeypatch.setattr(events_module.asyncio, "sleep", rest)
    await anext(reader)
    for _ in range(2):
        captured(store)
        await anext(reader)
    await reader.aclose()
    assert [seconds for seconds in slept if seconds] == [events_module.BATCH_SECONDS, 6.0]


async def test_only_so_many_can_follow_and_one_that_leaves_makes_room(monkeypatch):
    monkeypatch.setattr(events_module, "MAX_READERS", 2)
    async with inspected() as here:
        streams = [(await here.ask("GET", EVENTS)).stream for _ in range(2)]
        assert (await here.ask("GET", EVENTS)).status == 503
        await streams[0].aclose()
        last = await here.ask("GET", EVENTS)
        assert last.status == 200
        for stream in (streams[1], last.stream):
            await stream.aclose()


async def test_a_silent_stream_shows_that_it_is_alive(monkeypatch):
    monkeypatch.setattr(events_module, "BEAT_SECONDS", 0.0)
    async with inspected() as here:
        stream = (await here.ask("GET", EVENTS)).stream
        assert [await anext(stream), await anext(stream)] == [b": open\n\n", b": still here\n\n"]
        await stream.aclose()


async def test_the_root_names_the_paths():
    async with inspected() as here:
        _, root = await here.json("GET", "/api")
        assert root["http_requests_uri"] == LIST


async def test_summaries_have_headers_only_for_a_reader_who_asks():
    async with inspected() as here:
        captured(here.store, "GET /a HTTP/1.1", "Authorization: Bearer canary", response=("X-Own: 1",))
        _, plain = await here.json("GET", f"{LIST}?format=summary")
        assert "raw" not in plain["requests"][0]["request"]
        assert "headers" not in plain["requests"][0]["request"]
        _, whole = await here.json("GET", f"{LIST}?format=summary&headers=true")
        (one,) = whole["requests"]
        assert one["request"]["headers"]["Authorization"] == ["Bearer ***"]
        assert one["response"]["headers"] == {"X-Own": ["1"]}
        following = await here.ask("GET", f"{EVENTS}?headers=true")
        assert following.stream is not None
        await anext(following.stream)
        captured(here.store, "GET /b HTTP/1.1", "X-Asked: 2")
        assert b'"X-Asked":["2"]' in await anext(following.stream)
        await following.stream.aclose()
