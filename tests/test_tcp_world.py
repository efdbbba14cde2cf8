"""Tcp tunnels from the visitor's socket to the service's, and who has which port over time."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_ports, is_free
from tests.support.raw_http import RawConnection, connect
from tests.support.waiting import PATIENCE, turns
from tests.support.world import World, world
from tunnelctl.agent.outcome import Invalid, NameTaken
from tunnelctl.wire.messages import PolicySpec
from tunnelrelay.agents.authtokens import create
from tunnelrelay.agents.tcp_addresses import ALWAYS
from tunnelrelay.config.values import PortRange

MIB = 1 << 20
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def service(serve: Serve) -> AsyncIterator[int]:
    """A local service. Gives its port."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def tcp_world(tmp_path: Path, count: int = 2, **settings: object) -> AsyncIterator[World]:
    ranges = tuple(PortRange(None, port, port) for port in free_ports(count))
    async with world(tmp_path, tcp_ports=ranges, **settings) as w:
        yield w


def port_of(url: str) -> int:
    scheme, host, port = url.split(":")
    assert (scheme, host) == ("tcp", "//localhost")
    return int(port)


def first_port(w: World) -> int:
    return w.relay.config.tcp_ports[0].first


async def rest(visitor: RawConnection) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await visitor.reader.read()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_a_visitor_reaches_the_service_and_each_half_ends_by_itself(tmp_path):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-test\r\n")
        heard = await reader.read()
        writer.write(heard[::-1])
        writer.close()

    async with service(serve) as app, tcp_world(tmp_path) as w:
        tunnel = await w.tunnel(app, host="tcp://")
        async with connect(port_of(tunnel.url)) as visitor:
            assert await visitor.reader.readline() == b"SSH-2.0-test\r\n"
            await visitor.send(b"abc")
            visitor.send_eof()
            assert await rest(visitor) == b"cba"

    assert [(each.method, each.status, each.code) for each in tunnel.diary.exchanges] == [(b"TCP", 200, None)]


async def test_the_service_may_end_its_half_first(tmp_path):
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        heard.set_result(await reader.read())
        writer.close()

    async with service(serve) as app, tcp_world(tmp_path) as w:
        tunnel = await w.tunnel(app, host="tcp://")
        async with connect(port_of(tunnel.url)) as visitor:
            assert await rest(visitor) == b"bye"
            await visitor.send(b"late")
            visitor.send_eof()
            assert await heard == b"late"


@pytest.mark.parametrize("who", ["visitor", "service"])
async def test_a_reset_of_one_side_is_a_reset_at_the_other(tmp_path, who):
    there = asyncio.Event()
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def cut(writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        there.set()
        if who == "service":
            cut(writer)
            return
        try:
            ended.set_result(f"end {await reader.read()!r}")
        except ConnectionResetError:
            ended.set_result("reset")

    async with service(serve) as app, tcp_world(tmp_path) as w:
        tunnel = await w.tunnel(app, host="tcp://")
        async with connect(port_of(tunnel.url)) as visitor:
            await visitor.send(b"x")
            await there.wait()
            if who == "visitor":
                cut(visitor.writer)
                assert await ended == "reset"
            else:
                with pytest.raises(ConnectionResetError):
                    await rest(visitor)


async def test_eight_mib_pass_each_way_at_once_to_readers_that_are_slow(tmp_path):
    sent = bytes(range(256)) * (8 * MIB // 256)
    go_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await go_on.wait()
        heard = await reader.read()
        await writer.drain()
        assert heard == sent
        writer.close()

    async with service(serve) as app, tcp_world(tmp_path) as w:
        tunnel = await w.tunnel(app, host="tcp://")
        async with connect(port_of(tunnel.url)) as visitor:
            visitor.writer.write(sent)
            visitor.send_eof()
            relay_link = next(iter(w.relay.registry.tunnels())).link
            async with asyncio.timeout(PATIENCE):
                while not any(stream.is_full for stream in relay_link.session.streams):  # noqa: ASYNC110  # nothing tells of it
                    await asyncio.sleep(0)
            (stream,) = relay_link.session.streams
            assert stream.queued < MIB
            go_on.set()
            assert await rest(visitor) == sent


async def test_a_service_that_is_not_there_closes_the_connection_and_is_said_to_be_away(tmp_path):
    (nowhere,) = free_ports(1)
    async with tcp_world(tmp_path) as w:
        tunnel = await w.tunnel(nowhere, host="tcp://")
        async with connect(port_of(tunnel.url)) as visitor:
            with pytest.raises(ConnectionResetError):
                await rest(visitor)

    (exchange,) = tunnel.diary.exchanges
    assert exchange.reason == "connection refused"
    assert "app: connection refused" in tunnel.diary.events


async def test_a_network_that_is_kept_out_reaches_nothing(tmp_path):
    reached = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            reached.set()
        writer.close()

    async with service(serve) as app, tcp_world(tmp_path) as w:
        tunnel = await w.tunnel(app, host="tcp://", policy=PolicySpec(cidr_deny=("127.0.0.0/8",)))
        async with connect(port_of(tunnel.url)) as visitor:
            visitor.writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                await rest(visitor)
    assert not reached.is_set()
    assert not tunnel.diary.exchanges


async def test_web_and_tcp_tunnels_do_not_take_each_others_visitors(tmp_path):
    async with service(echo) as app, tcp_world(tmp_path) as w:
        tunnel = await w.tunnel(app, host="tcp://")
        answer = await tunnel.fetch("GET", "/")
        named = await tunnel.world.tunnel(app, host="tcp://", name="second")

    assert answer.status == 400  # no Host names the port of a tcp tunnel
    assert port_of(named.url) != port_of(tunnel.url)


async def test_an_agent_comes_back_to_its_port_when_the_relay_restarts(tmp_path):
    async with service(echo) as app, tcp_world(tmp_path) as w:
        tunnel = await w.tunnel(app, host="tcp://")
        before = tunnel.url
        await w.relay.stop()
        await w.start_relay()
        await tunnel.until_started()
        assert tunnel.url == before
        async with connect(port_of(before)) as visitor:
            await visitor.send(b"again")
            visitor.send_eof()
            assert await rest(visitor) == b"again"


async def test_a_killed_agents_port_is_its_owners_next_agents(tmp_path):
    async with service(echo) as app, tcp_world(tmp_path, count=1) as w:
        tunnel = await w.tunnel(app, host="tcp://")
        (link,) = {each.link for each in w.relay.registry.tunnels()}
        tunnel.running.cancel()
        link.transport.abort()  # as the kernel of a killed agent does
        again = await w.tunnel(app, host="tcp://")
        assert again.url == tunnel.url
        async with connect(port_of(again.url)) as visitor:
            await visitor.send(b"here")
            visitor.send_eof()
            assert await rest(visitor) == b"here"


async def test_a_port_of_one_owner_is_refused_to_another_and_freed_when_its_tunnel_ends(tmp_path):
    async with service(echo) as app, tcp_world(tmp_path, domain="tun.localhost", multi_tenant=True) as w:
        wish = f"tcp://:{first_port(w)}"
        tokens = {owner: (await create(w.relay.store, owner))[0] for owner in ("ann", "bob")}
        ann = await w.tunnel(app, token=tokens["ann"], host=wish)
        bob = w.agent(app, token=tokens["bob"], host=wish)
        outcome = await bob.running
        await ann.stop()

        assert isinstance(outcome, NameTaken)
        assert "--remote-addr" in outcome.hint
        assert w.relay.registry.find(f"tcp://tun.localhost:{first_port(w)}") is None


async def test_another_owner_who_asks_for_a_port_whose_agent_was_lost_does_not_open_it(tmp_path):
    settings = {"domain": "tun.localhost", "multi_tenant": True, "hold_seconds": 0.0}
    async with service(echo) as app, tcp_world(tmp_path, **settings) as w:
        port = first_port(w)
        tokens = {owner: (await create(w.relay.store, owner))[0] for owner in ("ann", "bob")}
        ann = await w.tunnel(app, token=tokens["ann"], host=f"tcp://:{port}")
        (link,) = {each.link for each in w.relay.registry.tunnels()}
        ann.running.cancel()
        link.transport.abort()
        await turns(lambda: is_free(port))
        bob = w.agent(app, token=tokens["bob"], host=f"tcp://:{port}")

        assert isinstance(await bob.running, NameTaken)
        assert is_free(port)


async def test_a_newer_agent_of_the_owner_takes_the_port_over(tmp_path):
    async with service(echo) as app, tcp_world(tmp_path) as w:
        older = await w.tunnel(app, host="tcp://")
        await w.tunnel(app, host=f"tcp://:{port_of(older.url)}")

        outcome = await older.running
        assert isinstance(outcome, NameTaken)
        assert "--remote-addr" in outcome.hint


async def test_a_relay_without_ports_refuses_and_says_what_its_operator_has_to_set(tmp_path):
    async with world(tmp_path) as w:
        outcome = await w.agent(1, host="tcp://").running

    assert isinstance(outcome, Invalid)
    assert "no ports for tcp" in outcome.message
    assert "--tcp-ports" in outcome.hint


async def test_one_owner_takes_no_more_ports_at_once_than_one_after_the_other(tmp_path):
    async with service(echo) as app, tcp_world(tmp_path, 2 * ALWAYS) as w:
        ports = [each.first for each in w.relay.config.tcp_ports]
        agents = [w.agent(app, host=f"tcp://:{port}") for port in ports]
        outcomes = await asyncio.gather(*(agent.until_started() for agent in agents), return_exceptions=True)

    assert outcomes.count(None) == ALWAYS


async def test_binds_of_any_port_at_once_get_a_port_each(tmp_path):
    async with service(echo) as app, tcp_world(tmp_path, 4) as w:
        tunnels = await asyncio.gather(*(w.tunnel(app, host="tcp://") for _ in range(3)))

    assert len({tunnel.url for tunnel in tunnels}) == 3
