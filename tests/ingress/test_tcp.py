"""TCP ports: who is let in, how the two halves end, what waits, and when a port is open."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex

import pytest

from tests.ingress.conftest import KeptLog, make_relay
from tests.ingress.scene import Scene, reset
from tests.support.ports import free_ports, is_free
from tests.support.raw_http import RawConnection, connect
from tests.support.scripted_agent import Asked, ScriptedAgent
from tests.support.waiting import PATIENCE
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import TYPE_TCP
from tunnelctl.wire.messages import Bound, HeaderEdit, OidcSpec, PolicySpec, Refused, Unbind
from tunnelrelay.agents import quotas
from tunnelrelay.ingress.tcp import CONNECT_SECONDS, HALF_CLOSED_SECONDS, IDLE_SECONDS, TcpConnection
from tunnelrelay.registry.registry import AWAITED_SECONDS, LOST_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORTS = free_ports(4)
MIB = 1 << 20


@pytest.fixture(scope="module")
def relay_flags() -> dict[str, object]:
    return {"tcp_ports": ",".join(map(str, PORTS)), "visitor_requests": "2", "hold_seconds": "30"}


def host_of(port: int) -> str:
    return f"tcp://localhost:{port}"


@asynccontextmanager
async def tcp_agent(
    s: Scene, wish: str = "tcp://", *, instance: str = "", **where: object
) -> AsyncIterator[tuple[ScriptedAgent, int]]:
    """An agent that serves a port until the context ends."""
    agent = ScriptedAgent(instance)
    await agent.connect(s.port)
    try:
        bound = await agent.bind(host=wish, **where)
        assert isinstance(bound, Bound), bound
        yield agent, int(bound.url.rpartition(":")[2])
    finally:
        if agent.closed is None:
            agent.link.send(Unbind(tunnel=1))
            await agent.close()


def tcp_visitors(s: Scene) -> list[TcpConnection]:
    return [visitor for visitor in s.relay.ingress.visitors if isinstance(visitor, TcpConnection)]


async def refusal(s: Scene, wish: str, **where: object) -> Refused:
    agent = ScriptedAgent()
    await agent.connect(s.port)
    refused = await agent.bind(host=wish, **where)
    await agent.close()
    assert isinstance(refused, Refused), refused
    return refused


async def answered(agent: ScriptedAgent) -> Asked:
    """The next connection, taken by the local service."""
    asked = await agent.next()
    asked.head(200)
    return asked


async def closed(visitor: RawConnection) -> bytes:
    """What came until the end of a connection that was closed cleanly."""
    async with asyncio.timeout(PATIENCE):
        return await visitor.reader.read()


async def cut(visitor: RawConnection) -> None:
    """Returns when the visitor has heard a reset."""
    with pytest.raises(ConnectionResetError):
        await closed(visitor)


async def open_or_refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.transport.abort()
    return True


# Bytes


async def test_bytes_pass_both_ways_and_each_half_ends_by_itself(s: Scene):
    async with tcp_agent(s) as (agent, port), connect(port) as visitor:
        asked = await answered(agent)
        await visitor.send(b"ping")
        await asked.until(lambda: asked.body == b"ping")
        visitor.send_eof()
        await asked.until(lambda: asked.is_complete)
        asked.data(b"pong")
        asked.data(b"bye", fin=True)

        assert await closed(visitor) == b"pongbye"
        assert asked.opened.type == TYPE_TCP
        assert asked.opened.head == b"Peer: 127.0.0.1:%d\r\n" % visitor.writer.get_extra_info("sockname")[1]


async def test_the_service_may_end_first_and_the_visitor_goes_on(s: Scene):
    async with tcp_agent(s) as (agent, port), connect(port) as visitor:
        asked = await answered(agent)
        asked.data(b"banner")
        asked.end()
        assert await closed(visitor) == b"banner"
        await visitor.send(b"late")
        visitor.send_eof()
        await asked.until(lambda: asked.is_complete)

        assert asked.body == b"late"
        assert asked.reset is None


async def test_a_visitors_reset_reaches_the_agent(s: Scene):
    async with tcp_agent(s) as (agent, port), connect(port) as visitor:
        asked = await answered(agent)
        await visitor.send(b"x")
        await asked.until(lambda: asked.body)
        reset(visitor)
        await asked.until(lambda: asked.reset is not None)

        assert asked.reset is Code.CANCELLED


async def test_the_services_reset_reaches_the_visitor(s: Scene):
    async with tcp_agent(s) as (agent, port), connect(port) as visitor:
        asked = await answered(agent)
        asked.break_off(Code.UPSTREAM_BROKEN, "it reset the connection")

        await cut(visitor)


async def test_nothing_is_read_before_the_service_is_there(s: Scene):
    async with tcp_agent(s) as (agent, port), connect(port) as visitor:
        await visitor.send(b"early")
        asked = await agent.next()
        await agent.round_trip()
        assert not asked.body
        asked.head(200)
        await asked.until(lambda: asked.body == b"early")


async def test_a_slow_reader_stalls_the_other_side_and_gets_everything(s: Scene):
    sent = bytes(range(256)) * (8 * MIB // 256)
    async with tcp_agent(s) as (agent, port), connect(port) as visitor:
        visitor.writer.transport.pause_reading()
        asked = await answered(agent)
        asked.data(sent, fin=True)
        await agent.round_trip()
        assert asked.stream.queued > 4 * MIB
        visitor.writer.transport.resume_reading()

        assert await closed(visitor) == sent


async def test_a_slow_service_stalls_the_visitor_and_gets_everything(s: Scene):
    sent = bytes(range(256)) * (8 * MIB // 256)
    async with tcp_agent(s) as (agent, port), connect(port) as visitor:
        asked = await agent.next()
        asked.keeps = True
        asked.head(200)
        visitor.writer.write(sent)
        visitor.send_eof()
        await asked.until(lambda: len(asked.body) == 65_536)
        await agent.round_trip()
        assert len(asked.body) == 65_536
        asked.keeps = False
        agent.link.consumed(asked.stream, 65_536)
        await asked.until(lambda: asked.is_complete)

        assert asked.body == sent


# Who is let in


async def test_a_network_that_is_kept_out_never_reaches_the_agent(s: Scene):
    policy = PolicySpec(cidr_allow=("203.0.113.0/24",))
    async with tcp_agent(s, policy=policy) as (agent, port), connect(port) as visitor:
        await cut(visitor)
        await agent.round_trip()

        assert not agent.asked
    assert (s.log[-1].status, s.log[-1].error) == (403, "network_denied")


async def test_rules_that_change_end_what_they_would_not_let_in(s: Scene):
    instance = token_hex(16)
    async with tcp_agent(s, instance=instance) as (agent, port), connect(port) as visitor:
        await answered(agent)
        narrow = PolicySpec(cidr_deny=("127.0.0.0/8",))
        async with tcp_agent(s, f"tcp://:{port}", instance=instance, policy=narrow):
            await cut(visitor)


@pytest.mark.parametrize(
    "policy",
    [
        PolicySpec(oidc=OidcSpec(issuer="https://idp.example", client_id="id", client_secret="secret-secret")),
        PolicySpec(basic_auth=("ann:password",)),
        PolicySpec(host_header="rewrite"),
        PolicySpec(request_headers=HeaderEdit(add=(("x-a", "1"),))),
    ],
)
async def test_rules_about_requests_are_refused(s: Scene, policy: PolicySpec):
    refused = await refusal(s, "tcp://", policy=policy)

    assert refused.code == "policy_invalid"
    assert "only --cidr-allow and --cidr-deny hold there" in refused.message


async def test_one_address_has_its_share_of_a_port(s: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(s.relay.ingress.known, "address_of", lambda peer: "203.0.113.7")
    async with tcp_agent(s) as (agent, port):
        agent.answers = lambda asked: asked.head(200)
        async with connect(port) as one, connect(port):
            await agent.until(lambda: len(agent.asked) == 2)
            async with connect(port) as third:
                await cut(third)
            reset(one)
            await agent.asked[0].until(lambda: agent.asked[0].reset)
            async with connect(port):
                await agent.until(lambda: len(agent.asked) == 3)
    await s.turns(lambda: not tcp_visitors(s))
    assert [record.error for record in s.log].count("too_many_requests") == 1


# Waiting


async def test_a_service_that_is_away_closes_the_connection(s: Scene):
    async with tcp_agent(s) as (agent, port), connect(port) as visitor:
        (await agent.next()).break_off(Code.UPSTREAM_UNREACHABLE, "connection refused")
        await cut(visitor)
    assert (s.log[-1].status, s.log[-1].error, s.log[-1].source) == (502, "upstream_unreachable", "upstream")


async def test_another_tunnel_of_a_shared_port_takes_over_what_one_could_not(s: Scene):
    wish = f"tcp://:{PORTS[0]}"
    async with tcp_agent(s, wish, pooling=True) as (agent, port), tcp_agent(s, wish, pooling=True) as (other, _):
        for each in (agent, other):
            each.answers = lambda asked: asked.break_off(Code.UPSTREAM_UNREACHABLE, "refused")
        async with connect(port) as visitor:
            await cut(visitor)

        assert len(agent.asked) == len(other.asked) == 1


async def test_a_visitor_waits_for_an_agent_that_is_away_for_a_moment(s: Scene):
    instance = token_hex(16)
    async with tcp_agent(s, instance=instance) as (agent, port), connect(port) as visitor:
        await agent.next()
        await agent.vanish()
        async with tcp_agent(s, f"tcp://:{port}", instance=instance) as (back, _):
            (await answered(back)).data(b"there", fin=True)
            assert await closed(visitor) == b"there"


@pytest.mark.parametrize(("half_closed", "seconds"), [(False, IDLE_SECONDS), (True, HALF_CLOSED_SECONDS)])
async def test_an_idle_connection_is_ended_on_both_sides(s: Scene, half_closed: bool, seconds: float):
    async with tcp_agent(s) as (agent, port), connect(port) as visitor:
        asked = await answered(agent)
        await visitor.send(b"x")
        if half_closed:
            visitor.send_eof()
        await asked.until(lambda: asked.is_complete if half_closed else asked.body)
        s.pass_time(seconds - 1)
        await agent.round_trip()
        assert asked.reset is None
        s.pass_time(seconds + 1)
        await asked.until(lambda: asked.reset is not None)
        await cut(visitor)


async def test_an_agent_that_does_not_answer_is_not_waited_for(s: Scene):
    async with tcp_agent(s) as (agent, port), connect(port) as visitor:
        asked = await agent.next()
        s.pass_time(CONNECT_SECONDS + 1)
        await asked.until(lambda: asked.reset is not None)
        await cut(visitor)
    assert s.log[-1].error == "upstream_timeout"


@pytest.mark.parametrize("status", [204, 404, 101])
async def test_an_agent_that_answers_something_else_is_broken_off(s: Scene, status: int):
    async with tcp_agent(s) as (agent, port), connect(port) as visitor:
        asked = await agent.next()
        asked.head(status)
        await asked.until(lambda: asked.reset is not None)
        await cut(visitor)
        assert asked.reset is Code.PROTOCOL


# Ports


async def test_a_port_is_open_while_a_tunnel_serves_it(s: Scene):
    async with tcp_agent(s, f"tcp://localhost:{PORTS[0]}") as (agent, port):
        assert port == PORTS[0]
        assert await open_or_refused(port)
        await agent.next()
        agent.link.send(Unbind(tunnel=1))
        await agent.round_trip()
        assert not await open_or_refused(port)
        assert s.relay.registry.find(host_of(port)) is None


async def test_a_port_whose_link_was_lost_closes_when_its_visitors_have_waited(s: Scene):
    async with tcp_agent(s) as (agent, port):
        await agent.vanish()
        await s.turns(lambda: not s.relay.registry.find(host_of(port)).tunnels)
        assert await open_or_refused(port)
        ports = s.relay.parts.tcp_ports
        ports.look()
        with s.later(31):
            ports.look()
        assert not await open_or_refused(port)
        assert s.relay.registry.owner_of(host_of(port)) == "local"


async def test_a_port_that_another_program_has_is_skipped(s: Scene):
    taken = [socket.create_server(("127.0.0.1", port)) for port in PORTS[1:]]
    try:
        async with tcp_agent(s) as (_, port):
            assert port == PORTS[0]
        refused = await refusal(s, f"tcp://:{PORTS[1]}")
    finally:
        for each in taken:
            each.close()

    assert refused.code == "try_later"
    assert "another program at the relay has the port" in refused.message


async def test_an_owner_mostly_gets_the_same_port_again(s: Scene):
    s.monotonic.ahead += LOST_SECONDS
    s.relay.registry.forget_stale()  # the ports of agents that vanished in earlier tests
    async with tcp_agent(s) as (_, first):
        pass
    async with tcp_agent(s) as (agent, second):
        await agent.vanish()
    await s.turns(lambda: s.relay.registry.is_awaited(host_of(second)))
    s.monotonic.ahead += AWAITED_SECONDS
    async with tcp_agent(s) as (_, third):
        pass

    assert first == second == third


async def test_an_agent_that_was_lost_for_a_moment_comes_back_to_its_port_though_another_asked_for_any(s: Scene):
    """Else it would end that other agent's tunnel: the newest claim of an owner wins."""
    instance = "ab" * 16
    async with tcp_agent(s, instance=instance) as (agent, port):
        await agent.vanish()
        await s.turns(lambda: s.relay.registry.is_awaited(host_of(port)))
        async with (
            tcp_agent(s) as (other, others_port),
            tcp_agent(s, f"tcp://:{port}", instance=instance) as (_, again),
        ):
            await other.round_trip()
            assert (again, other.superseded) == (port, None)
            assert others_port != port


async def test_a_newer_agent_of_the_owner_takes_the_port_over(s: Scene):
    async with tcp_agent(s) as (agent, port), tcp_agent(s, f"tcp://:{port}") as (newer, _), connect(port):
        await agent.until(lambda: agent.superseded)
        await newer.next()
        assert not agent.asked


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("tcp://:1", "1 is not one of this relay's tcp ports"),
        ("tcp://other.example:20000", "is no port of localhost"),
        ("tcp://:http", "is no port of localhost"),
        ("tcp://localhost", "is no port of localhost"),
        ("tcp://:99999999999999999999", "is not one of this relay's tcp ports"),
    ],
)
async def test_a_port_that_the_relay_does_not_give_is_refused(s: Scene, wish: str, words: str):
    refused = await refusal(s, wish)

    assert refused.code == "name_invalid"
    assert words in refused.message
    assert str(PORTS[0]) in refused.hint


async def test_an_owner_who_searches_for_ports_over_and_over_has_to_wait(tmp_path, monkeypatch):
    """A search may look at a whole range, whether it finds a port or not."""
    monkeypatch.setattr(quotas, "BURST_NEW_NAMES", 4)
    (port,) = free_ports(1)
    async with make_relay(tmp_path, KeptLog(), tcp_ports=str(port)) as relay:
        assert relay.http is not None
        agent = ScriptedAgent()
        await agent.connect(relay.http[1])
        first, *more = [await agent.bind(host="tcp://") for _ in range(4)]
        await agent.close()

    assert isinstance(first, Bound)
    assert [each.code for each in more if isinstance(each, Refused)] == ["too_many", "too_many", "try_later"]


async def test_a_relay_without_ports_says_what_its_operator_has_to_set(tmp_path):
    log = KeptLog()
    async with make_relay(tmp_path, log) as relay:
        assert relay.http is not None
        agent = ScriptedAgent()
        await agent.connect(relay.http[1])
        refused = await agent.bind(host="tcp://")
        await agent.close()

    assert isinstance(refused, Refused)
    assert (refused.code, refused.message) == ("name_invalid", "this relay has no ports for tcp tunnels")
    assert "--tcp-ports" in refused.hint


async def test_a_stopped_relay_leaves_no_port_open(tmp_path):
    (port,) = free_ports(1)
    async with make_relay(tmp_path, KeptLog(), tcp_ports=str(port)) as relay:
        assert relay.http is not None
        agent = ScriptedAgent()
        await agent.connect(relay.http[1])
        assert isinstance(await agent.bind(host="tcp://"), Bound)
        assert not is_free(port)
    assert is_free(port)


# What is told


async def test_a_connection_is_logged_and_counted(s: Scene):
    metrics = s.relay.metrics
    for visitor in tcp_visitors(s):  # of earlier tests, whose agents vanished
        visitor.transport.abort()
    await s.turns(lambda: not tcp_visitors(s))
    s.log.clear()
    before, received = dict(metrics.counts["tcp_connections"]), metrics.received_bytes
    async with tcp_agent(s) as (agent, port):
        async with connect(port) as visitor:
            asked = await answered(agent)
            assert metrics.read("open_tcp_connections") == 1
            await visitor.send(b"ping")
            visitor.send_eof()
            await asked.until(lambda: asked.is_complete)
            asked.data(b"pong!", fin=True)
            await closed(visitor)
        await s.turns(lambda: s.log)
        record = s.log[-1]
        (seen, *_) = s.relay.parts.traffic.recent("local")

    assert (record.method, record.host, record.status, record.error) == ("TCP", host_of(port), 200, "")
    assert (record.bytes_in, record.bytes_out, record.agent) == (4, 5, "local/test")
    assert seen.exchange.host == host_of(port)
    assert metrics.counts["tcp_connections"]["ok"] == before.get("ok", 0) + 1
    assert metrics.received_bytes == received + 4
    assert metrics.read("open_tcp_connections") == 0
