"""Real servers whose app leaves a request's body unread: it is no request of its own, and the answer always arrives."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.raw_http import RawConnection, connect
from tests.support.world import world

_HTTP_SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = sys.argv[2]

    def do_POST(self):
        self.send_response(413)
        if len(sys.argv) == 3:
            self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"big")
        if len(sys.argv) > 3:
            self.close_connection = True

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format, *args):
        print("asked:", self.requestline, self.headers.get("X-Tunnel-User"), flush=True)

server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("Listening at", server.server_port, flush=True)
server.serve_forever()
"""
_WSGI = """
def app(environ, start_response):
    start_response("413 Too Large", [("Content-Length", "3")])
    return [b"big"]
"""
_GUNICORN = ("-m", "gunicorn", "--chdir", "{place}", "--bind", "127.0.0.1:{port}")
SERVERS = {
    "http.server-1.1": ("{place}/server.py", "{port}", "HTTP/1.1"),
    "http.server-1.0": ("{place}/server.py", "{port}", "HTTP/1.0"),
    "http.server-1.0-without-length": ("{place}/server.py", "{port}", "HTTP/1.0", "without"),
    "gunicorn": (*_GUNICORN, "app:app"),
    "gunicorn-threads": (*_GUNICORN, "--worker-class", "gthread", "--threads", "2", "app:app"),
}
UPLOADS = 24
"""Uploads refused by each server. Before the answer was looked for, one in two to one in forty was lost."""


@contextmanager
def running(name: str, place: Path) -> Iterator[tuple[Child, int]]:
    """The server's process and port."""
    (place / "server.py").write_text(_HTTP_SERVER)
    (place / "app.py").write_text(_WSGI)
    port = free_port()
    child = Child(name, [sys.executable, *(part.format(place=place, port=port) for part in SERVERS[name])])
    try:
        child.wait_for(lambda line: "Listening at" in line)
        yield child, port
    finally:
        child.stop()


async def upload(visitor: RawConnection, host: str, size: int, *, is_chunked: bool) -> None:
    """Sends a body for as long as the relay takes it."""
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    piece = b"x" * 16_384
    with suppress(OSError):
        await visitor.send(f"POST / HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n\r\n".encode())
        for _ in range(size // len(piece)):
            await visitor.send(b"4000\r\n%b\r\n" % piece if is_chunked else piece)
        await visitor.send(b"0\r\n\r\n" if is_chunked else b"x" * (size % len(piece)))


@pytest.mark.parametrize("name", SERVERS)
async def test_a_refusal_during_an_upload_arrives_every_time(name: str, tmp_path: Path) -> None:
    answers = []
    with running(name, tmp_path) as (_, port):
        async with world(tmp_path / "relay") as w:
            tunnel = await w.tunnel(port)
            for number in range(UPLOADS):
                size = (50_000, 300_000, 2_000_000)[number % 3]
                async with connect(w.port) as visitor:
                    sending = asyncio.create_task(upload(visitor, tunnel.host, size, is_chunked=number % 2 == 0))
                    response = await visitor.response()
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
                answers.append((response.status, response.body))

    assert answers == [(413, b"big")] * UPLOADS


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_that_is_not_read_is_never_a_request_with_forged_identity(
    is_chunked: bool, tmp_path: Path
) -> None:
    forged = b"GET /admin HTTP/1.1\r\nHost: a\r\nX-Tunnel-User: boss\r\n\r\n"
    with running("http.server-1.1", tmp_path) as (child, port):
        async with world(tmp_path / "relay") as w:
            tunnel = await w.tunnel(port)
            for _ in range(5):
                await tunnel.fetch("GET", "/warm")
                if is_chunked:
                    fields = [("Transfer-Encoding", "chunked")]
                    await tunnel.fetch(
                        "POST", "/up", fields=fields, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(forged), forged)
                    )
                else:
                    await tunnel.fetch("POST", "/up", body=forged)
                await tunnel.fetch("GET", "/next")

    asked = [line for line in child.out if line.startswith("asked:")]
    assert asked == [f"asked: {line} HTTP/1.1 None" for line in ("GET /warm", "POST /up", "GET /next")] * 5
