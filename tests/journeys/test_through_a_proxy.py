"""The agent as a process whose only way out is an HTTP proxy: without it the relay's name leads nowhere."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.support.proxy import HttpProxy, http_proxy
from tests.support.raw_http import connect
from tests.support.stack_tls import SecureStack

DOMAIN = "tun.example"
PASSWORD = "ann:s3cret p@ss"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureStack]:
    stack = SecureStack(tmp_path_factory.mktemp("relay"), DOMAIN)
    yield stack
    stack.stop()


@asynccontextmanager
async def way_out(stack: SecureStack) -> AsyncIterator[HttpProxy]:
    """A proxy that wants a password, and for which the relay's name leads to this machine."""
    async with http_proxy(password=PASSWORD) as proxy:
        proxy.target = ("127.0.0.1", stack.https_port)
        yield proxy


def flags(stack: SecureStack, name: str) -> tuple[str, ...]:
    token = stack.tokens("create", f"--owner={name}").out[-1].strip()
    relay = f"--relay=https://{DOMAIN}:{stack.https_port}"
    return relay, f"--relay-ca={stack.authority.ca_file}", f"--authtoken={token}", f"--subdomain={name}"


async def visited(stack: SecureStack, name: str) -> int:
    trust = ssl.create_default_context(cafile=str(stack.authority.ca_file))
    host = f"{name}.{DOMAIN}"
    async with connect(stack.https_port, tls=trust, sni=host) as visitor:
        return (await visitor.request("GET", "/echo", host=f"{host}:{stack.https_port}")).status


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
async def test_an_agent_reaches_its_relay_through_the_proxy_of_its_environment_and_again_after_a_restart(
    stack: SecureStack, app, variable: str
) -> None:
    name = variable.lower().replace("_", "-")
    async with way_out(stack) as proxy:
        env = {variable: proxy.url(credentials="ann:s3cret%20p%40ss"), "NO_PROXY": "other.example,10.0.0.0/8"}
        tunnel = await asyncio.to_thread(lambda: stack.tunnel(app.port, *flags(stack, name), env=env))
        assert tunnel.url == f"https://{name}.{DOMAIN}:{stack.https_port}"
        assert await visited(stack, name) == 200
        target = f"{DOMAIN}:{stack.https_port}"
        assert target in proxy.asked
        assert all(asked.endswith(f":{stack.https_port}") for asked in proxy.asked)

        before = proxy.asked.count(target)
        mark = len(tunnel.child.lines)
        await asyncio.to_thread(stack.relay.stop)
        await asyncio.to_thread(stack.start_relay)
        await asyncio.to_thread(tunnel.child.wait_for_record, "tunnel session started", after=mark)
        assert proxy.asked.count(target) > before
        assert await visited(stack, name) == 200
        assert await asyncio.to_thread(tunnel.child.stop) == 0
        assert "s3cret" not in tunnel.child.output


async def test_no_proxy_leads_past_the_proxy(stack: SecureStack, app) -> None:
    async with way_out(stack) as proxy:
        env = {"HTTPS_PROXY": proxy.url(), "NO_PROXY": f".{DOMAIN}"}
        child = await asyncio.to_thread(lambda: stack.agent(app.port, *flags(stack, "past"), env=env))
        await asyncio.to_thread(child.wait_for, lambda line: "cannot be resolved" in line)
        await asyncio.to_thread(child.stop)
        assert proxy.asked == []


async def test_a_proxy_that_refuses_the_password_ends_the_agent_and_is_named(stack: SecureStack, app) -> None:
    async with way_out(stack) as proxy:
        env = {"HTTPS_PROXY": proxy.url(credentials="ann:wr0ng")}
        child = await asyncio.to_thread(lambda: stack.agent(app.port, *flags(stack, "refused"), env=env))
        code = await asyncio.to_thread(child.wait)
        assert code != 0
        assert "407 Proxy Authentication Required" in child.output
        assert proxy.url() in child.output
        assert "wr0ng" not in child.output
