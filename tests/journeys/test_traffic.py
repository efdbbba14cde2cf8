"""What HTTP/1.1 and WebSocket can do, through a real relay and a real agent."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from websockets.asyncio.client import connect as websocket

from tests.support.app_routes import blocks_of, digest_of, sample_app
from tests.support.apps import App
from tests.support.ports import free_port
from tests.support.raw_http import RawConnection, Response, connect, fetch, request_bytes
from tests.support.stack import Stack, Tunnel, stacked, until
from tests.support.waiting import PATIENCE

MIB = 1024 * 1024
MANY = 1000
"""Concurrent exchanges on one link; the protocol's limit is 1,024."""

GIB = 1024 * MIB

MAX_GROWTH_BYTES = 10 * MIB
"""What a transfer of any size may add to a process: a stream's window (at most 4 MiB), buffers, the allocator's slack.
Measured: 1 to 6 MiB."""

SIZES = [32 * MIB, pytest.param(GIB, marks=pytest.mark.long), pytest.param(10 * GIB, marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One relay for all tests here."""
    with stacked(tmp_path_factory.mktemp("relay")) as stack:
        yield stack


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with sample_app() as app:
        yield app


@pytest.fixture(scope="module")
def tunnel(stack: Stack, app: App) -> Tunnel:
    """An open tunnel to the sample app."""
    return stack.tunnel(app.port, "--subdomain=demo")


async def test_a_request_comes_through_with_its_body_and_trailers(stack, tunnel):
    response = await fetch(
        stack.port,
        "POST",
        "/echo?q=1",
        host=tunnel.host_and_port,
        fields=[("Transfer-Encoding", "chunked"), ("X-Mine", "kept")],
        body=b"5\r\nhello\r\n0\r\nSum: 7\r\n\r\n",
    )

    seen = response_json(response)
    assert (seen["method"], seen["target"], seen["body"]) == ("POST", "/echo?q=1", "aGVsbG8=")
    assert ["x-mine", "kept"] in seen["fields"]
    assert seen["trailers"] == [["sum", "7"]]


async def test_response_trailers_and_early_hints_come_through(stack, tunnel):
    trailing = await fetch(stack.port, "GET", "/trailers", host=tunnel.host_and_port, fields=[("TE", "trailers")])
    hinted = await fetch(stack.port, "GET", "/early-hints", host=tunnel.host_and_port)

    assert (trailing.body, trailing.trailers) == (b"body", [("checksum", "abc"), ("took", "1ms")])
    assert [head.status for head in hinted.informational] == [103]
    assert hinted.status == 200


async def test_pipelined_requests_are_answered_in_order(stack, tunnel):
    targets = ["/status/201", "/bytes/70000", "/status/404", "/chunked/10"]
    async with connect(stack.port) as visitor:
        await visitor.send(b"".join(request_bytes("GET", target, host=tunnel.host_and_port) for target in targets))
        answers = [await visitor.response() for _ in targets]

    assert [answer.status for answer in answers] == [201, 200, 404, 200]
    assert [len(answer.body) for answer in answers[1::2]] == [70000, 10]


async def test_the_body_is_asked_for_before_it_is_sent(stack, tunnel):
    async with connect(stack.port) as visitor:
        fields = [("Expect", "100-continue"), ("Content-Length", "3")]
        await visitor.send(request_bytes("POST", "/upload", host=tunnel.host_and_port, fields=fields))
        go_on = await visitor.head()
        await visitor.send(b"abc")
        answer = await visitor.response("POST")

    assert go_on.status == 100
    assert response_json(answer)["bytes"] == 3


async def test_head_204_and_304_have_no_body_and_keep_the_connection(stack, tunnel):
    async with connect(stack.port) as visitor:
        head = await visitor.request("HEAD", "/bytes/1000", host=tunnel.host_and_port)
        empty = await visitor.request("GET", "/status/204", host=tunnel.host_and_port)
        same = await visitor.request("GET", "/status/304", host=tunnel.host_and_port)
        last = await visitor.request("GET", "/bytes/3", host=tunnel.host_and_port)

    assert (head.status, head.get("content-length")) == (200, "1000")
    assert [empty.status, same.status, last.status] == [204, 304, 200]


async def test_the_first_event_arrives_before_the_stream_ends(stack, tunnel, app):
    async with connect(stack.port) as visitor:
        await visitor.send(request_bytes("GET", "/events", host=tunnel.host_and_port))
        events = visitor.chunks(await visitor.head())
        first = await anext(events)
        app.open_gate("events")
        rest = [event async for event in events]

    assert first == b"data: first\n\n"
    assert b"".join(rest) == b"data: second\n\n"


async def test_a_websocket_echoes_text_bytes_and_a_megabyte(stack, tunnel):
    url = tunnel.url.replace("http", "ws", 1) + "/ws"
    async with websocket(url, host="127.0.0.1", port=stack.port, max_size=None, proxy=None) as socket:
        for message in ("hello", b"\x00\xff", b"x" * MIB):
            await socket.send(message)
            assert await socket.recv() == message
        await socket.close(1000, "done")

    assert (socket.close_code, socket.close_reason) == (1000, "done")


async def test_any_other_upgrade_is_carried_with_its_half_close(stack, tunnel):
    async with connect(stack.port) as visitor:
        fields = [("Connection", "Upgrade"), ("Upgrade", "echo")]
        upgraded = await visitor.request("GET", "/upgrade", host=tunnel.host_and_port, fields=fields)
        await visitor.send(b"ping")
        visitor.send_eof()

        assert upgraded.status == 101
        assert await visitor.rest() == b"pinggoodbye"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("route", ["bytes", "chunked"])
async def test_a_download_arrives_whole_in_bounded_memory(stack, tunnel, route, size):
    await download(stack, tunnel, f"/{route}/{8 * MIB}")
    before = resident(stack, tunnel)

    digest = await download(stack, tunnel, f"/{route}/{size}")

    assert digest == digest_of(size)
    assert_grew_little(before, stack, tunnel)


@pytest.mark.parametrize("size", SIZES)
async def test_an_upload_arrives_whole_in_bounded_memory(stack, tunnel, size):
    await upload(stack, tunnel, 8 * MIB)
    before = resident(stack, tunnel)

    answer = await upload(stack, tunnel, size)

    assert response_json(answer) == {"bytes": size, "sha256": digest_of(size), "trailers": []}
    assert_grew_little(before, stack, tunnel)


async def test_a_stopped_reader_costs_its_own_window_and_nobody_elses_time(stack, tunnel):
    size = 32 * MIB
    await download(stack, tunnel, f"/bytes/{8 * MIB}")
    before = resident(stack, tunnel)
    async with connect(stack.port) as stopped:
        stopped.writer.transport.pause_reading()
        await stopped.send(request_bytes("GET", f"/bytes/{size}", host=tunnel.host_and_port))

        beside = await download(stack, tunnel, f"/bytes/{16 * MIB}")
        small = [await fetch(stack.port, "GET", "/status/200", host=tunnel.host_and_port) for _ in range(20)]
        assert_grew_little(before, stack, tunnel)

        stopped.writer.transport.resume_reading()
        late = await body_digest(stopped)

    assert beside == digest_of(16 * MIB)
    assert {answer.status for answer in small} == {200}
    assert late == digest_of(size)


async def test_a_thousand_exchanges_are_under_way_on_one_link(stack, tunnel, app):
    async def visit() -> int:
        async with asyncio.timeout(PATIENCE), connect(stack.port) as visitor:
            await visitor.send(request_bytes("GET", "/held", host=tunnel.host_and_port))
            return (await visitor.response()).status

    async with asyncio.TaskGroup() as group:
        visits = [group.create_task(visit()) for _ in range(MANY)]
        await asyncio.to_thread(until, lambda: len(app.seen("/held")) == MANY, f"{MANY} requests at the app")
        app.open_gate("held")

    assert [task.result() for task in visits] == [200] * MANY


async def test_an_upstream_that_is_down_is_a_502_that_says_so_and_no_exit(stack):
    tunnel = stack.tunnel(free_port(), "--subdomain=down")
    answer = await fetch(stack.port, "GET", "/", host=tunnel.host_and_port)

    assert answer.status == 502
    assert answer.get("tunnel-error") == "upstream_unreachable"
    assert response_json(answer)["error"]["source"] in {"agent", "upstream"}
    assert tunnel.child.returncode is None


async def test_an_unknown_name_is_a_404_that_names_it(stack):
    answer = await fetch(stack.port, "GET", "/", host=f"nobody.localhost:{stack.port}")

    assert answer.status == 404
    assert "Tunnel nobody.localhost" in answer.text


async def download(stack: Stack, tunnel: Tunnel, target: str) -> str:
    """Fetches `target`; the digest of what came."""
    async with connect(stack.port) as visitor:
        await visitor.send(request_bytes("GET", target, host=tunnel.host_and_port))
        return await body_digest(visitor)


async def body_digest(visitor: RawConnection) -> str:
    """Reads one answer without keeping its body."""
    digest = hashlib.sha256()
    async for block in body_of(visitor, await visitor.head()):
        digest.update(block)
    return digest.hexdigest()


async def body_of(visitor: RawConnection, head: Response) -> AsyncIterator[bytes]:
    """Blocks of an answer's body, in whichever framing."""
    assert head.status == 200
    if head.get("transfer-encoding"):
        async for chunk in visitor.chunks(head):
            yield chunk
        return
    left = int(head.get("content-length") or 0)
    while left:
        block = await asyncio.wait_for(visitor.reader.read(min(left, MIB)), PATIENCE)
        assert block, f"the body ended {left} bytes early"
        left -= len(block)
        yield block


async def upload(stack: Stack, tunnel: Tunnel, size: int) -> Response:
    """Sends `size` bytes to the digest page."""
    async with connect(stack.port) as visitor:
        fields = [("Content-Length", str(size))]
        await visitor.send(request_bytes("POST", "/upload", host=tunnel.host_and_port, fields=fields))
        for block in blocks_of(size):
            await visitor.send(block)
        return await visitor.response("POST")


def resident(stack: Stack, tunnel: Tunnel) -> dict[str, int]:
    """Memory of both processes, in bytes; their peaks count from now."""
    for child in (stack.relay, tunnel.child):
        child.forget_peak()
    return {child.name: child.rss() for child in (stack.relay, tunnel.child)}


def assert_grew_little(before: dict[str, int], stack: Stack, tunnel: Tunnel) -> None:
    """No process has ever held much more than it did."""
    grown = {child.name: child.peak_rss() - before[child.name] for child in (stack.relay, tunnel.child)}
    assert max(grown.values()) < MAX_GROWTH_BYTES, {name: f"{size / MIB:.1f} MiB" for name, size in grown.items()}


def response_json(response: Response) -> dict[str, object]:
    """A JSON body."""
    assert response.status < 600, response.body
    document: dict[str, object] = json.loads(response.body)
    return document
