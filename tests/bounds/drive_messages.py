"""Drivers for the limits of one message: what has as many bytes as it may passes, and one byte more does not."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable

import httpcore
import httpx
import pytest

from tests.bounds.drive_ingress import scene
from tests.bounds.drive_link import linked, sent
from tests.bounds.driving import drives
from tests.http1.test_response_reader import read
from tests.ingress.scene import HOST
from tests.oidc.providers.test_fetch import JSON, Answers
from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.body import ChunkedDecoder
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import parse_request
from tunnelctl.link.proxy import ProxyConnect, ProxyFailed, parse_proxy
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.wire.errors import WireError
from tunnelctl.wire.frames import CONTROL, GOAWAY, HEAD, frame, pack_head
from tunnelctl.wire.session import Session
from tunnelrelay.oidc.providers.fetch import Fetcher
from tunnelrelay.oidc.providers.response_limits import HEAD_READ, Metered
from tunnelrelay.oidc.tokens.access_token import claimed_issuer
from tunnelrelay.policy.cookies import admit_set_cookie


def refusal(read_it: Callable[[], object]) -> str:
    """The code of the error that comes of it; "" for none."""
    try:
        read_it()
    except HttpError as error:
        return error.code
    return ""


def of_a_head(*, method: bytes = b"GET", target: bytes = b"/", fields: int = 1) -> str:
    more = b"".join(b"F%d: v\r\n" % number for number in range(fields - 1))
    return refusal(lambda: parse_request(b"%b %b HTTP/1.1\r\nHost: demo\r\n%b\r\n" % (method, target, more)))


@drives("options of Connection")
def drive_options(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_options(count: int) -> str:
        block = b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: %b\r\n\r\n" % b",".join([b"a"] * count)
        return refusal(lambda: parse_request(block))

    assert of_options(bound.limit) == ""
    assert of_options(bound.limit + 1) == "head_too_large"


@drives("method")
def drive_method(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_a_head(method=b"M" * bound.limit) == ""
    assert of_a_head(method=b"M" * (bound.limit + 1)) == "not_implemented"


@drives("target (path and query)")
def drive_target(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_a_head(target=b"/".ljust(bound.limit, b"p")) == ""
    assert of_a_head(target=b"/".ljust(bound.limit + 1, b"p")) == "target_too_long"


@drives("fields of the head")
def drive_fields(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_a_head(fields=bound.limit) == ""
    assert of_a_head(fields=bound.limit + 1) == "head_too_large"


@drives("head")
async def drive_head(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as s:
        s.agent.answers = lambda asked: asked.answer()
        begin = b"GET / HTTP/1.1\r\nHost: %b\r\nF: " % HOST.encode()
        heads = [begin.ljust(size - 4, b"v") + b"\r\n\r\n" for size in (bound.limit, bound.limit + 1)]
        assert [(await s.fetch(head)).status for head in heads] == [200, 431]


# Bodies


def of_a_body(data: bytes) -> str:
    return refusal(lambda: ChunkedDecoder().feed(data))


@drives("size line of a chunk")
def drive_chunk_line(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_a_body(b"1;".ljust(bound.limit, b"e") + b"\r\nx\r\n") == ""
    assert of_a_body(b"1;".ljust(bound.limit + 1, b"e") + b"\r\nx\r\n") == "bad_request"


@drives("chunk extensions")
def drive_extensions(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, size = ChunkedDecoder(), 0
    while refusal(lambda: decoder.feed(b"20;" + b"e" * 125 + b"\r\n" + b"x" * 32 + b"\r\n")) == "":
        size += 126
    assert bound.limit - 300 <= size <= bound.limit


@drives("trailers")
def drive_trailers(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    def trailers(size: int) -> bytes:
        return b"0\r\n" + b"T: ".ljust(size, b"v") + b"\r\n\r\n"

    assert of_a_body(trailers(bound.limit - 1)) == ""
    assert of_a_body(trailers(bound.limit)) == "bad_request"


@drives("fields among the trailers")
def drive_trailer_fields(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_a_body(b"0\r\n" + b"T: v\r\n" * bound.limit + b"\r\n") == ""
    assert of_a_body(b"0\r\n" + b"T: v\r\n" * (bound.limit + 1) + b"\r\n") == "bad_request"


async def stays_open(size: int, *, is_chunked: bool) -> bool:
    """Whether the connection goes on after a body of this size that nothing wanted."""
    head = b"POST / HTTP/1.1\r\nHost: none.localhost\r\n"
    if is_chunked:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"
    else:
        head += b"Content-Length: %d\r\n\r\n" % size
        body = b"x" * size
    async with scene() as s, s.visitor() as visitor:
        visitor.writer.write(head)
        assert (await visitor.response()).status == 404
        visitor.writer.write(body)
        visitor.writer.write(b"GET / HTTP/1.1\r\nHost: none.localhost\r\n\r\n")
        try:
            return (await visitor.response()).status == 404
        except (OSError, EOFError, AssertionError):
            return False


@drives("unwanted body that is read to keep the connection")
async def drive_drain(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await stays_open(bound.limit - 1, is_chunked=False)
    assert not await stays_open(bound.limit + 1, is_chunked=False)


@drives("unwanted body in chunks that is read to keep the connection")
async def drive_chunked_drain(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await stays_open(bound.limit - 100, is_chunked=True)
    assert not await stays_open(bound.limit, is_chunked=True)


@drives("body for the relay's own pages and API")
async def drive_own_body(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as s:
        codes = []
        for size in (bound.limit, bound.limit + 1):
            head = b"POST /sign-in HTTP/1.1\r\nHost: dashboard.localhost\r\nContent-Length: %d\r\n\r\n" % size
            codes.append((await s.fetch(head + b"x" * size)).status)
        assert (codes[0] == 413, codes[1] == 413) == (False, True)


@drives("bearer token")
def drive_bearer(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    def token(size: int) -> str:
        head = urlsafe_b64encode(b"{}").decode().rstrip("=")
        claims = urlsafe_b64encode(json.dumps({"iss": "https://issuer"}).encode()).decode().rstrip("=")
        return f"{head}.{claims}.".ljust(size, "s")

    assert claimed_issuer(token(bound.limit)) == "https://issuer"
    assert claimed_issuer(token(bound.limit + 1)) == ""


# Responses of apps


def of_a_response(data: bytes) -> str:
    return refusal(lambda: read(data))


def head_of(size: int, status: bytes = b"200 OK") -> bytes:
    return (b"HTTP/1.1 %b\r\nContent-Length: 0\r\nF: " % status).ljust(size - 4, b"v") + b"\r\n\r\n"


@drives("head of a response")
def drive_response_head(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_a_response(head_of(bound.limit)) == ""
    assert of_a_response(head_of(bound.limit + 1)) == "bad_request"


@drives("interim responses (1xx) before it")
def drive_interim(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_a_response(b"HTTP/1.1 102 P\r\n\r\n" * bound.limit + head_of(100)) == ""
    assert of_a_response(b"HTTP/1.1 102 P\r\n\r\n" * (bound.limit + 1)) == "bad_request"


@drives("interim responses before it, all together")
def drive_interim_bytes(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    hint = b"HTTP/1.1 103 E\r\nL: ".ljust(4_000, b"v") + b"\r\n\r\n"
    count = bound.limit // 4_000
    assert of_a_response(hint * count + head_of(100)) == ""
    assert of_a_response(hint * (count + 1)) == "bad_request"


@drives("empty lines before it")
def drive_blanks(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_a_response(b"\r\n" * (bound.limit // 2) + head_of(100)) == ""
    assert of_a_response(b"\r\n" * (bound.limit // 2 + 1) + head_of(100)) == "bad_request"


@drives("one cookie that it sets")
def drive_cookie(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert admit_set_cookie(b"a=".ljust(bound.limit, b"v"), b"demo.localhost") is not None
    assert admit_set_cookie(b"a=".ljust(bound.limit + 1, b"v"), b"demo.localhost") is None


@drives("cookies that it sets")
async def drive_cookies(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as s:
        s.agent.answers = lambda asked: asked.answer(
            fields=b"".join(b"Set-Cookie: c%d=v\r\n" % number for number in range(bound.limit + 5))
        )
        assert len((await s.fetch()).get_all("set-cookie")) == bound.limit


# Links


@drives("websocket message")
async def drive_message(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    for size, ends in ((bound.limit, False), (bound.limit + 1, True)):
        async with linked() as (link, _, user):
            link.data_received(sent(b"x" * size)[:1_000])
            assert bool(user.closed) is ends


def ends(data: bytes) -> bool:
    """Whether a link ends when its agent sends this."""
    session = Session(opens=True)
    session.open(b"\0\0", fin=True)
    try:
        session.receive_data(data, 0.0)
    except WireError:
        return True
    return False


@drives("control message, or head of a request or response")
def drive_frame(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    unbind = b'{"type":"unbind","tunnel":1}'
    assert not ends(frame(CONTROL, 0, unbind.ljust(bound.limit)))
    assert ends(frame(CONTROL, 0, unbind.ljust(bound.limit + 1)))
    head = pack_head(200, b"")
    assert not ends(frame(HEAD, 1, head.ljust(bound.limit, b"v")))
    assert ends(frame(HEAD, 1, head.ljust(bound.limit + 1, b"v")))


@drives("reason of an end")
def drive_reason(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not ends(frame(GOAWAY, 0, bytes(8) + b"r" * bound.limit))
    assert ends(frame(GOAWAY, 0, bytes(8) + b"r" * (bound.limit + 1)))


@drives("a proxy's answer to an agent's CONNECT")
async def drive_proxy(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ProxyConnect(parse_proxy("http://proxy.example:3128"), "relay.example:443")
    request.data_received(b"HTTP/1.1 200 OK\r\nF: ".ljust(bound.limit, b"v"))
    assert not request.done.done()
    request.data_received(b"v")
    assert isinstance(request.done.exception(), ProxyFailed)


# Providers


class Source(httpcore.AsyncNetworkStream):
    """A far end that sends the same bytes over and over."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.data[:max_bytes]


async def taken(data: bytes, *, is_body: bool = False) -> int:
    """How many bytes of a far end's are read before it is refused."""
    metered, count = Metered(Source(data)), 0
    if is_body:
        metered.head_is_complete()
    while True:
        try:
            count += len(await metered.read(65_536))
        except httpcore.RemoteProtocolError:
            return count


@drives("body")
async def drive_answer_body(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetcher(size: int) -> Fetcher:
        body = json.dumps({"more": "x" * (size - len('{"more": ""}'))}).encode()
        return Fetcher(Answers(httpx.Response(200, headers=JSON, content=body)), total_seconds=5.0)

    assert (await fetcher(bound.limit).get("https://op.example/")).status == 200
    with pytest.raises(ProviderError):
        await fetcher(bound.limit + 1).get("https://op.example/")


@drives("head of an answer")
async def drive_answer_head(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bound.limit <= await taken(b"h" * 4_096) < bound.limit + HEAD_READ


@drives("heads, interim ones among them")
async def drive_heads(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"HTTP/1.1 102 P\r\n\r\n"
    assert await taken(head) == bound.limit * len(head)


@drives("head, body and framing together")
async def drive_answer(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bound.limit <= await taken(b"b" * 4_096, is_body=True) < bound.limit + 65_536


@drives("pieces in which it comes")
async def drive_reads(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await taken(b"b", is_body=True) == bound.limit
