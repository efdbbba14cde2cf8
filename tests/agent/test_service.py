import asyncio
from types import SimpleNamespace

import pytest

from tests.agent.fakes import WELCOME, Diary, FakeLink, FakeUpstream, unbound_numbers
from tunnelctl.agent import service as service_module
from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.outcome import Invalid, Trouble
from tunnelctl.agent.ready import proof
from tunnelctl.agent.service import Service
from tunnelctl.agent.tunnel import AgentTunnel
from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.frames import TYPE_TCP, TYPE_UPGRADE
from tunnelctl.wire.messages import Bind, Bound, Refused, Superseded, Unbind

INSTANCE = "ab" * 16


@pytest.fixture
async def served():
    upstream, ends = FakeUpstream(), []
    config = TunnelConfig(upstream=UpstreamAddress("http", "localhost", 80))
    tunnel = AgentTunnel(1, config, upstream, Diary())
    service = Service(INSTANCE, {1: tunnel}, "http://relay", Diary(), lambda one, end: ends.append((one, end)))
    link = FakeLink(service)
    service.begin(link)
    service.on_message(WELCOME)
    return SimpleNamespace(service=service, link=link, upstream=upstream, tunnel=tunnel, ends=ends)


async def test_the_readiness_probe_is_answered_by_the_agent_and_never_reaches_the_service(served):
    served.link.open(b"GET /_tunnel/ready HTTP/1.1\r\nHost: demo.tun.example\r\n")
    (_, head), (_, body, fin) = served.link.frames
    assert head[:2] == (200).to_bytes(2, "big")
    assert b"Content-Length: 64\r\n" in head
    assert (body, fin) == (proof(INSTANCE), True)
    assert INSTANCE.encode() not in body
    assert not served.upstream.exchanges


@pytest.mark.parametrize("line", [b"POST /_tunnel/ready", b"GET /_tunnel/ready/x", b"GET /_tunnel/readyx", b"GET /"])
async def test_whatever_else_goes_to_the_service(served, line):
    served.link.open(line + b" HTTP/1.1\r\nHost: demo.tun.example\r\n")
    assert served.upstream.exchanges[0].head.startswith(line)
    assert not served.link.frames


async def test_a_stream_for_a_tunnel_that_is_not_ours_is_refused(served):
    served.link.open(b"GET / HTTP/1.1\r\n", tunnel=9)
    served.link.open(b"GET / HTTP/1.1\r\n", type_=TYPE_TCP)
    assert served.link.frames == [("reset", Code.REFUSED)] * 2


async def test_it_is_idle_when_the_last_exchange_is_over(served):
    served.link.open(b"GET /1 HTTP/1.1\r\n")
    served.link.open(b"GET /2 HTTP/1.1\r\n")
    first, second = served.upstream.exchanges
    first.finish()
    assert not served.tunnel.idle.is_set()
    second.finish()
    assert served.tunnel.idle.is_set()


async def test_an_open_websocket_does_not_hold_up_a_stop(served):
    served.link.open(b"GET /ws HTTP/1.1\r\n", type_=TYPE_UPGRADE)
    assert served.tunnel.idle.is_set()
    (websocket,) = served.upstream.exchanges
    assert served.tunnel.connections(0.0).gauge == 1
    websocket.finish()
    assert served.tunnel.in_flight == 0
    assert (served.tunnel.connections(0.0).count, served.tunnel.http_requests(0.0).count) == (1, 0)


async def test_only_what_was_offered_is_unbound():
    tunnel = AgentTunnel(1, TunnelConfig(upstream=UpstreamAddress("http", "localhost", 80)), FakeUpstream(), Diary())
    service = Service(INSTANCE, {1: tunnel}, "http://relay", Diary(), lambda *_: None)
    link = FakeLink(service)
    service.begin(link)
    service.unbind()
    service.withdraw(tunnel)
    assert not link.sent_of(Unbind)
    service.on_message(WELCOME)
    service.unbind()
    assert unbound_numbers(link) == [1]


BOUND = Bound(tunnel=1, url="https://a.example", host="a.example", generation=1)
LATE = [
    BOUND,
    Refused(tunnel=1, code="name_taken", message="no"),
    Superseded(tunnel=1, by="192.0.2.7", at="2026-01-01T00:00:00Z"),
]


@pytest.mark.parametrize("message", LATE)
async def test_what_the_relay_says_of_a_tunnel_that_was_withdrawn_is_skipped(served, message):
    served.service.withdraw(served.tunnel)
    served.service.on_message(message)
    assert served.link.is_open
    assert (served.ends, served.tunnel.bound) == ([], None)


@pytest.mark.parametrize("number", [0, -1, 2, 65536])
async def test_a_message_about_a_tunnel_that_never_was_ends_the_link(served, number):
    served.service.on_message(Bound(tunnel=number, url="https://a.example", host="a.example", generation=1))
    assert served.link.closed_with is Code.PROTOCOL


async def test_a_relay_that_cannot_read_an_offer_is_told_to_be_older_and_what_to_do(served):
    served.service.on_go_away(Code.PROTOCOL, "a message that cannot be read")

    end = await served.service.over
    assert isinstance(end, Trouble)
    assert f"release {WELCOME.version}" in end.reason
    assert "upgrade the relay, or leave the newer settings out" in end.reason


async def test_a_link_that_this_agent_ended_for_the_relays_fault_gives_no_such_hint(served):
    served.service.on_closed(Code.PROTOCOL, "OPEN is too short")

    end = await served.service.over
    assert end == Trouble("OPEN is too short")


async def test_settings_that_fit_into_no_message_end_their_tunnel_alone(served):
    def too_large(message, *, is_optional=False):
        raise WireError(Code.LIMIT, "70000 bytes", is_remote=False)

    served.link.send = too_large
    served.service.offer(served.tunnel)
    ((tunnel, end),) = served.ends
    assert (tunnel, isinstance(end, Invalid)) == (served.tunnel, True)
    assert "70000 bytes" in end.message
    assert served.link.is_open


async def test_it_offers_no_faster_than_every_relay_takes(monkeypatch):
    """A relay ends a link with too many binds: what comes on top waits for its turn."""
    later, now, loop = [], [100.0], asyncio.get_running_loop()
    monkeypatch.setattr(service_module, "BURST_BINDS", 2)
    upstream, config = FakeUpstream(), TunnelConfig(upstream=UpstreamAddress("http", "localhost", 80))
    tunnels = {number: AgentTunnel(number, config, upstream, Diary()) for number in (1, 2, 3)}
    service = Service(INSTANCE, tunnels, "http://relay", Diary(), lambda *_: None)
    link = FakeLink(service)
    with monkeypatch.context() as turned:
        turned.setattr(loop, "time", lambda: now[0])
        turned.setattr(loop, "call_later", lambda *call: later.append(call))
        service.begin(link)
        service.on_message(WELCOME)
        assert [bind.tunnel for bind in link.sent_of(Bind)] == [1, 2]
        assert [(delay, tunnel.number) for delay, _, tunnel in later] == [(0.5, 3)]
        later[0][1](later[0][2])
        assert len(link.sent_of(Bind)) == 2
        now[0] += 0.5
        later[1][1](later[1][2])
        assert [bind.tunnel for bind in link.sent_of(Bind)] == [1, 2, 3]


async def test_the_first_reason_for_an_end_is_the_one_that_counts(served):
    served.service.on_go_away(Code.SUPERSEDED, "another agent took it")
    served.service.on_closed(Code.HEARTBEAT, "the connection was closed")
    assert served.service.over.result().message == "another agent took it"
    assert served.service.closed.done()


async def test_the_round_trip_is_passed_on():
    heard = []
    watcher = Diary()
    watcher.latency = heard.append
    Service(INSTANCE, {}, "r", watcher, lambda *_: None).on_pong(0.012)
    assert heard == [0.012]
    await asyncio.sleep(0)
