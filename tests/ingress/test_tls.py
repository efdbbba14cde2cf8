"""TLS: names that do not match, certificates that change, and plain http that leads there."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ingress.scene import HOST, Scene, error_of
from tests.support.raw_http import RawConnection, request_bytes
from tests.support.scripted_agent import ScriptedAgent
from tests.support.waiting import PATIENCE
from tunnelctl.wire.messages import Bound
from tunnelrelay.ingress import handshakes as handshakes_module
from tunnelrelay.ingress.listen import Certificate, bind, listen

pytestmark = pytest.mark.asyncio(loop_scope="module")


def write_certificate(folder: Path, serial: int) -> tuple[Path, Path]:
    """A self-signed certificate for every host under `localhost`. Returns the paths of certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("*.localhost"), x509.DNSName("localhost"), x509.DNSName(HOST)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_path, key_path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    return write_certificate(tmp_path_factory.mktemp("tls"), 1)


@pytest.fixture(scope="module")
def relay_flags(certificate) -> dict[str, object]:
    return {"https": "127.0.0.1:0", "tls_cert": str(certificate[0]), "tls_key": str(certificate[1])}


@asynccontextmanager
async def tls_visitor(port: int, name: str | None) -> AsyncIterator[RawConnection]:
    """A visitor that asks for this server name, and trusts whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "")
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.transport.abort()


def https_port(s: Scene) -> int:
    assert s.relay.https is not None
    return s.relay.https[1]


async def test_row126_a_handshake_that_does_not_go_on_is_given_up(s: Scene, certificate, monkeypatch):
    monkeypatch.setattr(handshakes_module, "HANDSHAKE_SECONDS", 0.05)
    sock = bind("127.0.0.1", 0)
    server = await listen(s.relay.ingress, sock, Certificate(*certificate))
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(b"\x16\x03\x01")  # the first bytes of a hello
    async with asyncio.timeout(PATIENCE):
        assert await reader.read() == b""
    writer.close()
    server.close()


@pytest.mark.parametrize("name", [HOST, "DEMO.localhost", None])
async def test_a_request_over_tls_is_served_and_told_to_be(s: Scene, name):
    async with tls_visitor(https_port(s), name) as visitor:
        asked = await s.exchange(visitor, request_bytes("GET", "/", host=HOST))
        asked.answer(b"secure")
        response = await visitor.response()

    assert response.body == b"secure"
    assert asked.get(b"x-forwarded-proto") == b"https"


async def test_row95_a_host_other_than_the_server_name_is_misdirected(s: Scene):
    async with tls_visitor(https_port(s), "evil.localhost") as visitor:
        await visitor.send(request_bytes("GET", "/", host=HOST) * 2)
        response = await visitor.response()
        rest = await visitor.rest()

    assert (response.status, error_of(response), rest) == (421, "misdirected", b"")
    assert s.agent.asked == []


async def test_row95_a_later_request_of_the_connection_is_held_to_it_too(s: Scene):
    s.agent.answers = lambda asked: asked.answer()
    async with tls_visitor(https_port(s), HOST) as visitor:
        assert (await visitor.request("GET", "/", host=HOST)).status == 200
        assert (await visitor.request("GET", "/", host="evil.localhost")).status == 421


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_plain_http_leads_to_https_and_keeps_method_and_path(s: Scene, method):
    response = await s.fetch(request_bytes(method, "//a?b=c", host=HOST), method=method)

    assert (response.status, response.get("location")) == (308, f"https://{HOST}:{https_port(s)}//a?b=c")
    assert s.agent.asked == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_what_was_sent_in_the_clear_is_refused_and_not_looked_at(s: Scene, method):
    fields = [("Authorization", "Basic YTpi")]
    async with s.visitor() as visitor:
        await visitor.send(request_bytes(method, "/", host=HOST, fields=fields, body=b"secret"))
        response = await visitor.response()
        rest = await visitor.rest()

    assert (response.status, error_of(response), response.get("location")) == (403, "https_required", None)
    assert (s.agent.asked, rest) == ([], b"")


@pytest.mark.parametrize(
    ("target", "path"),
    [("http://{}/a?b=c", "/a?b=c"), ("https://{}//a", "//a"), ("HTTP://{}?b=/c", "/?b=/c"), ("http://{}", "/")],
)
async def test_plain_http_keeps_the_path_of_a_whole_url(s: Scene, target: str, path: str):
    response = await s.fetch(request_bytes("GET", target.format(HOST), host=HOST))

    assert (response.status, response.get("location")) == (308, f"https://{HOST}:{https_port(s)}{path}")


async def test_plain_http_leads_nobody_to_a_host_that_is_not_ours(s: Scene):
    response = await s.fetch(request_bytes("GET", "/", host="evil.example"))

    assert (response.status, response.get("location")) == (404, None)


async def test_an_agents_link_over_tls(s: Scene, certificate):
    agent = ScriptedAgent()
    await agent.connect(0, url=f"https://localhost:{https_port(s)}", ca_file=str(certificate[0]))
    bound = await agent.bind("secure")
    async with tls_visitor(https_port(s), "secure.localhost") as visitor:
        await visitor.send(request_bytes("GET", "/", host="secure.localhost"))
        asked = await agent.next()
        asked.answer(b"x" * 1_000_000)
        response = await visitor.response()
    await agent.close()

    assert isinstance(bound, Bound)
    assert bound.url == f"https://secure.localhost:{https_port(s)}"
    assert len(response.body) == 1_000_000


async def test_under_tls_an_upgraded_connection_ends_with_either_half(s: Scene):
    fields = [("Connection", "Upgrade"), ("Upgrade", "echo")]
    async with tls_visitor(https_port(s), HOST) as visitor:
        asked = await s.exchange(visitor, request_bytes("GET", "/", host=HOST, fields=fields))
        asked.head(101, b"Connection: Upgrade\r\nUpgrade: echo\r\n")
        asked.data(b"bye", fin=True)
        assert (await visitor.head()).status == 101
        assert await visitor.rest() == b"bye"
    await s.turns(lambda: s.relay_link.stream_count == 0)


async def serial_of(port: int) -> int:
    async with tls_visitor(port, HOST) as visitor:
        der = visitor.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


async def test_a_changed_certificate_is_used_for_new_connections_and_a_broken_one_is_not(s: Scene, tmp_path, caplog):
    files = write_certificate(tmp_path, 7)
    certificate = Certificate(*files)
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    server = await listen(s.relay.ingress, sock, certificate)
    async with tls_visitor(port, HOST) as early:
        assert await serial_of(port) == 7
        write_certificate(tmp_path, 8)
        certificate.reload_if_changed()
        assert await serial_of(port) == 8
        files[0].write_text("not a certificate")
        certificate.reload_if_changed()
        assert await serial_of(port) == 8
        assert "not usable" in caplog.text
        files[1].unlink()
        certificate.reload_if_changed()
        write_certificate(tmp_path, 9)
        certificate.reload_if_changed()
        assert await serial_of(port) == 9

        asked = await s.exchange(early, request_bytes("GET", "/", host=HOST))
        asked.answer()
        assert (await early.response()).status == 200
    server.close()


async def half_open(stack: AsyncExitStack, port: int, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose TLS handshake does not go on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.callback(lambda kept: writer.transport.abort(), reader)  # an abandoned reader closes its connection
    writer.write(data)
    return reader, writer


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x40\x00\x01" + b"x" * 8000], ids=len)
async def test_a_handshake_counts_as_a_connection_of_its_address(s: Scene, data: bytes, monkeypatch):
    """Else one address takes all the files of the relay by connections that send nothing."""
    ingress = s.relay.ingress
    monkeypatch.setattr(ingress, "settings", replace(ingress.settings, max_visitors=100))
    monkeypatch.setattr(ingress.known, "address_of", lambda peer: "203.0.113.7")
    before = s.relay.metrics.counts["limited"].get("visitor_connections", 0)
    async with AsyncExitStack() as stack:
        for _ in range(100):
            await half_open(stack, https_port(s), data)
        await s.turns(lambda: s.relay.metrics.counts["limited"].get("visitor_connections", 0) > before)
        assert ingress.quotas.connections("203.0.113.7") < 60
        monkeypatch.setattr(ingress.known, "address_of", lambda peer: "203.0.113.8")
        s.agent.answers = lambda asked: asked.answer()
        async with tls_visitor(https_port(s), HOST) as other:
            assert (await other.request("GET", "/", host=HOST)).status == 200
    await s.turns(lambda: not ingress.visitor_count)
    assert ingress.quotas.connections("203.0.113.7") == 0


async def test_the_oldest_handshake_makes_room_when_all_connections_are_taken(s: Scene, monkeypatch):
    ingress = s.relay.ingress
    monkeypatch.setattr(ingress, "settings", replace(ingress.settings, max_visitors=20))
    s.agent.answers = lambda asked: asked.answer()
    async with AsyncExitStack() as stack:
        oldest, _ = await half_open(stack, https_port(s), b"")
        await s.turns(lambda: ingress.visitor_count == 1)
        for _ in range(30):
            await half_open(stack, https_port(s), b"")
        async with asyncio.timeout(PATIENCE):
            assert await oldest.read() == b""
        async with tls_visitor(https_port(s), HOST) as visitor:
            assert (await visitor.request("GET", "/", host=HOST)).status == 200
            assert ingress.visitor_count <= 20


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x15\x03\x01\x00\x02\x02\x28"]
)
async def test_what_is_no_handshake_is_closed_and_forgotten(s: Scene, data: bytes):
    async with AsyncExitStack() as stack:
        reader, _ = await half_open(stack, https_port(s), data)
        async with asyncio.timeout(PATIENCE):
            await reader.read()
        await s.turns(lambda: not s.relay.ingress.visitor_count)


async def test_a_visitor_that_leaves_within_the_handshake_is_forgotten(s: Scene):
    async with AsyncExitStack() as stack:
        _, writer = await half_open(stack, https_port(s), b"\x16\x03\x01")
        await s.turns(lambda: s.relay.ingress.visitor_count == 1)
        writer.transport.abort()
        await s.turns(lambda: not s.relay.ingress.visitor_count)


async def test_connections_are_accepted_again_after_the_system_gave_none(s: Scene, monkeypatch, caplog):
    monkeypatch.setattr(handshakes_module, "AGAIN_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    given = loop.sock_accept
    refusals = [OSError(24, "Too many open files"), ConnectionAbortedError()]

    async def sock_accept(sock):
        if refusals:
            raise refusals.pop()
        return await given(sock)

    monkeypatch.setattr(loop, "sock_accept", sock_accept)
    s.agent.answers = lambda asked: asked.answer()
    for _ in range(2):
        async with tls_visitor(https_port(s), HOST) as visitor:
            assert (await visitor.request("GET", "/", host=HOST)).status == 200
    async with tls_visitor(https_port(s), HOST) as visitor:
        assert (await visitor.request("GET", "/", host=HOST)).status == 200
    assert refusals == []
    assert caplog.text.count("no connection can be accepted, retrying") == 1


async def test_a_fault_with_one_connection_lets_the_next_in(s: Scene, monkeypatch, caplog):
    enter, faults = s.relay.ingress.enter, [ValueError("ours")]

    def entered(visit):
        if faults:
            raise faults.pop()
        return enter(visit)

    monkeypatch.setattr(s.relay.ingress, "enter", entered)
    s.agent.answers = lambda asked: asked.answer()
    async with AsyncExitStack() as stack:
        reader, _ = await half_open(stack, https_port(s), b"")
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
    async with tls_visitor(https_port(s), HOST) as visitor:
        assert (await visitor.request("GET", "/", host=HOST)).status == 200
    assert caplog.text.count("connection not accepted") == 1
