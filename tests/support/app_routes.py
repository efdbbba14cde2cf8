"""The routes of the sample upstream, an app for tests. A download depends only on its size, so a test can check it."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol

from tests.support.apps import App, Exchange, Handler, running

BLOCK_BYTES = 64 * 1024
SECRET = "the-quick-brown-secret-of-this-app"
"""A text that is only on the app's home page: a test that finds it has got the page through the tunnel."""


def blocks_of(size: int) -> Iterator[bytes]:
    """Yield `size` deterministic bytes in blocks. All blocks differ, so a lost or doubled one changes the digest."""
    for number in range(0, size, BLOCK_BYTES):
        seed = hashlib.sha256(number.to_bytes(8, "big")).digest()
        yield (seed * (BLOCK_BYTES // len(seed)))[: min(BLOCK_BYTES, size - number)]


def digest_of(size: int) -> str:
    """Return the SHA-256 of the bytes that `blocks_of(size)` yields, in hexadecimal."""
    digest = hashlib.sha256()
    for block in blocks_of(size):
        digest.update(block)
    return digest.hexdigest()


async def home(exchange: Exchange) -> None:
    """Answer with an HTML page that contains `SECRET`."""
    await exchange.respond(
        200,
        f"<!doctype html><title>app</title><h1>Hello from the app</h1><p id=secret>{SECRET}</p>",
        [("Content-Type", "text/html; charset=utf-8")],
    )


async def echo(exchange: Exchange) -> None:
    """Answer with the request as JSON, so that tests can check what the upstream received."""
    request = exchange.request
    body = await exchange.body()
    seen = {
        "method": request.method,
        "target": request.target,
        "fields": request.fields,
        "trailers": request.trailers,
        "body": base64.b64encode(body).decode(),
    }
    await exchange.respond(200, json.dumps(seen), [("Content-Type", "application/json")])


async def status(exchange: Exchange) -> None:
    """Answer `/status/404` with status 404, and so on."""
    await exchange.respond(int(_last(exchange)), b"as asked\n")


async def download(exchange: Exchange) -> None:
    """Answer `/bytes/N` with N bytes and a Content-Length."""
    size = int(_last(exchange))
    await exchange.start(200, [("Content-Length", str(size)), ("Content-Type", "application/octet-stream")])
    if exchange.request.method != "HEAD":
        for block in blocks_of(size):
            await exchange.write(block)


async def chunked(exchange: Exchange) -> None:
    """Answer `/chunked/N` with N bytes in chunked encoding."""
    await exchange.start(200, [("Transfer-Encoding", "chunked")])
    if exchange.request.method != "HEAD":
        for block in blocks_of(int(_last(exchange))):
            await exchange.chunk(block)
        await exchange.last_chunk()


async def until_close(exchange: Exchange) -> None:
    """Answer `/until-close/N` with N bytes that end with the connection."""
    await exchange.start(200, [("Connection", "close")])
    for block in blocks_of(int(_last(exchange))):
        await exchange.write(block)
    exchange.close()


async def upload(exchange: Exchange) -> None:
    """Answer with the size and the digest of the request's body."""
    digest, size = hashlib.sha256(), 0
    async for block in exchange.blocks():
        digest.update(block)
        size += len(block)
    answer = {"bytes": size, "sha256": digest.hexdigest(), "trailers": exchange.request.trailers}
    await exchange.respond(200, json.dumps(answer), [("Content-Type", "application/json")])


async def events(exchange: Exchange) -> None:
    """Answer with two server-sent events: the first at once, the second when the test opens the gate `events`."""
    await exchange.start(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
    await exchange.chunk(b"data: first\n\n")
    await exchange.app.gate("events")
    await exchange.chunk(b"data: second\n\n")
    await exchange.last_chunk()


async def trailers(exchange: Exchange) -> None:
    """Answer with a chunked body and trailer fields."""
    await exchange.start(200, [("Transfer-Encoding", "chunked"), ("Trailer", "Checksum")])
    await exchange.chunk(b"body")
    await exchange.last_chunk([("Checksum", "abc"), ("Took", "1ms")])


async def early_hints(exchange: Exchange) -> None:
    """Answer with an interim response, 103 Early Hints, and then 200."""
    await exchange.start(103, [("Link", "</style.css>; rel=preload")])
    await exchange.respond(200, b"hinted\n")


async def held(exchange: Exchange) -> None:
    """Answer only when the test opens the gate `held`."""
    await exchange.app.gate("held")
    await exchange.respond(200, b"released\n")


async def cookies(exchange: Exchange) -> None:
    """Answer with two Set-Cookie fields."""
    await exchange.respond(200, b"ok\n", [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/; HttpOnly")])


async def cut(exchange: Exchange) -> None:
    """Announce a body of 1,000 bytes, send 10, and close the connection."""
    await exchange.start(200, [("Content-Length", "1000")])
    await exchange.write(b"x" * 10)
    exchange.close()


async def garbage(exchange: Exchange) -> None:
    """Answer with bytes that are not HTTP."""
    await exchange.write(b"\x00\x01 this is not HTTP\r\n\r\n")
    exchange.close()


async def hang_up(exchange: Exchange) -> None:
    """Close the connection without an answer."""
    exchange.close()


async def websocket(exchange: Exchange) -> None:
    """Accept a websocket and echo every message."""
    protocol = ServerProtocol(max_size=None)
    protocol.receive_data(exchange.request.raw)
    (request,) = protocol.events_received()
    assert isinstance(request, Handshake)
    protocol.send_response(protocol.accept(request))
    await _flush(exchange, protocol)
    while not protocol.close_expected() and (data := await exchange.reader.read(65536)):
        protocol.receive_data(data)
        for event in protocol.events_received():
            _echo(protocol, event)
        await _flush(exchange, protocol)
    exchange.close()


async def upgrade(exchange: Exchange) -> None:
    """Switch to a protocol that is no websocket: echo raw bytes, and send more after the visitor's half-close."""
    await exchange.start(101, [("Connection", "Upgrade"), ("Upgrade", "echo")])
    while data := await exchange.reader.read(65536):
        await exchange.write(data)
    await exchange.write(b"goodbye")
    exchange.close()


def _echo(protocol: ServerProtocol, event: object) -> None:
    match event:
        case Frame(opcode=Opcode.TEXT, data=data, fin=fin):
            protocol.send_text(data, fin)
        case Frame(opcode=Opcode.BINARY, data=data, fin=fin):
            protocol.send_binary(data, fin)
        case Frame(opcode=Opcode.CONT, data=data, fin=fin):
            protocol.send_continuation(data, fin)
        case _:
            pass  # the protocol object answers pings and closes itself


async def _flush(exchange: Exchange, protocol: ServerProtocol) -> None:
    for data in protocol.data_to_send():
        if data:
            await exchange.write(data)


def _last(exchange: Exchange) -> str:
    return exchange.request.path.rpartition("/")[2]


ROUTES: dict[str, Handler] = {
    "/": home,
    "/echo": echo,
    "/echo/": echo,
    "/status/": status,
    "/bytes/": download,
    "/chunked/": chunked,
    "/until-close/": until_close,
    "/upload": upload,
    "/events": events,
    "/trailers": trailers,
    "/early-hints": early_hints,
    "/held": held,
    "/cookies": cookies,
    "/cut": cut,
    "/garbage": garbage,
    "/hang-up": hang_up,
    "/ws": websocket,
    "/upgrade": upgrade,
}


@contextmanager
def sample_app(port: int = 0) -> Iterator[App]:
    """Context manager: the sample app with all its routes, served in a thread."""
    with running(App(ROUTES), port) as app:
        yield app
