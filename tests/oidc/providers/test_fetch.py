"""What a provider can do to the relay in one call is bounded (rows 15, 59)."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpcore
import httpx
import pytest

from tests.oidc.world import as_json
from tunnelctl.oidc.errors import ProviderError
from tunnelrelay.oidc.providers.fetch import MAX_BODY, MAX_PARTS, PARTS_AT_A_TIME, Fetcher
from tunnelrelay.oidc.providers.response_limits import (
    HEAD_READ,
    MAX_ANSWER,
    MAX_HEAD,
    MAX_HEADS,
    MAX_READS,
    READS_AT_A_TIME,
)
from tunnelrelay.oidc.providers.ssrf_guard import LOOPBACK, GuardedTransport, GuardRules


class Answers(httpx.AsyncBaseTransport):
    """Gives one answer to everything."""

    def __init__(self, answer: httpx.Response | Exception) -> None:
        self.answer = answer
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Endless(httpx.AsyncByteStream):
    """A body that goes on, and counts what was taken of it."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.taken = 0
        self.is_closed = False
        self.hangs = hangs

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            if self.hangs:
                await asyncio.Event().wait()
            self.taken += 65_536
            yield b"x" * 65_536

    async def aclose(self) -> None:
        self.is_closed = True


JSON = {"content-type": "application/json"}


async def fault(answer: httpx.Response | Exception, *, seconds: float = 5.0) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await Fetcher(Answers(answer), total_seconds=seconds).get("https://op.example/path?secret=1")
    assert "secret" not in caught.value.detail
    return caught.value


async def test_a_json_object_is_returned_with_its_status() -> None:
    answer = await Fetcher(Answers(as_json({"error": "x"}, 400))).get("https://op.example/")
    assert (answer.status, answer.content) == (400, {"error": "x"})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """Rows 15, 59, 133."""
    answer = httpx.Response(status, headers={"location": "http://169.254.169.254/", **JSON}, content=b"{}")
    assert (await fault(answer)).kind == "invalid"


@pytest.mark.parametrize("content_type", ["text/html", "application/jwt", "", "application/jsonx", "text/json"])
async def test_only_json_is_read(content_type: str) -> None:
    """Rows 15, 59."""
    await fault(httpx.Response(200, headers={"content-type": content_type}, content=b"{}"))


async def test_a_huge_answer_is_dropped_at_the_limit() -> None:
    """Row 59."""
    body = Endless()
    await fault(httpx.Response(200, headers=JSON, stream=body))
    assert body.is_closed
    assert body.taken <= MAX_BODY + 65_536


async def test_an_answer_that_never_ends_is_given_up() -> None:
    """Row 59."""
    body = Endless(hangs=True)
    assert (await fault(httpx.Response(200, headers=JSON, stream=body), seconds=0.01)).kind == "unreachable"
    assert body.is_closed


async def test_a_compressed_answer_is_refused() -> None:
    await fault(httpx.Response(200, headers={**JSON, "content-encoding": "br"}, stream=Endless()))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b'{"a":NaN}', b"[" * 100_000])
async def test_json_that_is_not_strict_is_refused(body: bytes) -> None:
    await fault(httpx.Response(200, headers=JSON, content=body))


async def test_errors_of_the_network_are_unreachable() -> None:
    assert (await fault(httpx.ConnectError("no route"))).kind == "unreachable"
    assert (await fault(httpx.ReadTimeout("slow"))).kind == "unreachable"


async def test_cookies_of_a_provider_are_not_kept() -> None:
    network = Answers(httpx.Response(200, headers={**JSON, "set-cookie": "a=b"}, content=b"{}"))
    fetcher = Fetcher(network)
    await fetcher.get("https://op.example/")
    await fetcher.get("https://op.example/")
    assert "cookie" not in network.requests[1].headers


async def test_a_cancelled_call_lets_go_of_the_answer() -> None:
    body = Endless(hangs=True)
    call = asyncio.ensure_future(
        Fetcher(Answers(httpx.Response(200, headers=JSON, stream=body))).get("https://op.example/")
    )
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert body.is_closed


class Wire(httpcore.AsyncNetworkStream):
    """A connection on which these bytes come in, one read for each, and that counts what was taken of them."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces: Iterator[bytes] = iter(pieces)
        self.rest = b""
        self.taken = self.reads = self.requests = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.rest = self.rest or next(self.pieces, b"")
        data, self.rest = self.rest[:max_bytes], self.rest[max_bytes:]
        self.taken += len(data)
        self.reads += 1
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.requests += buffer.startswith(b"GET ")

    async def aclose(self) -> None:
        pass

    def get_extra_info(self, info: str) -> Any:
        return None


class Wired(httpcore.AsyncNetworkBackend):
    """A network in which everybody is at the other end of one wire."""

    def __init__(self, *pieces: Iterable[bytes]) -> None:
        self.wire = Wire(itertools.chain(*pieces))

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        return self.wire

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def fetcher(self) -> Fetcher:
        rules = GuardRules(allow_http=True, ports=None, networks=LOOPBACK)
        return Fetcher(GuardedTransport(rules, connect=self))


async def wired_fault(*pieces: Iterable[bytes]) -> tuple[str, Wire]:
    network = Wired(*pieces)
    with pytest.raises(ProviderError) as caught:
        await network.fetcher().get("http://op.localhost/")
    return caught.value.detail, network.wire


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 102 Processing\r\n\r\n"


@pytest.mark.parametrize("size", [1, 3, 7, 28, 65_536])
async def test_interim_responses_without_end_are_given_up_however_they_are_cut(size: int) -> None:
    """Row 59."""
    flood = INTERIM * 2_400
    detail, wire = await wired_fault(flood[at : at + size] for at in range(0, len(flood), size))
    assert f"more than {MAX_HEADS} heads" in detail
    assert wire.taken <= max(HEAD_READ, (MAX_HEADS + 1) * len(INTERIM) + size)


async def test_a_head_without_end_is_given_up() -> None:
    """Row 59."""
    detail, wire = await wired_fault([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"a:\r\n" * 1_000))
    assert f"after {MAX_HEAD} bytes" in detail
    assert wire.taken <= MAX_HEAD + HEAD_READ


async def test_a_body_of_one_byte_chunks_is_given_up() -> None:
    """Row 59."""
    detail, wire = await wired_fault([CHUNKED], itertools.repeat(b"1\r\n \r\n" * 10_000))
    assert f"more than {MAX_PARTS} parts" in detail
    assert wire.taken <= 65_536


async def test_framing_counts_towards_what_an_answer_may_be() -> None:
    """Row 59."""
    detail, wire = await wired_fault([CHUNKED], itertools.repeat(b"1;" + b"x" * 4_000 + b"\r\n \r\n"))
    assert f"more than {MAX_ANSWER} bytes" in detail
    assert wire.taken <= MAX_ANSWER + 65_536


async def test_an_answer_that_drips_is_given_up() -> None:
    """Row 59."""
    detail, wire = await wired_fault([CHUNKED, b"1;"], itertools.repeat(b"x"))
    assert f"more than {MAX_READS} pieces" in detail
    assert wire.reads == MAX_READS


@pytest.mark.parametrize(
    ("pieces", "least"),
    [
        ([CHUNKED + b"1\r\n \r\n" * 3 * MAX_PARTS], MAX_PARTS // PARTS_AT_A_TIME),
        ([CHUNKED, b"1;", *[b"x"] * 2 * MAX_READS], MAX_READS // READS_AT_A_TIME),
    ],
    ids=["chunks", "reads"],
)
async def test_others_have_their_turns_while_crumbs_are_picked_up(pieces: list[bytes], least: int) -> None:
    """Row 59."""
    call = asyncio.ensure_future(wired_fault(pieces))
    turns = 0
    while not call.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= least


async def test_each_answer_on_a_connection_has_the_limits_to_itself() -> None:
    body = b'{"a":"' + b"x" * 200_000 + b'"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    network = Wired([INTERIM * 2, head + body] * 6)
    fetcher = network.fetcher()
    for _ in range(6):
        assert (await fetcher.get("http://op.localhost/")).status == 200
    assert network.wire.requests == 6
    assert network.wire.taken > 2 * MAX_ANSWER
