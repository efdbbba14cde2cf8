"""Opening a link: what the agent sends, and what each answer, or none, means to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.link.ends import User, linked
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE
from tunnelctl.link.accept import accept, is_accepted
from tunnelctl.link.dial import MAX_WAIT, DialFailed, dial
from tunnelctl.wire.errors import Code

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


class Listener:
    """Answers every connection with fixed bytes, then closes. Keeps what it was sent."""

    def __init__(self, answer: bytes, *, hangs: bool = False) -> None:
        self.answer = answer
        self.hangs = hangs
        self.head = b""
        self.port = 0
        self.is_asked = asyncio.Event()
        self.is_dropped = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(1)
        if first != b"G":  # the look whether this is a TLS port
            writer.close()
            return
        self.head = first + await reader.readuntil(b"\r\n\r\n")
        self.is_asked.set()
        writer.write(self.answer)
        if self.hangs:
            await reader.read()
        self.is_dropped.set()
        writer.close()


@asynccontextmanager
async def listening(answer: bytes, *, hangs: bool = False) -> AsyncIterator[Listener]:
    listener = Listener(answer, hangs=hangs)
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        await server.wait_closed()


async def failure(url: str, *, timeout: float = PATIENCE, token: str | None = None) -> DialFailed:
    with pytest.raises(DialFailed) as caught:
        await dial(url, user=User(), timeout=timeout, token=token)
    return caught.value


def refusal(status: int, body: bytes, kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 %d No\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        status, kind, len(body), body,
    )  # fmt: skip


ERROR = b'{"error": {"code": "token_refused", "message": "This token is not good.", "hint": "Make another."}}'


async def test_the_handshake_names_path_and_subprotocol_and_agrees_on_no_extension():
    async with listening(refusal(401, ERROR)) as listener:
        await failure(listener.url, token="tt_secret")
    lines = listener.head.split(b"\r\n")

    assert lines[0] == b"GET /_tunnel/connect HTTP/1.1"
    assert b"Sec-WebSocket-Protocol: tunnel.v1" in lines
    assert b"Authorization: Bearer tt_secret" in lines
    assert b"Host: 127.0.0.1:%d" % listener.port in lines
    assert b"Extensions" not in listener.head
    assert b"Origin" not in listener.head


async def test_row118_a_token_in_the_address_is_not_sent_along():
    async with listening(refusal(401, ERROR)) as listener:
        await failure(f"http://user:tt_secret@127.0.0.1:{listener.port}/?token=tt_secret")

    assert b"secret" not in listener.head


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_is_told_in_the_relays_own_words(status):
    async with listening(refusal(status, ERROR)) as listener:
        failed = await failure(listener.url)

    assert (failed.kind, failed.status) == ("refused", status)
    assert (failed.message, failed.hint) == ("This token is not good.", "Make another.")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_an_overloaded_relay_is_worth_another_try(status):
    async with listening(refusal(status, b"<html>busy", b"text/html")) as listener:
        failed = await failure(listener.url)

    assert (failed.kind, failed.status, failed.wait) == ("unreachable", status, 0)
    assert str(status) in failed.message


@pytest.mark.parametrize(
    ("value", "wait"),
    [(b"7", 7), (b"0", 0), (b"999999999999", MAX_WAIT), (b"-1", 0), (b"Wed, 21 Oct 2026 07:28:00 GMT", 0), (b"1.5", 0)],
)
async def test_row125_a_relay_may_ask_for_a_while_and_not_for_ever(value, wait):
    answer = refusal(429, ERROR).replace(b"\r\n", b"\r\nRetry-After: %b\r\n" % value, 1)
    async with listening(answer) as listener:
        assert (await failure(listener.url)).wait == wait


@pytest.mark.parametrize(
    "answer",
    [
        refusal(404, b"<html>not here", b"text/html"),
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n",
    ],
    ids=["404", "302", "200", "ssh", "wrong-accept"],
)
async def test_what_is_no_relay_is_said_to_be_none(answer):
    async with listening(answer) as listener:
        failed = await failure(listener.url)

    assert failed.kind == "protocol"


@pytest.mark.parametrize("body", [b"[]", b'{"error": 5}', b"\xff", b"{}", b'{"error": {"code": "x"}}'])
async def test_a_refusal_whose_body_is_something_else_is_still_a_refusal(body):
    async with listening(refusal(403, body)) as listener:
        failed = await failure(listener.url)

    assert failed.kind == "refused"
    assert failed.message == "what answers there says 403, and not in a tunnelrelay's words"


async def test_nobody_listening_is_unreachable():
    failed = await failure(f"http://127.0.0.1:{free_port()}")

    assert failed.kind == "unreachable"
    assert "refused" in failed.message.lower()


async def test_a_relay_that_closes_without_an_answer_is_unreachable():
    async with listening(b"") as listener:
        failed = await failure(listener.url)

    assert failed.kind in ("unreachable", "protocol")
    assert failed.status == 0


async def test_a_relay_that_never_answers_is_given_up_and_its_connection_dropped():
    async with listening(b"", hangs=True) as listener:
        failed = await failure(listener.url, timeout=0.05)
        await asyncio.wait_for(listener.is_dropped.wait(), PATIENCE)

    assert failed.kind == "unreachable"
    assert "did not answer" in failed.message


async def test_a_cancelled_dial_drops_its_connection():
    async with listening(b"", hangs=True) as listener:
        dialling = asyncio.create_task(dial(listener.url, user=User(), timeout=PATIENCE))
        await asyncio.wait_for(listener.is_asked.wait(), PATIENCE)
        dialling.cancel()
        await asyncio.gather(dialling, return_exceptions=True)
        await asyncio.wait_for(listener.is_dropped.wait(), PATIENCE)

    assert dialling.cancelled()


async def test_what_comes_in_one_read_with_the_handshakes_end_is_not_lost():
    async with linked() as (relay, _):
        await relay.until(lambda: relay.pongs)
        relay.link.ping()
        await relay.until(lambda: len(relay.pongs) > 1 or relay.closed)

        assert relay.closed == []


HANDSHAKE = (
    b"GET /_tunnel/connect HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


def test_a_handshake_with_our_subprotocol_is_accepted_without_extensions():
    """Row 117."""
    ws, answer = accept(
        HANDSHAKE + b"Sec-WebSocket-Protocol: tunnel.v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )

    assert is_accepted(ws)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
    assert b"Extensions" not in answer  # row 117: nothing to inflate


@pytest.mark.parametrize(
    "head",
    [
        HANDSHAKE + b"\r\n",
        HANDSHAKE + b"Sec-WebSocket-Protocol: tunnel.v2\r\n\r\n",
        HANDSHAKE.replace(b"Version: 13", b"Version: 8") + b"Sec-WebSocket-Protocol: tunnel.v1\r\n\r\n",
        HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"x") + b"Sec-WebSocket-Protocol: tunnel.v1\r\n\r\n",
        b"GET /_tunnel/connect HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["no-subprotocol", "other-subprotocol", "old-version", "bad-key", "no-upgrade"],
)
def test_any_other_handshake_is_refused(head):
    ws, answer = accept(head)

    assert not is_accepted(ws)
    assert answer.startswith(b"HTTP/1.1 4")


async def test_a_link_that_was_closed_takes_no_commands_amiss():
    async with linked() as (relay, _):
        relay.link.close(Code.NO_ERROR, "once")
        relay.link.close(Code.INTERNAL, "twice")
        await relay.until(lambda: relay.closed)

        assert relay.closed == [(Code.NO_ERROR, "once")]


# What is no relay, in true words


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(200, b"<html>welcome", b"text/html"), "answered 200 with a page"),
        (b"HTTP/1.1 301 Moved\r\nLocation: https://www.example/\r\nContent-Length: 0\r\n\r\n", "https://www.example/"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/login\r\nContent-Length: 0\r\n\r\n", "sign-in page"),
        (refusal(404, b"<html>", b"text/html"), "answered 404"),
        (refusal(405, b"", b"text/html"), "answered 405"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "websocket"),
    ],
)
async def test_what_answers_instead_of_a_relay_is_described(answer, words):
    async with listening(answer) as listener:
        failed = await failure(listener.url)
    assert failed.kind == "protocol"
    assert words in failed.message
    assert failed.hint


async def test_a_network_that_wants_a_sign_in_is_waited_for():
    async with listening(refusal(511, b"<html>", b"text/html")) as listener:
        failed = await failure(listener.url)
    assert failed.kind == "unreachable"
    assert "sign-in" in failed.message


async def tls_server(tmp_path, domain="localhost"):
    authority = Authority(tmp_path / "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(domain))
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


async def test_plain_http_to_a_tls_port_is_told_as_that(tmp_path):
    server, port = await tls_server(tmp_path)
    failed = await failure(f"http://127.0.0.1:{port}")
    server.close()
    assert (failed.kind, failed.hint) == ("barred", f"use --relay https://127.0.0.1:{port}")
    assert "speaks TLS" in failed.message


async def test_plain_http_that_a_web_server_turns_away_from_its_tls_port_is_told_as_that(tmp_path):
    """nginx answers in plain HTTP there; the same port takes a TLS handshake."""
    server, port = await tls_server(tmp_path)
    answer = refusal(400, b"<html>The plain HTTP request was sent to HTTPS port", b"text/html")

    async def first_byte_decides(reader, writer):
        first = await reader.readexactly(1)
        if first != b"\x16":
            writer.write(answer)
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        far_writer.write(first)

        async def pump(source, sink):
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        try:
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)
        finally:  # the test's end cancels it
            far_writer.close()
            writer.close()

    door = await asyncio.start_server(first_byte_decides, "127.0.0.1", 0)
    failed = await failure(f"http://127.0.0.1:{door.sockets[0].getsockname()[1]}")
    server.close()
    door.close()
    assert failed.kind == "barred"
    assert "speaks TLS" in failed.message


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"\x00" * 20])
async def test_tls_to_a_plain_port_is_told_as_that(answer):
    async def serve(reader, writer):
        try:
            await reader.read(1)
            writer.write(answer)
        finally:  # the test's end cancels it
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    failed = await failure(f"https://127.0.0.1:{port}")
    server.close()
    assert (failed.kind, failed.hint) == ("barred", f"use --relay http://127.0.0.1:{port}")
    assert "does not speak TLS" in failed.message


async def test_a_certificate_that_this_machine_does_not_trust_is_told_as_that(tmp_path):
    server, port = await tls_server(tmp_path)
    failed = await failure(f"https://127.0.0.1:{port}")
    server.close()
    assert failed.kind == "barred"
    assert failed.hint.startswith("for a private CA use --relay-ca FILE")
    assert "does not trust" in failed.message
