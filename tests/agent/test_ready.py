import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tunnelctl.agent.address import RelayAddress
from tunnelctl.agent.ready import MAX_ANSWER, is_ready_request, probe, proof, ready_head

INSTANCE = "cd" * 16


@contextlib.asynccontextmanager
async def relay(answer):
    """A relay that writes `answer`, and the heads it was sent."""
    heads = []

    async def handle(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        with contextlib.suppress(ConnectionError):
            await answer(writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield RelayAddress("http", "127.0.0.1", server.sockets[0].getsockname()[1]), heads
    finally:
        server.close()


def says(data):
    async def answer(writer):
        writer.write(data)
        await writer.drain()

    return answer


async def ask(address, url="https://demo.tun.example", timeout=5.0):
    return await probe(address, url, instance=INSTANCE, ca_file=None, timeout=timeout)


async def test_it_asks_the_relays_address_for_the_public_host():
    async with relay(says(b"HTTP/1.1 200 OK\r\n\r\n" + proof(INSTANCE))) as (address, heads):
        assert await ask(address, "http://demo.localhost:8080") == ""
    fields = b"Host: demo.localhost:8080\r\nTunnel-Agent: %b\r\nConnection: close\r\n" % proof(INSTANCE)
    assert heads == [b"GET /_tunnel/ready HTTP/1.1\r\n%b\r\n" % fields]
    assert is_ready_request(heads[0])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n" + proof(INSTANCE), "the relay answered 404"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"0" * 32, "another agent answered"),
        (b"HTTP/1.1 200 OK\r\nX: " + proof(INSTANCE) + b"\r\n\r\n", "another agent answered"),
        (b"SSH-2.0-x\r\n", "the relay's answer is not HTTP/1.1"),
        (b"", "the relay closed the connection"),
    ],
)
async def test_only_our_own_answer_counts(answer, why):
    async with relay(says(answer)) as (address, _):
        assert await ask(address) == why


async def test_an_endless_answer_is_cut_off():
    async def answer(writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * MAX_ANSWER)
            await writer.drain()

    async with relay(answer) as (address, _):
        assert await ask(address) == "another agent answered"


async def test_a_relay_that_hangs_is_left_in_time():
    forever = asyncio.Event()

    async def answer(writer):
        await forever.wait()

    async with relay(answer) as (address, _):
        assert await ask(address, timeout=0.05) == "no answer in 0 s"
        forever.set()


async def test_a_relay_that_is_gone_is_a_reason_and_no_exception():
    async with relay(says(b"")) as (address, _):
        pass
    assert await ask(address) == "connection refused"


@pytest.mark.parametrize("url", ["http://[", "https://a\0b"])
async def test_a_relay_that_gives_a_broken_address_is_a_reason_and_no_exception(url):
    assert await ask(RelayAddress("http", "127.0.0.1", 1), url)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A PEM file with key and certificate of `*.tun.example`, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tun.example")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("*.tun.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "relay.pem"
    path.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return path


@contextlib.asynccontextmanager
async def tls_relay(certificate):
    """A relay with TLS, and the names it was asked for."""
    names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _, name, __: names.append(name)

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + proof(INSTANCE))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield RelayAddress("https", "127.0.0.1", server.sockets[0].getsockname()[1]), names
    finally:
        server.close()


async def test_over_tls_the_public_name_is_asked_for_and_verified(certificate):
    async with tls_relay(certificate) as (address, names):
        asked = {"instance": INSTANCE, "ca_file": str(certificate), "timeout": 5.0}
        assert await probe(address, "https://demo.tun.example", **asked) == ""
        assert "does not hold for https://demo.other.example" in await probe(
            address, "https://demo.other.example", **asked
        )
    assert names == ["demo.tun.example", "demo.other.example"]


async def test_a_certificate_of_an_unknown_authority_is_a_reason(certificate):
    async with tls_relay(certificate) as (address, _):
        reason = await ask(address)
    assert "certificate does not hold" in reason


def test_the_answer_to_a_probe_is_a_200_that_nobody_stores():
    assert ready_head(32) == b"\x00\xc8Content-Type: text/plain\r\nCache-Control: no-store\r\nContent-Length: 32\r\n"
