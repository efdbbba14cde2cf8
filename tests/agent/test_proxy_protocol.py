"""The PROXY protocol towards the local service: which visitor a connection is for, told before all else."""

import asyncio
import ipaddress
import socket
import ssl
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.test_upstream import OK, Scene, Service, always_ok, scene, status
from tests.link.ends import linked
from tests.support.certificates import Authority
from tests.support.every import every
from tests.support.waiting import PATIENCE
from tunnelctl.agent.connector import TcpConnector
from tunnelctl.agent.proxy_header import local_header, proxy_header, visitor_address
from tunnelctl.agent.tcp import TcpUpstream

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def from_visitor(address: str, path: str = "/") -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: demo\r\nX-Forwarded-For: %s\r\n" % (path.encode(), address.encode())


@every(
    "head, line",
    [
        (from_visitor("203.0.113.7"), b"PROXY TCP4 203.0.113.7 0.0.0.0 0 8080\r\n"),
        (from_visitor("10.0.0.1, 203.0.113.7"), b"PROXY TCP4 203.0.113.7 0.0.0.0 0 8080\r\n"),
        (from_visitor("2001:db8::7"), b"PROXY TCP6 2001:db8::7 :: 0 8080\r\n"),
        (from_visitor("::ffff:203.0.113.7"), b"PROXY TCP4 203.0.113.7 0.0.0.0 0 8080\r\n"),
        (from_visitor("fe80::1%eth0\r\nX: y"), b"PROXY TCP6 fe80::1 :: 0 8080\r\n"),
        (from_visitor("unknown"), b"PROXY UNKNOWN\r\n"),
        (b"GET / HTTP/1.1\r\nHost: demo\r\n", b"PROXY UNKNOWN\r\n"),
        (b"Peer: 203.0.113.7:51234\r\n", b"PROXY TCP4 203.0.113.7 0.0.0.0 51234 8080\r\n"),
        (b"Peer: [2001:db8::7]:51234\r\n", b"PROXY TCP6 2001:db8::7 :: 51234 8080\r\n"),
        (b"Peer: x\r\n", b"PROXY UNKNOWN\r\n"),
    ],
)
def test_the_first_version_is_a_line(head, line):
    assert proxy_header(1, head, 8080) == line
    assert proxy_header(0, head, 8080) == b""


@every(
    "head, rest",
    [
        (b"Peer: 203.0.113.7:258\r\n", b"\x21\x11\x00\x0c\xcb\x00\x71\x07\0\0\0\0\x01\x02\x1f\x90"),
        (from_visitor("::1"), b"\x21\x21\x00\x24" + b"\0" * 15 + b"\x01" + b"\0" * 16 + b"\0\0\x1f\x90"),
        (from_visitor("unknown"), b"\x20\x00\x00\x00"),
    ],
)
def test_the_second_version_is_binary(head, rest):
    assert proxy_header(2, head, 8080) == SIGNATURE + rest


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=40).map(lambda data: b"Peer: " + data)), st.booleans())
def test_whatever_the_head_the_header_is_one_line_that_its_sender_cannot_lengthen(head, is_forwarded):
    head = b"GET / HTTP/1.1\r\nX-Forwarded-For: " + head if is_forwarded else head
    line = proxy_header(1, head, 80)
    assert line.startswith(b"PROXY ")
    assert line.count(b"\r\n") == 1
    assert len(line) <= 107
    if visitor_address(head) is not None:
        ipaddress.ip_address(line.split(b" ")[2].decode())


def test_a_look_at_the_service_is_no_visitors_connection():
    assert (local_header(0), local_header(1)) == (b"", b"PROXY UNKNOWN\r\n")
    assert local_header(2) == SIGNATURE + b"\x20\0\0\0"


class Noting:
    """A service that notes the line with which each connection begins, and answers one request on it.

    It reads by blocking calls: a TLS handshake may come with the same packet as the line.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.lines: list[bytes] = []
        self.heads: list[bytes] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def serve(self, count: int) -> None:
        """Serve so many connections, one after the other."""
        with self._listener:
            for _ in range(count):
                plain, _ = self._listener.accept()
                self.lines.append(_read(plain, b"\r\n"))
                connection = self._tls.wrap_socket(plain, server_side=True) if self._tls is not None else plain
                with connection:
                    if head := _read(connection, b"\r\n\r\n"):
                        self.heads.append(head)
                        connection.sendall(OK)


def _read(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end) and (piece := connection.recv(1)):
        data += piece
    return data


@pytest.fixture
def server_tls(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path).issue("localhost"))
    return context


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize("is_tls", [False, True])
async def test_each_visitors_request_has_a_connection_that_begins_with_its_address(is_tls, server_tls):
    service = Noting(server_tls if is_tls else None)
    serving = asyncio.create_task(asyncio.to_thread(service.serve, 3))
    async with scene(always_ok, port=service.port, proxy_protocol=1, tls=unverified() if is_tls else None) as s:
        for address in ("203.0.113.7", "203.0.113.8", "203.0.113.8"):
            owner = await s.answer(from_visitor(address))
            assert (status(owner), bytes(owner.data)) == (200, b"ok")
        await serving
    assert service.lines == [
        f"PROXY TCP4 203.0.113.{number} 0.0.0.0 0 {service.port}\r\n".encode() for number in (7, 8, 8)
    ]
    assert all(b"\r\nConnection: close\r\n" in head for head in service.heads)


@pytest.mark.parametrize("is_tls", [False, True])
async def test_a_look_says_that_it_is_one(is_tls, server_tls):
    service = Noting(server_tls if is_tls else None)
    serving = asyncio.create_task(asyncio.to_thread(service.serve, 1))
    async with scene(always_ok, port=service.port, proxy_protocol=1, tls=unverified() if is_tls else None) as s:
        found = asyncio.get_running_loop().create_future()
        s.upstream.try_out(found.set_result)
        assert await asyncio.wait_for(found, PATIENCE)
        await serving
    assert (service.lines, service.heads) == ([b"PROXY UNKNOWN\r\n"], [])


@asynccontextmanager
async def tcp_scene(service: Service):
    server = await asyncio.start_server(service.connected, "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    async with linked() as (relay, agent):
        upstream = TcpUpstream(TcpConnector("127.0.0.1", service.port), proxy_protocol=2)
        yield Scene(relay, agent, upstream, service)
        upstream.close()
    server.close()
    await service.stop()


async def test_a_tcp_connection_begins_with_its_visitors_address_and_port():
    begun = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.append(await reader.readexactly(28))
        writer.write(b"hello")
        writer.close()

    async with tcp_scene(Service(serve)) as s:
        owner = s.ask(b"Peer: 203.0.113.7:51234\r\n", fin=False)
        await owner.until(lambda: bytes(owner.data) == b"hello")
        assert begun == [proxy_header(2, b"Peer: 203.0.113.7:51234\r\n", s.service.port)]
