"""What each listener does by the settings: every combination, with real listeners."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.raw_http import Response, connect, request_bytes
from tests.support.scripted_agent import ScriptedAgent
from tunnelctl.link.dial import DialFailed
from tunnelrelay.app.relay import Relay
from tunnelrelay.config.config import RelayConfig, load_config
from tunnelrelay.config.sources import ConfigError

DOMAINS = {"localhost": "tun.localhost", "public": "tun.example"}
BINDS = {"off": "off", "loopback": "127.0.0.1:0", "network": "0.0.0.0:0"}
COMBINATIONS = list(product(BINDS, BINDS, ("", "http", "https"), DOMAINS, ("", "127.0.0.0/8")))
"""http, https, scheme of public_url, domain, trusted_proxy."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    authority.issue("*.tun.example")
    return authority


def flags_of(authority: Authority, http: str, https: str, url: str, domain: str, proxy: str) -> dict[str, Any]:
    found: dict[str, Any] = {"http": BINDS[http], "https": BINDS[https], "domain": DOMAINS[domain], "admin": "off"}
    if https != "off":
        found |= {"tls_cert": str(authority.folder / "cert.pem"), "tls_key": str(authority.folder / "key.pem")}
    if url:
        found["public_url"] = f"{url}://*.{DOMAINS[domain]}"
    if proxy:
        found["trusted_proxy"] = (proxy,)
    return found


def expected(http: str, https: str, url: str, domain: str) -> str:
    """What a combination comes to, written down again: `refused`, or what plain http does."""
    if http == https == "off" or (https != "off" and url == "http"):
        return "refused"
    is_tried_here = http == "loopback" and not url
    if https == "off" and url != "https" and domain == "public" and not is_tried_here:
        return "refused"
    return "off" if http == "off" else "redirects" if https != "off" else "serves"


@asynccontextmanager
async def running(config: RelayConfig) -> AsyncIterator[Relay]:
    async with Relay(config) as relay:
        yield relay


def anyone(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    context.check_hostname = False
    return context


async def ask(port: int, data: bytes, method: str, tls: ssl.SSLContext | None = None, sni: str = "") -> Response:
    async with connect(port, tls=tls, sni=sni) as visitor:
        await visitor.send(data)
        return await visitor.response(method)


@pytest.mark.parametrize(("http", "https", "url", "domain", "proxy"), COMBINATIONS)
async def test_every_combination_does_what_the_table_says(
    tmp_path: Path, authority: Authority, http: str, https: str, url: str, domain: str, proxy: str
):
    flags = {**flags_of(authority, http, https, url, domain, proxy), "data_dir": str(tmp_path), "drain_seconds": "0"}
    wanted = expected(http, https, url, domain)
    if wanted == "refused":
        with pytest.raises(ConfigError):
            load_config(flags=flags, env={})
        return
    config = load_config(flags=flags, env={})
    host = f"idp.{DOMAINS[domain]}"
    scheme = url or ("http" if https == "off" else "https")
    hsts = "max-age=31536000" if scheme == "https" and domain == "public" else None
    async with running(config) as relay:
        assert relay.address.scheme == scheme
        if relay.https is not None:
            answer = await ask(relay.https[1], request_bytes("GET", "/x", host=host), "GET", anyone(authority), host)
            assert (answer.status, answer.get("strict-transport-security")) == (404, hsts)
        if relay.http is None:
            return
        port = relay.http[1]
        page = request_bytes("GET", "/x?y", host=host)
        told = request_bytes("GET", "/x?y", host=host, fields=[("X-Forwarded-Proto", "https")])
        form = request_bytes("POST", "/x", host=host, fields=[("Authorization", "Bearer t")], body=b"a=b")
        plain, behind, posted = [await ask(port, data, "GET") for data in (page, told, form)]
        if wanted == "serves":
            assert [answer.status for answer in (plain, behind, posted)] == [404, 404, 404]
            assert plain.get("strict-transport-security") == hsts
        else:
            assert (plain.status, plain.get("location")) == (308, f"{relay.address.url(host)}/x?y")
            assert plain.get("strict-transport-security") is None
            assert behind.status == (404 if proxy else 308)
            assert (posted.status, posted.get("tunnel-error")) == (403, "https_required")
            assert posted.get("strict-transport-security") is None


@pytest.mark.parametrize("url", ["", "https"])
async def test_an_agent_without_tls_hears_that_it_needs_it(tmp_path: Path, authority: Authority, url: str):
    flags = {**flags_of(authority, "loopback", "loopback", url, "localhost", ""), "data_dir": str(tmp_path)}
    async with running(load_config(flags=flags, env={})) as relay:
        assert relay.http is not None
        agent = ScriptedAgent()
        with pytest.raises(DialFailed, match="without TLS") as caught:
            # Linux connects to itself there, and the relay sees an address that is not loopback's.
            await agent.connect(0, url=f"http://0.0.0.0:{relay.http[1]}", token="tt_secret")

    assert (caught.value.kind, caught.value.status) == ("refused", 403)
    assert "https://" in caught.value.hint


@pytest.mark.parametrize(
    ("flags", "warned"),
    [
        ({"http": "0.0.0.0:0", "public_url": "https://*.tun.example"}, ["without the proxy", "address of the proxy"]),
        ({"http": "127.0.0.1:0", "public_url": "https://*.tun.example", "trusted_proxy": ("127.0.0.1",)}, []),
        ({"http": "127.0.0.1:0", "domain": "tun.example"}, ["plain http and answer on this machine only"]),
        ({"http": "127.0.0.1:0"}, []),
    ],
)
def test_what_is_odd_is_warned_of(flags: dict[str, Any], warned: list[str]):
    warnings = load_config(flags=flags, env={}).warnings

    assert len(warnings) == len(warned)
    assert all(text in warning for text, warning in zip(warned, warnings, strict=True))
