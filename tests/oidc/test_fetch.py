"""What a provider can do to the relay in one call is bounded (rows 15, 59)."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.oidc.world import as_json
from tunnelctl.oidc.errors import ProviderError
from tunnelrelay.oidc.fetch import MAX_BODY, Fetcher


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
