"""Local services of every kind behind a real relay: a directory, a unix socket, one that wants the PROXY protocol."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.asgi_tasks import requests_ended
from tests.support.ports import free_port
from tests.support.raw_http import connect
from tests.support.waiting import turns
from tests.support.world import world
from tunnelctl.agent.address import UpstreamAddress, parse_upstream
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.wire.messages import PolicySpec
from tunnelrelay.config.values import PortRange

MIB = 1 << 20
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, path: Path | None = None) -> AsyncIterator[int]:
    """A service at a unix socket, or at a port, which is given."""
    if path is None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
    else:
        server, port = await asyncio.start_unix_server(serve, path), 0
    try:
        yield port
    finally:
        server.close()


async def test_visitors_get_the_files_of_a_directory(tmp_path):
    site = tmp_path / "site"
    (site / "docs").mkdir(parents=True)
    (site / "index.html").write_text("home")
    (site / "big.bin").write_bytes(bytes(range(256)) * 4096 * 8)
    (tmp_path / "secret").write_text("secret")
    async with world(tmp_path / "data") as w:
        tunnel = w.agent_with(TunnelConfig(upstream=parse_upstream(site.as_uri()), subdomain="demo"))
        await tunnel.until_started()
        assert (await tunnel.fetch("GET", "/")).text == "home"
        assert (await tunnel.fetch("HEAD", "/")).get("content-length") == "4"
        assert (await tunnel.fetch("GET", "/docs")).get("location") == "./docs/"
        assert "Index of /docs/" in (await tunnel.fetch("GET", "/docs/")).text
        part = await tunnel.fetch("GET", "/big.bin", fields=[("Range", "bytes=256-511")])
        assert (part.status, part.body) == (206, bytes(range(256)))
        whole = await tunnel.fetch("GET", "/big.bin")
        assert len(whole.body) == 8 * MIB
        unchanged = [("If-None-Match", whole.get("etag"))]
        assert (await tunnel.fetch("GET", "/big.bin", fields=unchanged)).status == 304
        assert (await tunnel.fetch("GET", "/..%2fsecret")).status in (400, 404)
        upload = await tunnel.fetch("POST", "/", body=bytes(MIB))
        assert (upload.status, upload.get("allow")) == (405, "GET, HEAD")
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        assert (await tunnel.fetch("GET", "/", fields=upgrade)).text == "home"
        assert tunnel.diary.events.count("app: ") == 0
        await requests_ended()


async def test_a_visitor_who_leaves_ends_the_download(tmp_path):
    (tmp_path / "site").mkdir()
    with (tmp_path / "site" / "huge.bin").open("wb") as file:
        file.truncate(1 << 40)
    async with world(tmp_path / "data") as w:
        address = parse_upstream((tmp_path / "site").as_uri())
        tunnel = w.agent_with(TunnelConfig(upstream=address, subdomain="demo"))
        await tunnel.until_started()
        async with connect(w.port) as visitor:
            await visitor.send(f"GET /huge.bin HTTP/1.1\r\nHost: {tunnel.host}\r\n\r\n".encode())
            assert (await visitor.head()).get("content-length") == str(1 << 40)
            await visitor.read(MIB)
        await turns(lambda: tunnel.diary.exchanges)
        assert (await tunnel.fetch("GET", "/")).status == 200
        await requests_ended()


async def test_visitors_reach_a_web_app_at_a_unix_socket(tmp_path):
    hosts = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            hosts.append(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"host:")))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    path = tmp_path / "app.sock"
    async with world(tmp_path / "data") as w, listening(serve, path):
        upstream = parse_upstream(f"unix:{path}")
        for name, policy in (("a", PolicySpec()), ("b", PolicySpec(host_header="localhost"))):
            tunnel = w.agent_with(TunnelConfig(upstream=upstream, subdomain=name, policy=policy))
            await tunnel.until_started()
            assert (await tunnel.fetch("GET", "/")).text == "ok"
        assert {one.upstream for one in w.relay.registry.tunnels()} == {f"unix:{path}"}
    assert hosts == [f"Host: a.localhost:{w.port}".encode(), b"Host: localhost"]


async def test_visitors_of_a_tcp_port_reach_a_unix_socket(tmp_path):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    path, port = tmp_path / "db.sock", free_port()
    ports = (PortRange(None, port, port),)
    async with world(tmp_path / "data", tcp_ports=ports) as w, listening(serve, path):
        tunnel = w.agent_with(TunnelConfig(upstream=UpstreamAddress("tcp", path=str(path)), host="tcp://"))
        await tunnel.until_started()
        async with connect(port) as visitor:
            await visitor.send(b"hello")
            visitor.send_eof()
            assert await visitor.rest() == b"hello"


async def read_proxy_v1(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n")).decode().strip()


async def read_proxy_v2(reader: asyncio.StreamReader) -> str:
    assert await reader.readexactly(12) == b"\r\n\r\n\0\r\nQUIT\n"
    command, family, _, length = await reader.readexactly(4)
    body = await reader.readexactly(length)
    return f"{command:02x} {family:02x} {'.'.join(str(byte) for byte in body[:4])}"


@pytest.mark.parametrize(
    ("version", "read", "visitor", "look"),
    [
        (1, read_proxy_v1, "PROXY TCP4 127.0.0.1 0.0.0.0 0 {port}", "PROXY UNKNOWN"),
        (2, read_proxy_v2, "21 11 127.0.0.1", "20 00 "),
    ],
)
async def test_a_service_that_wants_the_proxy_protocol_is_told_who_visits(tmp_path, version, read, visitor, look):
    """Such a service answers no connection that begins with a request, as nginx does with `listen … proxy_protocol`."""
    told = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await read(reader))
        head = await reader.readuntil(b"\r\n\r\n")
        body = head.split(b" ")[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()  # the agent's look whether the service is there

    async with world(tmp_path / "data") as w, listening(quiet) as port:
        upstream = UpstreamAddress("http", "127.0.0.1", port)
        tunnel = w.agent_with(TunnelConfig(upstream=upstream, subdomain="demo", proxy_protocol=version))
        await tunnel.until_started()
        async with connect(w.port) as connection:
            for target in ("/one", "/two"):  # one connection of the visitor's, two to the service
                assert (await connection.request("GET", target, host=tunnel.host)).text == target
        assert (await tunnel.fetch("POST", "/three", body=b"x" * 1000)).text == "/three"
    visits = [line for line in told if line != look]
    assert visits == [visitor.format(port=port)] * 3
