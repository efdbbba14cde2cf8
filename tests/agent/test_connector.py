"""Local services that have a path: a directory, or a unix socket."""

import asyncio
import errno
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from tests.agent.test_upstream import OK, Scene, Service, always_ok, status
from tests.link.ends import linked
from tests.support.asgi_tasks import requests_ended
from tunnelctl.agent.address import UpstreamAddress, parse_upstream
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.connector import MAX_SOCKET_PATH, directory_error, leads_to, open_connector, path_problem
from tunnelctl.agent.tunnel import open_upstream
from tunnelctl.wire.errors import Code


@asynccontextmanager
async def at(address, heard=lambda problem: None, **config):
    """An upstream at an address, behind a link."""
    async with linked() as (relay, agent):
        upstream = open_upstream(TunnelConfig(upstream=address, **config), heard)
        yield Scene(relay, agent, upstream, Service())
        upstream.close()
        await requests_ended()


@asynccontextmanager
async def listening(path, script):
    service = Service(script)
    server = await asyncio.start_unix_server(service.connected, path)
    yield service
    server.close()
    await service.stop()


async def test_requests_go_to_a_unix_socket_over_kept_connections(tmp_path):
    path = str(tmp_path / "app.sock")
    async with listening(path, always_ok) as service, at(UpstreamAddress("http", path=path)) as s:
        for _ in range(3):
            owner = await s.answer()
            assert (status(owner), bytes(owner.data)) == (200, b"ok")
        assert service.connections == 1


async def test_a_unix_socket_gets_the_visitors_address_too_and_port_0(tmp_path):
    heads = []

    async def script(reader, writer):
        heads.append(await reader.readline())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)

    path = str(tmp_path / "app.sock")
    async with listening(path, script), at(UpstreamAddress("http", path=path), proxy_protocol=1) as s:
        assert status(await s.answer(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n")) == 200
    assert heads == [b"PROXY TCP4 203.0.113.7 0.0.0.0 0 0\r\n"]


async def test_bytes_go_to_a_unix_socket_and_come_back(tmp_path):
    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data)

    path = str(tmp_path / "db.sock")
    async with listening(path, echo), at(UpstreamAddress("tcp", path=path)) as s:
        owner = s.ask(b"Peer: 203.0.113.7:51234\r\n", fin=False)
        await owner.until(lambda: owner.heads)
        s.send(owner, b"hello", fin=True)
        await owner.until(lambda: owner.is_ended)
        assert bytes(owner.data) == b"hello"


async def looked_at(s):
    found = asyncio.get_running_loop().create_future()
    s.upstream.try_out(found.set_result)
    return await found


@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_a_socket_that_comes_and_goes_is_told_of(tmp_path, scheme):
    path, heard = str(tmp_path / "app.sock"), []
    async with at(UpstreamAddress(scheme, path=path), heard.append) as s:
        assert not await looked_at(s)
        async with listening(path, always_ok):
            assert await looked_at(s)
        assert not await looked_at(s)
    assert heard == ["no such file or directory", "", heard[-1]]
    assert heard[-1] in ("connection refused", "no such file or directory")  # Python 3.13 removes the file


async def test_a_directory_that_goes_is_a_service_that_is_away(tmp_path):
    site, heard = tmp_path / "site", []
    site.mkdir()
    async with at(UpstreamAddress("file", path=str(site))) as s:
        assert status(await s.answer()) == 200
        site.rmdir()
        assert status(await s.answer()) == 404
        assert (await s.answer()).reset is Code.UPSTREAM_UNREACHABLE  # on a new connection
    async with at(UpstreamAddress("file", path=str(site)), heard.append) as s:
        owner = await s.answer()
        assert owner.reset is Code.UPSTREAM_UNREACHABLE
        site.mkdir()
        assert status(await s.answer()) == 200
    assert heard == ["no such file or directory", ""]


async def test_nothing_listens_for_a_directory(tmp_path):
    """The connection is a pair of sockets without a name."""
    ended = asyncio.get_running_loop().create_future()

    class Visitor(asyncio.Protocol):
        def connection_lost(self, exc):
            ended.set_result(None)

    transport = await open_connector(parse_upstream(tmp_path.as_uri())).connect(Visitor)
    ours = transport.get_extra_info("socket")
    assert (ours.family, ours.getsockname(), ours.getpeername()) == (socket.AF_UNIX, "", "")
    transport.write_eof()
    await ended


def test_the_libraries_of_the_file_server_are_not_imported_before_one_is_needed():
    script = (
        "import sys, tunnelctl.agent.agent, tunnelctl.cli.run, tunnelctl.cli.settings\n"
        "assert not {'starlette', 'uvicorn'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="unix sockets")
def test_a_path_that_cannot_be_used_is_told_before_the_start(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
    told = {
        "file": path_problem(UpstreamAddress("file", path=str(tmp_path / "file"))),
        "none": path_problem(UpstreamAddress("file", path=str(tmp_path / "none"))),
        "site": path_problem(UpstreamAddress("file", path=str(tmp_path))),
        "no socket": path_problem(UpstreamAddress("http", path=str(tmp_path / "file"))),
        "later": path_problem(UpstreamAddress("http", path=str(tmp_path / "later"))),
        "socket": path_problem(UpstreamAddress("tcp", path=str(tmp_path / "sock"))),
        "long": path_problem(UpstreamAddress("tcp", path="/" + "a" * MAX_SOCKET_PATH)),
        "port": path_problem(UpstreamAddress("http", "localhost", 80)),
    }
    assert told == {
        "file": "it is not a directory; name the directory that the file is in",
        "none": "there is no such directory",
        "site": "",
        "no socket": "it is not a unix socket",
        "later": "",
        "socket": "",
        "long": f"the path of a unix socket has at most {MAX_SOCKET_PATH} bytes",
        "port": "",
    }
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may read all
    assert directory_error(str(tmp_path)) == errno.EACCES
    assert path_problem(UpstreamAddress("file", path=str(tmp_path))) == "this user may not read the directory"
    monkeypatch.setattr(sys, "platform", "win32")
    assert path_problem(UpstreamAddress("http", path="/a")).startswith("unix sockets cannot be used on Windows")


class Connected(asyncio.BaseTransport):
    """A transport that knows only its two ends."""

    def __init__(self, peer: object, own: object) -> None:
        super().__init__({"peername": peer, "sockname": own})


@pytest.mark.parametrize(
    ("peer", "own", "listening", "leads"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1", True),
        ("192.0.2.7", "192.0.2.1", "127.0.0.1", False),
        ("192.0.2.1", "192.0.2.1", "0.0.0.0", True),
        ("127.0.0.2", "127.0.0.1", "0.0.0.0", True),
        ("192.0.2.7", "192.0.2.1", "0.0.0.0", False),
        ("fe80::1%eth0", "fe80::1%eth0", "::", True),
        ("::1", "::1", "127.0.0.1", False),
    ],
)
def test_a_connection_to_a_socket_of_this_machine_is_known_by_its_ends(peer, own, listening, leads):
    assert leads_to(Connected((peer, 4040), (own, 50000)), (listening, 4040)) is leads
    assert not leads_to(Connected((peer, 4041), (own, 50000)), (listening, 4040))


def test_a_unix_socket_leads_to_no_port():
    assert not leads_to(Connected("/run/app.sock", ""), ("127.0.0.1", 4040))
