"""Calls on a tenant's behalf reach public addresses only (rows 131-133, 136)."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest

from tests.oidc.world import TUN_EXAMPLE, connection
from tests.support.certificates import Authority
from tests.support.every import every
from tunnelctl.oidc.errors import ProviderError
from tunnelrelay.oidc.providers.fetch import Fetcher
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.providers.ssrf_guard import LOOPBACK, CallRefused, GuardedTransport, GuardRules, provider_tls

STRANGERS = replace(TUN_EXAMPLE, is_multi_tenant=True)
PUBLIC = "93.184.216.34"
PUBLIC_RULES = GuardRules(is_own=lambda host, port: host == "tun.example" or host.endswith(".tun.example"))
LOCAL_RULES = GuardRules(
    allow_http=True,
    ports=None,
    networks=LOOPBACK,
    is_own=lambda host, port: host.endswith("localhost") and port == 8080,
)


class Dials(httpcore.AsyncNetworkBackend):
    """A network that notes who is dialled and answers nobody."""

    def __init__(self, refusing: Iterable[str] = ()) -> None:
        self.dialled: list[tuple[str, int]] = []
        self.refusing = set(refusing)

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        if host in self.refusing:
            raise httpcore.ConnectError("refused")
        return httpcore.AsyncMockStream([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"])

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def call(url: str, *answers: str, rules: GuardRules = PUBLIC_RULES, dials: Dials | None = None) -> Dials:
    """Calls a URL whose host resolves to these addresses. Returns who was dialled."""
    dials = dials or Dials()

    async def resolve(host: str, owner: str) -> list[str]:
        return list(answers)

    transport = GuardedTransport(rules, connect=dials, resolve=resolve)
    try:
        response = await transport.handle_async_request(httpx.Request("GET", url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for _ in response.stream:
            pass
        await response.aclose()
    finally:
        await transport.aclose()
    return dials


async def test_a_public_address_is_dialled_by_number() -> None:
    # http, so that the fake network needs no certificate.
    rules = GuardRules(allow_http=True, ports=None)
    assert (await call("http://op.example/x", PUBLIC, rules=rules)).dialled == [(PUBLIC, 80)]


@every("address", [
        "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "192.0.0.1", "198.18.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1",
        "ff02::1", "ff0e::1", "2001:db8::1", "::ffff:0:127.0.0.1", "100::1", "not an address", "",
    ])  # fmt: skip
async def test_row_131_an_inner_address_is_refused_at_dial(address: str) -> None:
    dials = Dials()
    with pytest.raises(CallRefused):
        await call("https://op.example/", address, dials=dials)
    assert dials.dialled == []


@pytest.mark.parametrize("answers", [(PUBLIC, "127.0.0.1"), ("127.0.0.1", PUBLIC), (PUBLIC, "::1"), ("::1",), ()])
async def test_row_132_one_inner_answer_poisons_all(answers: tuple[str, ...]) -> None:
    dials = Dials()
    with pytest.raises(CallRefused):
        await call("https://op.example/", *answers, dials=dials)
    assert dials.dialled == []


async def test_row_132_a_name_is_resolved_once_and_what_was_checked_is_dialled() -> None:
    rounds: AsyncIterator[list[str]] | list[list[str]] = [[PUBLIC], ["127.0.0.1"]]

    async def resolve(host: str, owner: str) -> list[str]:
        assert isinstance(rounds, list)
        return rounds.pop(0)

    dials = Dials()
    transport = GuardedTransport(GuardRules(allow_http=True, ports=None), connect=dials, resolve=resolve)
    await transport.handle_async_request(httpx.Request("GET", "http://op.example/"))
    assert dials.dialled == [(PUBLIC, 80)]
    await transport.aclose()


@every("url", [
        "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:7f00:1]/", "https://8.8.8.8/", "https://0.0.0.0/",
        "https://idp.tun.example/", "https://app.tun.example/", "https://tun.example./", "https://TUN.example/",
        "http://op.example/", "https://op.example:22/", "https://op.example:8443/",
        "https://user@op.example/", "https://good.example@op.example/", "https://user:pw@op.example/",
        "https://op.example/#x", "https://good.example#@op.example/", "ftp://op.example/", "gopher://op.example/",
        "file:///etc/passwd", "https:///x", "ws://op.example/",
    ])  # fmt: skip
async def test_rows_131_133_136_an_address_of_the_wrong_form_is_refused_before_resolving(url: str) -> None:
    dials = Dials()
    with pytest.raises((CallRefused, httpx.InvalidURL, httpx.UnsupportedProtocol)):
        await call(url, PUBLIC, dials=dials)
    assert dials.dialled == []


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "127。0。0。1"])
async def test_row_131_odd_spellings_of_loopback_do_not_get_through(host: str) -> None:
    """Whatever the resolver makes of them is checked again, by number."""
    with pytest.raises(ProviderError):
        await Fetcher(GuardedTransport(PUBLIC_RULES, connect=Dials())).get(f"https://{host}/")


@pytest.mark.parametrize("url", ["http://op.example/\tx", "https://op.example\r\n/", "https://op\t.example/"])
def test_row_136_control_characters_make_no_url(url: str) -> None:
    with pytest.raises(httpx.InvalidURL):
        httpx.URL(url)


async def test_on_domain_localhost_loopback_and_plain_http_are_fine_and_nothing_else_inner_is() -> None:
    assert (await call("http://localhost:9400/", "127.0.0.1", rules=LOCAL_RULES)).dialled == [("127.0.0.1", 9400)]
    assert (await call("http://127.0.0.1:9400/", "127.0.0.1", rules=LOCAL_RULES)).dialled == [("127.0.0.1", 9400)]
    for url, address in (
        ("http://op.example/", "169.254.169.254"),
        ("http://op.example/", "10.0.0.1"),
        ("http://10.0.0.1/", "10.0.0.1"),
        ("http://app.localhost:8080/", "127.0.0.1"),
    ):
        with pytest.raises(CallRefused):
            await call(url, address, rules=LOCAL_RULES)


class Documents(Dials):
    """A network in which whoever is dialled publishes this document."""

    def __init__(self, document: dict[str, str]) -> None:
        super().__init__()
        self.body = json.dumps(document).encode()

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        return httpcore.AsyncMockStream([head.encode(), self.body])


@pytest.mark.parametrize("member", ["token_endpoint", "jwks_uri", "userinfo_endpoint"])
@pytest.mark.parametrize("inner", ["http://inner.example/x", "http://169.254.169.254/x"])
async def test_row_133_a_public_providers_document_leads_nowhere_inside(member: str, inner: str) -> None:
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
    document = {"issuer": "http://op.example", **{name: f"http://op.example/{name}" for name in names}, member: inner}
    dials = Documents(document)

    async def resolve(host: str, owner: str) -> list[str]:
        return [PUBLIC if host == "op.example" else "169.254.169.254"]

    # http, so that the fake network needs no certificate.
    transport = GuardedTransport(GuardRules(allow_http=True, ports=None), connect=dials, resolve=resolve)
    providers = ProviderClient(fetcher=Fetcher(transport), clock=lambda: 1.0, allow_http=True)
    owners = connection(issuer="http://op.example")
    metadata = await providers.metadata(owners)
    address = getattr(metadata, member)
    with pytest.raises(ProviderError) as caught:
        await Fetcher(transport).get(address)
    problems = await providers.check(owners) if member == "jwks_uri" else []
    await providers.aclose()

    assert address == inner
    assert caught.value.kind == "unreachable"
    assert {host for host, _ in dials.dialled} == {PUBLIC}
    assert all("169.254" not in problem and "inner" not in problem for problem in problems)


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    rules, dials = GuardRules(allow_http=True, ports=None), Dials(refusing=[PUBLIC])
    assert len((await call("http://op.example/", PUBLIC, "93.184.216.35", rules=rules, dials=dials)).dialled) == 2


async def test_names_under_localhost_are_loopback_without_asking_anybody() -> None:
    dials = Dials(refusing=["127.0.0.1"])
    transport = GuardedTransport(LOCAL_RULES, connect=dials)
    await transport.handle_async_request(httpx.Request("GET", "http://op.localhost:9400/"))
    assert dials.dialled == [("127.0.0.1", 9400), ("::1", 9400)]
    await transport.aclose()


async def test_row_135_a_refused_call_is_as_unreachable_as_a_dead_one() -> None:
    transport = GuardedTransport(PUBLIC_RULES, connect=Dials())
    with pytest.raises(ProviderError) as caught:
        await Fetcher(transport).get("https://127.0.0.1/")
    assert caught.value.kind == "unreachable"


async def test_a_name_is_looked_up_on_its_owners_account() -> None:
    asked: list[tuple[str, str]] = []

    async def resolve(host: str, owner: str) -> list[str]:
        asked.append((host, owner))
        return []

    fetcher = Fetcher(GuardedTransport(PUBLIC_RULES, connect=Dials(), resolve=resolve))
    for owner in ("ann", "eve"):
        with pytest.raises(ProviderError) as caught:
            await ProviderClient(fetcher=fetcher, clock=lambda: 1.0).metadata(
                connection(owner=owner, issuer="https://op.example")
            )
        assert "cannot be resolved" in caught.value.detail
    assert asked == [("op.example", "ann"), ("op.example", "eve")]


# Ports


@pytest.mark.parametrize("address", [TUN_EXAMPLE, STRANGERS])
@pytest.mark.parametrize("issuer", ["https://op.example", "https://op.example:443", "https://op.example:8443/realms/x"])
def test_a_public_relay_calls_the_usual_ports(address: Any, issuer: str) -> None:
    assert GuardRules.of_relay(address, ()).issuer_fault(issuer) == ""


def test_owners_that_are_known_may_name_any_port_and_strangers_may_not() -> None:
    issuer = "https://op.example:9443"
    assert GuardRules.of_relay(TUN_EXAMPLE, ()).issuer_fault(issuer) == ""
    assert "--issuer-port 9443" in GuardRules.of_relay(STRANGERS, ()).issuer_fault(issuer)


@pytest.mark.parametrize("address", [TUN_EXAMPLE, STRANGERS])
def test_the_operators_word_on_ports_counts_alone(address: Any) -> None:
    rules = GuardRules.of_relay(address, (), (9443,))
    assert rules.issuer_fault("https://op.example:9443") == ""
    for issuer in ("https://op.example", "https://op.example:8443", "https://op.example:22"):
        assert "port" in rules.issuer_fault(issuer)


@pytest.mark.parametrize("port", [65_536 + 443, 65_536 + 22, 2 * 65_536 + 8443, 99_999_999])
@pytest.mark.parametrize("address", [TUN_EXAMPLE, STRANGERS])
async def test_row_133_a_number_that_is_no_port_is_not_dialled_as_another(address: Any, port: int) -> None:
    dials = Dials()

    async def resolve(host: str, owner: str) -> list[str]:
        return ["93.184.216.34"]

    transport = GuardedTransport(GuardRules.of_relay(address, ()), connect=dials, resolve=resolve)
    with pytest.raises(ProviderError):
        await Fetcher(transport).get(f"https://op.example:{port}/x", issuer=f"https://op.example:{port}")
    assert dials.dialled == []


@pytest.mark.parametrize(
    "issuer",
    ["https://8.8.8.8:9443", "https://idp.tun.example:9443", "http://op.example:9443", "https://u@op.example:9443"],
)
def test_a_port_of_ones_own_opens_no_other_door(issuer: str) -> None:
    assert GuardRules.of_relay(TUN_EXAMPLE, ()).issuer_fault(issuer)


async def test_row_131_at_an_issuers_own_port_too_only_public_addresses_are_dialled() -> None:
    dials = Dials()

    async def resolve(host: str, owner: str) -> list[str]:
        return ["10.0.0.8"]

    transport = GuardedTransport(GuardRules.of_relay(TUN_EXAMPLE, ()), connect=dials, resolve=resolve)
    with pytest.raises(ProviderError) as caught:
        await Fetcher(transport).get("https://op.example:9443/x", issuer="https://op.example:9443")
    assert "--issuer-network" in caught.value.detail
    assert dials.dialled == []


@pytest.mark.parametrize("url", ["https://other.example:9443/", "https://op.example:22/", "https://x.op.example:9443/"])
async def test_row_133_an_endpoint_elsewhere_is_not_called_at_the_issuers_port(url: str) -> None:
    dials = Dials()
    transport = GuardedTransport(GuardRules.of_relay(TUN_EXAMPLE, ()), connect=dials)
    with pytest.raises(ProviderError) as caught:
        await Fetcher(transport).get(url, issuer="https://op.example:9443")
    assert (caught.value.kind, dials.dialled) == ("refused", [])


async def test_a_refused_port_is_told_to_the_owner_by_the_check() -> None:
    transport = GuardedTransport(GuardRules.of_relay(STRANGERS, ()), connect=Dials())
    providers = ProviderClient(fetcher=Fetcher(transport), clock=lambda: 1.0)
    (problem,) = await providers.check(connection(issuer="https://op.example:9443"))
    assert "port 9443" in problem
    assert "--issuer-port 9443" in problem


# Certificates


@asynccontextmanager
async def tls_server(authority: Authority) -> AsyncIterator[int]:
    """Answers `{}` to everybody, with a certificate for `localhost`. Yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("op.example"))
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_private_authority_is_trusted_once_the_operator_gives_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with tls_server(authority) as port:
        trusting = Fetcher(GuardedTransport(LOCAL_RULES, tls=provider_tls(authority.ca_file)))
        assert (await trusting.get(f"https://localhost:{port}/")).status == 200
        await trusting.aclose()

        plain = Fetcher(GuardedTransport(LOCAL_RULES, tls=provider_tls(None)))
        with pytest.raises(ProviderError) as caught:
            await plain.get(f"https://localhost:{port}/")
        await plain.aclose()
    assert caught.value.kind == "untrusted"
    assert "certificate" in caught.value.detail
    assert "--issuer-ca" in caught.value.detail


def test_the_systems_authorities_stay_trusted_beside_the_operators(tmp_path: Path) -> None:
    known = len(provider_tls(None).get_ca_certs())
    assert len(provider_tls(Authority(tmp_path).ca_file).get_ca_certs()) == known + 1
