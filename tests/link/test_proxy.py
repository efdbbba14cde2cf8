"""The way out through an HTTP proxy: which one, for which address, and what each of its answers means."""

import asyncio
import contextlib
import ssl

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from tests.link.ends import User
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.proxy import http_proxy
from tests.support.waiting import PATIENCE
from tunnelctl.link.dial import DialFailed, dial
from tunnelctl.link.proxy import MAX_ANSWER, Proxy, ProxyInvalid, choose_proxy, is_excluded, parse_proxy

REFUSAL = b'HTTP/1.1 401 No\r\nContent-Length: 33\r\n\r\n{"error": {"message": "not you"}}'
SECRET = "s3cret-p@ss"


# Which proxy


@pytest.mark.parametrize(
    ("url", "environ", "chosen"),
    [
        ("https://tun.example", {"HTTPS_PROXY": "http://a:1"}, "http://a:1"),
        ("https://tun.example", {"https_proxy": "http://b:1", "HTTPS_PROXY": "http://a:1"}, "http://b:1"),
        ("https://tun.example", {"ALL_PROXY": "http://c:1"}, "http://c:1"),
        ("https://tun.example", {"all_proxy": "c:1"}, "http://c:1"),
        ("https://tun.example", {"http_proxy": "http://d:1"}, ""),
        ("http://192.0.2.1", {"http_proxy": "http://d:1"}, "http://d:1"),
        ("http://192.0.2.1", {"HTTP_PROXY": "http://d:1", "REQUEST_METHOD": "GET"}, ""),
        ("wss://tun.example", {"HTTPS_PROXY": "https://a"}, "https://a:443"),
        ("https://tun.example", {"HTTPS_PROXY": ""}, ""),
        ("https://tun.example", {}, ""),
        ("https://localhost", {"HTTPS_PROXY": "http://a:1"}, ""),
        ("https://x.localhost", {"ALL_PROXY": "http://a:1"}, ""),
        ("http://127.9.9.9:8080", {"http_proxy": "http://a:1"}, ""),
        ("http://[::1]:8080", {"http_proxy": "http://a:1"}, ""),
        ("https://tun.example", {"HTTPS_PROXY": "http://a:1", "NO_PROXY": "tun.example"}, ""),
        ("https://tun.example", {"HTTPS_PROXY": "http://a:1", "no_proxy": "other,.example"}, ""),
    ],
)
def test_the_environment_names_the_proxy_as_curl_reads_it(url, environ, chosen):
    proxy = choose_proxy(url, environ)
    assert (proxy.url if proxy else "") == chosen


def test_a_proxy_that_was_given_is_taken_for_every_address():
    proxy = choose_proxy("http://127.0.0.1:1", {"NO_PROXY": "*"}, "http://given:3128")
    assert proxy is not None
    assert proxy.url == "http://given:3128"


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "expected"),
    [
        ("tun.example", 443, "*", True),
        ("tun.example", 443, "TUN.example.", True),
        ("a.tun.example", 443, "tun.example", True),
        ("a.tun.example", 443, ".tun.example", True),
        ("tun.example", 443, "*.tun.example", True),
        ("nottun.example", 443, "tun.example", False),
        ("tun.example", 443, "tun.example:443", True),
        ("tun.example", 8443, "tun.example:443", False),
        ("192.0.2.7", 443, "192.0.2.0/24", True),
        ("192.0.2.7", 443, "10.0.0.0/8, 192.0.2.7", True),
        ("198.51.100.1", 443, "192.0.2.0/24", False),
        ("2001:db8::1", 443, "2001:db8::/32", True),
        ("2001:db8::1", 443, "[2001:db8::1]:443", True),
        ("2001:db8::1", 80, "[2001:db8::1]:443", False),
        ("10.0.0.1.example", 443, "10.0.0.0/8", False),
        ("tun.example", 443, "", False),
        ("tun.example", 443, " , ", False),
    ],
)
def test_no_proxy_names_hosts_domains_networks_and_ports(host, port, no_proxy, expected):
    assert is_excluded(host, port, no_proxy) is expected


@given(st.text(), st.text())
def test_no_list_and_no_host_is_too_odd_to_be_compared(host, no_proxy):
    assert is_excluded(host, 443, no_proxy) in (True, False)


@given(st.text())
def test_any_text_is_a_proxy_or_is_refused(text):
    with contextlib.suppress(ProxyInvalid):
        assert parse_proxy(text).host


@pytest.mark.parametrize("text", ["socks5://a:1", "ftp://a", "http://", "http://a:x", "http://u:hunter2@a/path", "://"])
def test_what_is_no_http_proxy_is_refused_without_its_password(text):
    with pytest.raises(ProxyInvalid) as caught:
        choose_proxy("https://tun.example", {"HTTPS_PROXY": text})
    assert str(caught.value).startswith("HTTPS_PROXY: ")
    assert "hunter2" not in str(caught.value)


def test_credentials_are_decoded_and_never_shown():
    proxy = parse_proxy("http://ann:s3cret-p%40ss@proxy.example:3128")
    assert proxy.credentials == f"ann:{SECRET}"
    assert "s3cret" not in repr(proxy) + proxy.url


# Through it


async def told(url: str, proxy: Proxy, *, ca_file: str | None = None, timeout: float = PATIENCE) -> DialFailed:
    with pytest.raises(DialFailed) as caught:
        await dial(url, user=User(), token="tt_secret", timeout=timeout, proxy=proxy, ca_file=ca_file)
    return caught.value


async def relay_that_refuses(tls: ssl.SSLContext | None = None):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(REFUSAL)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)


def contexts(tmp_path) -> tuple[str, ssl.SSLContext]:
    authority = Authority(tmp_path / "ca")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.issue("tun.example"))
    return str(authority.ca_file), server


@pytest.mark.parametrize("password", ["", f"ann:{SECRET}"])
async def test_a_relay_is_reached_through_a_proxy(password):
    server = await relay_that_refuses()
    port = server.sockets[0].getsockname()[1]
    async with http_proxy(password=password) as proxy:
        failed = await told(f"http://127.0.0.1:{port}", Proxy("http", "127.0.0.1", proxy.port, password))
    assert (failed.kind, failed.message) == ("refused", "not you")
    assert proxy.asked == [f"127.0.0.1:{port}"]
    assert b"tt_secret" not in proxy.heads[0]
    server.close()


def test_tls_runs_through_the_proxys_tunnel_to_the_relays_own_certificate(tmp_path):
    """On uvloop, as the agent runs: TLS begins on a connection that stands already."""

    async def through() -> tuple[DialFailed, list[str]]:
        ca_file, tls = contexts(tmp_path)
        server = await relay_that_refuses(tls)
        port = server.sockets[0].getsockname()[1]
        async with http_proxy() as proxy:
            proxy.target = ("127.0.0.1", port)
            failed = await told("https://tun.example", Proxy("http", "127.0.0.1", proxy.port), ca_file=ca_file)
            other = await told("https://other.example", Proxy("http", "127.0.0.1", proxy.port), ca_file=ca_file)
        server.close()
        assert (other.kind, "another name" in other.message) == ("barred", True)
        return failed, proxy.asked

    failed, asked = uvloop.run(through())
    assert (failed.kind, failed.message) == ("refused", "not you")
    assert asked == ["tun.example:443", "other.example:443"]


def test_a_proxy_that_is_spoken_to_by_tls_carries_tls(tmp_path, monkeypatch):
    async def through() -> DialFailed:
        ca_file, tls = contexts(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", ca_file)
        server = await relay_that_refuses(tls)
        async with http_proxy(tls) as proxy:
            proxy.target = ("127.0.0.1", server.sockets[0].getsockname()[1])
            failed = await told("https://tun.example", Proxy("https", "127.0.0.1", proxy.port), ca_file=ca_file)
        server.close()
        return failed

    failed = uvloop.run(through())
    assert (failed.kind, failed.message) == ("refused", "not you")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n<html>policy", "barred", "403 Forbidden"),
        (b"HTTP/1.1 405 Method Not Allowed\r\n\r\n", "barred", "405 Method Not Allowed"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "unreachable", "502 Bad Gateway"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "unreachable", "503 Service Unavailable"),
        (b"HTTP/1.1 nonsense\r\n\r\n", "unreachable", "does not connect"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "barred", "no http:// proxy"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "barred", "no http:// proxy"),
        (b"HTTP/1.1 " + b"x" * (2 * MAX_ANSWER), "barred", "no http:// proxy"),
    ],
)
async def test_each_refusal_of_a_proxy_is_told_with_its_address(answer, kind, words):
    async with http_proxy(answer=answer) as proxy:
        failed = await told("https://tun.example", Proxy("http", "127.0.0.1", proxy.port))
    assert failed.kind == kind
    assert words in failed.message
    assert proxy.url() in failed.message


@pytest.mark.parametrize("given", ["", "ann:wrong"])
async def test_a_proxy_that_wants_a_password_ends_the_first_try_and_says_so(given):
    async with http_proxy(password=f"ann:{SECRET}") as proxy:
        failed = await told("https://tun.example", Proxy("http", "127.0.0.1", proxy.port, given))
    assert failed.kind == "barred"
    assert "407 Proxy Authentication Required" in failed.message
    assert "password" in failed.hint
    assert "wrong" not in failed.message + failed.hint


async def test_a_proxy_that_never_answers_is_given_up_in_time_and_named():
    async with http_proxy(answer=b"") as proxy:
        failed = await told("https://tun.example", Proxy("http", "127.0.0.1", proxy.port), timeout=0.05)
    assert failed.kind == "unreachable"
    assert proxy.url() in failed.message


async def test_a_proxy_that_is_not_there_is_worth_another_try_and_named():
    port = free_port()
    failed = await told("https://tun.example", Proxy("http", "127.0.0.1", port))
    assert failed.kind == "unreachable"
    assert failed.message.endswith(f"no connection to the proxy http://127.0.0.1:{port}: connection refused")
