"""A service that speaks no HTTP behind the real programs: its banner comes first, and it outlives agent and relay."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio

from tests.support.ports import free_port
from tests.support.raw_http import connect
from tests.support.stack import Tunnel, stacked
from tests.support.waiting import PATIENCE

BANNER = b"+OK ready\r\n"


@asynccontextmanager
async def service() -> AsyncIterator[int]:
    """Greets, then answers each line with the line, as POP3 and Redis do. Gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BANNER)
        while line := await reader.readline():
            writer.write(b"+" + line)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest_asyncio.fixture
async def app() -> AsyncIterator[int]:
    async with service() as port:
        yield port


async def talk(tunnel: Tunnel) -> bytes:
    """What a visitor hears who says PING and closes its half."""
    async with connect(int(tunnel.url.rpartition(":")[2])) as visitor, asyncio.timeout(PATIENCE):
        banner = await visitor.reader.readline()
        await visitor.send(b"PING\r\n")
        visitor.send_eof()
        return banner + await visitor.reader.read()


async def test_a_service_is_reached_at_the_address_that_is_printed_and_logged(app, tmp_path):
    port = free_port()
    with stacked(tmp_path / "relay", f"--tcp-ports={port}") as stack:
        tunnel = await asyncio.to_thread(stack.tunnel, app, command="tcp")

        assert tunnel.url == f"tcp://localhost:{port}"
        assert await talk(tunnel) == BANNER + b"+PING\r\n"
        record = await asyncio.to_thread(tunnel.child.wait_for_record, "exchange")
        assert (record["method"], record["status"], record["peer"]) == ("TCP", 200, "127.0.0.1")
        line = await asyncio.to_thread(stack.relay.wait_for, lambda line: '"method":"TCP"' in line)
        assert f'"host":"tcp://localhost:{port}"' in line


async def test_the_address_is_the_same_after_agent_and_relay_were_killed(app, tmp_path):
    with stacked(tmp_path / "relay", f"--tcp-ports={free_port()}") as stack:
        tunnel = await asyncio.to_thread(stack.tunnel, app, command="tcp")
        tunnel.child.kill()
        second = await asyncio.to_thread(stack.tunnel, app, command="tcp")
        heard = await talk(second)
        mark = len(second.child.lines)
        stack.relay.kill()
        await asyncio.to_thread(stack.start_relay)
        back = await asyncio.to_thread(second.child.wait_for_record, "started tunnel", after=mark)

        assert tunnel.url == second.url == back["url"]
        assert heard == await talk(second) == BANNER + b"+PING\r\n"


async def test_a_relay_without_ports_ends_the_agent_with_what_to_do(app, tmp_path):
    with stacked(tmp_path / "relay") as stack:
        child = stack.agent(app, command="tcp")
        code = await asyncio.to_thread(child.wait)

    assert code == 2
    assert "--tcp-ports" in child.output
