"""The HTTP server of the local API over real sockets: limits, hostile clients, and what is told about requests."""

import asyncio
import contextlib

import pytest

from tests.support.raw_http import RawConnection
from tests.support.waiting import turns
from tunnelctl.localapi import server as server_module
from tunnelctl.localapi.address import WebAddress, listen
from tunnelctl.localapi.message import ApiAnswer, ApiError, text_answer
from tunnelctl.localapi.server import MAX_BODY, ApiWatcher, LocalServer

ANY_PORT = WebAddress(port=0, is_explicit=True)
HEAD = b"POST /x?secret HTTP/1.1\r\nHost: localhost\r\n"


class Told(ApiWatcher):
    def __init__(self):
        self.addresses = []
        self.requests = []

    def serving(self, address):
        self.addresses.append(address)

    def began(self, id_, path):
        self.requests.append(("began", path))

    def ended(self, id_, path, status, seconds):
        self.requests.append((status, path))


async def echo(request):
    return text_answer(f"{request.method} {request.path} {len(request.body)}")


@contextlib.asynccontextmanager
async def serving(answer=echo):
    told = Told()
    async with LocalServer(listen(ANY_PORT, pytest.fail), answer, told) as server:
        yield server, told


@contextlib.asynccontextmanager
async def client(server):
    host, _, port = server.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()


async def ask(server, data):
    async with client(server) as visitor:
        visitor.writer.write(data)
        return await visitor.reader.read()


async def test_a_connection_carries_several_requests_pipelined_or_not():
    async with serving() as (server, told), client(server) as visitor:
        visitor.writer.write(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n")
        answers = [await visitor.response("GET"), await visitor.response("GET")]
        visitor.writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 2000 + b"0\r\n\r\n")
        answers.append(await visitor.response("POST"))
        visitor.writer.write(b"HEAD /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answers.append(await visitor.response("HEAD"))
        assert await visitor.reader.read() == b""
    assert [answer.text for answer in answers] == ["GET /a 0\n", "GET /b 0\n", "POST /x 2000\n", ""]
    assert answers[3].get("content-length") == "10"
    assert told.addresses == [server.address]
    assert told.requests[4:6] == [("began", "/x"), (200, "/x")]  # the query may hold secrets


async def test_a_body_that_waits_to_be_asked_for_is_asked_for():
    async with serving() as (server, _), client(server) as visitor:
        visitor.writer.write(HEAD + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert await visitor.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        visitor.writer.write(b"abc")
        assert (await visitor.response("POST")).text == "POST /x 3\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400), (b"\x16\x03\x01 ", 400), (b"GET /\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"CONNECT evil:1 HTTP/1.1\r\nHost: evil:1\r\n\r\n", 405),
        (HEAD + b"Content-Length: 1000000000\r\n\r\n" + b"x" * 100_000, 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n%b\r\n" % (b"x" * 65536) * 5, 413),
        (b"GET /" + b"a" * 40_000, 414), (b"GET / HTTP/1.1\r\nA: " + b"a" * 40_000, 431),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    ],
)  # fmt: skip
async def test_what_is_no_request_is_refused_and_the_connection_closed(data, status, monkeypatch):
    monkeypatch.setattr(server_module, "LINGER_SECONDS", 0.0)
    async with serving() as (server, told):
        got = await ask(server, data)
        assert got.startswith(b"HTTP/1.1 %d " % status)
        assert b'"msg":"request not understood"' in got
        assert told.requests == []
        assert b"GET /a 0" in await ask(server, b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")


async def test_the_largest_body_is_read():
    async with serving() as (server, _):
        got = await ask(server, HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % MAX_BODY + b"x" * MAX_BODY)
        assert b"POST /x %d\n" % MAX_BODY in got


async def test_no_more_connections_are_kept_than_are_allowed(monkeypatch):
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 2)
    async with serving() as (server, _), client(server) as one, client(server):
        await turns(lambda: server.open_connections == 2)
        async with client(server) as third:
            with contextlib.suppress(ConnectionError):
                assert await third.reader.read() == b""
        one.writer.close()
        await turns(lambda: server.open_connections == 1)
        assert await ask(server, b"GET /a HTTP/1.0\r\nHost: h\r\n\r\n")


@pytest.mark.parametrize(
    ("limit", "data"),
    [
        ("IDLE_SECONDS", b""),
        ("REQUEST_SECONDS", b"GET / HT"),
        ("REQUEST_SECONDS", HEAD + b"Content-Length: 9\r\n\r\nabc"),
    ],
)
async def test_a_client_that_sends_nothing_more_is_let_go(monkeypatch, limit, data):
    monkeypatch.setattr(server_module, limit, 0.0)
    async with serving() as (server, _):
        with contextlib.suppress(ConnectionError):
            assert await ask(server, data) == b""


async def test_a_client_that_reads_nothing_is_let_go(monkeypatch):
    async def much(request):
        return text_answer("x" * 20_000_000)

    monkeypatch.setattr(server_module, "ANSWER_SECONDS", 0.2)
    async with serving(much) as (server, _), client(server) as visitor:
        visitor.writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await turns(lambda: server.open_connections)
        await turns(lambda: not server.open_connections)


async def test_what_a_client_asked_for_is_cancelled_when_it_leaves():
    ended = asyncio.Event()

    async def wait(request):
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    async with serving(wait) as (server, told):
        async with client(server) as visitor:
            visitor.writer.write(HEAD + b"\r\n")
            await turns(lambda: told.requests)
        await ended.wait()
        await turns(lambda: not server.open_connections)
    assert told.requests == [("began", "/x"), (0, "/x")]


async def test_it_ends_with_requests_in_flight():
    async def wait(request):
        await asyncio.get_running_loop().create_future()

    async with serving(wait) as (server, told), client(server) as visitor:
        visitor.writer.write(HEAD + b"\r\n")
        await turns(lambda: told.requests)
    assert not server.open_connections


async def test_a_fault_of_ours_is_an_answer_and_is_logged(caplog):
    async def fail(request):
        raise KeyError("secret")

    async with serving(fail) as (server, _):
        got = await ask(server, b"GET /x HTTP/1.0\r\nHost: h\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 500 ")
    assert b'{"error_code":107,"status_code":500,"msg":"internal error","details":{"err":"KeyError"}}\n' in got
    assert "local API request failed" in caplog.text


async def test_a_refusal_is_answered_in_its_envelope():
    async def refuse(request):
        raise ApiError(404, "Not Found", {"path": "/x"})

    async with serving(refuse) as (server, told):
        got = await ask(server, b"GET /x HTTP/1.0\r\nHost: h\r\n\r\n")
    assert got.endswith(b'\r\n\r\n{"status_code":404,"msg":"Not Found","details":{"path":"/x"}}\n')
    assert told.requests == [("began", "/x"), (404, "/x")]


class Stream:
    """Pieces, then what the test makes of it; notes when it is closed."""

    def __init__(self, *pieces, ends=True, fails=False):
        self.pieces = list(pieces)
        self.ends = ends
        self.fails = fails
        self.closed = 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.pieces:
            return self.pieces.pop(0)
        if self.fails:
            raise KeyError("secret")
        if self.ends:
            raise StopAsyncIteration
        return await asyncio.get_running_loop().create_future()

    async def aclose(self):
        self.closed += 1


def streaming(*streams):
    waiting = list(streams)

    async def answer(request):
        return ApiAnswer(status=200, stream=waiting.pop(0), content_type="text/plain")

    return answer


async def test_a_stream_is_sent_in_chunks_and_the_connection_carries_another_request():
    streams = [Stream(b"one ", b"", b"two"), Stream(b"three")]
    async with serving(streaming(*streams)) as (server, _), client(server) as visitor:
        for expected in ("one two", "three"):
            visitor.writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = await visitor.response("GET")
            assert (answer.text, answer.get("transfer-encoding"), answer.get("content-length")) == (
                expected,
                "chunked",
                None,
            )
    assert [stream.closed for stream in streams] == [1, 1]


async def test_a_stream_to_an_old_client_ends_with_the_connection():
    stream = Stream(b"one ", b"two")
    async with serving(streaming(stream)) as (server, _):
        got = await ask(server, b"GET / HTTP/1.0\r\nHost: h\r\n\r\n")
    assert got.endswith(b"\r\n\r\none two")
    assert b"chunked" not in got
    assert stream.closed == 1


async def test_head_takes_nothing_of_a_stream_and_closes_it():
    stream = Stream(b"one")
    async with serving(streaming(stream)) as (server, _):
        got = await ask(server, b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert got.endswith(b"\r\n\r\n")
    assert (stream.pieces, stream.closed) == ([b"one"], 1)


async def test_a_stream_is_closed_when_its_client_leaves():
    stream = Stream(b"one", ends=False)
    async with serving(streaming(stream)) as (server, _):
        async with client(server) as visitor:
            visitor.writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await visitor.reader.readuntil(b"one\r\n")
        await turns(lambda: stream.closed)
        await turns(lambda: not server.open_connections)


async def test_a_stream_is_closed_when_its_client_reads_nothing(monkeypatch):
    monkeypatch.setattr(server_module, "ANSWER_SECONDS", 0.2)
    stream = Stream(*[b"x" * 1_000_000] * 50)
    async with serving(streaming(stream)) as (server, _), client(server) as visitor:
        visitor.writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await turns(lambda: stream.closed)
        assert stream.pieces


async def test_a_stream_that_fails_lacks_its_end_and_is_logged(caplog):
    stream = Stream(b"one", fails=True)
    async with serving(streaming(stream)) as (server, _):
        got = await ask(server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert got.endswith(b"3\r\none\r\n")
    assert "local API stream failed" in caplog.text
    assert stream.closed == 1


async def test_streams_end_with_the_server():
    stream = Stream(b"one", ends=False)
    async with serving(streaming(stream)) as (server, _), client(server) as visitor:
        visitor.writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await visitor.reader.readuntil(b"one\r\n")
    assert stream.closed == 1
