import asyncio
from types import SimpleNamespace

import pytest

from tests.agent.fakes import Diary, FakeLink
from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.ready import proof
from tunnelctl.agent.service import Offer, Service
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import TYPE_TCP, TYPE_UPGRADE
from tunnelctl.wire.messages import Bound

INSTANCE = "ab" * 16


class FakeUpstream:
    problem = None

    def __init__(self):
        self.served = []

    def serve(self, link, stream, opened, fin, on_done):
        self.served.append((opened, on_done))


@pytest.fixture
async def served():
    upstream = FakeUpstream()
    offer = Offer(1, TunnelConfig(upstream=UpstreamAddress("http", "localhost", 80)), upstream)
    service = Service(INSTANCE, {1: offer}, "http://relay", Diary())
    link = FakeLink(service)
    service.begin(link)
    return SimpleNamespace(service=service, link=link, upstream=upstream, offer=offer)


async def test_the_readiness_probe_is_answered_by_the_agent_and_never_reaches_the_service(served):
    served.link.open(b"GET /_tunnel/ready HTTP/1.1\r\nHost: demo.tun.example\r\n")
    (_, head), (_, body, fin) = served.link.frames
    assert head[:2] == (200).to_bytes(2, "big")
    assert b"Content-Length: 64\r\n" in head
    assert (body, fin) == (proof(INSTANCE), True)
    assert INSTANCE.encode() not in body
    assert not served.upstream.served


@pytest.mark.parametrize("line", [b"POST /_tunnel/ready", b"GET /_tunnel/ready/x", b"GET /_tunnel/readyx", b"GET /"])
async def test_whatever_else_goes_to_the_service(served, line):
    served.link.open(line + b" HTTP/1.1\r\nHost: demo.tun.example\r\n")
    assert served.upstream.served[0][0].head.startswith(line)
    assert not served.link.frames


async def test_a_stream_for_a_tunnel_that_is_not_ours_is_refused(served):
    served.link.open(b"GET / HTTP/1.1\r\n", tunnel=9)
    served.link.open(b"GET / HTTP/1.1\r\n", type_=TYPE_TCP)
    assert served.link.frames == [("reset", Code.REFUSED)] * 2


async def test_it_is_idle_when_the_last_exchange_is_over(served):
    served.link.open(b"GET /1 HTTP/1.1\r\n")
    served.link.open(b"GET /2 HTTP/1.1\r\n")
    (_, first_done), (_, second_done) = served.upstream.served
    first_done(SimpleNamespace(is_upgrade=False))
    assert not served.service.idle.is_set()
    second_done(SimpleNamespace(is_upgrade=False))
    assert served.service.idle.is_set()


async def test_an_open_websocket_does_not_hold_up_a_stop(served):
    served.link.open(b"GET /ws HTTP/1.1\r\n", type_=TYPE_UPGRADE)
    assert served.service.idle.is_set()
    (_, done) = served.upstream.served[0]
    done(SimpleNamespace(is_upgrade=True))
    assert served.service.in_flight == 0


async def test_only_what_was_bound_is_unbound(served):
    served.service.unbind()
    assert len(served.link.sent) == 1  # the greeting
    served.service.on_message(Bound(tunnel=1, url="https://a.example", host="a.example", generation=1))
    served.service.unbind()
    assert len(served.link.sent) == 2


async def test_the_first_reason_for_an_end_is_the_one_that_counts(served):
    served.service.on_go_away(Code.SUPERSEDED, "another agent took it")
    served.service.on_closed(Code.HEARTBEAT, "the connection was closed")
    assert served.service.over.result().message == "another agent took it"
    assert served.service.closed.done()


async def test_the_round_trip_is_passed_on():
    heard = []
    watcher = Diary()
    watcher.latency = heard.append
    Service(INSTANCE, {}, "r", watcher).on_pong(0.012)
    assert heard == [0.012]
    await asyncio.sleep(0)
