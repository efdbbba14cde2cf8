"""Several tunnels behind one edge: what goes on to another one and what does not, who stays where, and what ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from tests.agents.conftest import flags
from tests.ingress.scene import Clock, closed_without_clean_end, error_of, reset
from tests.support.edges import put_edge, tunnels_of
from tests.support.raw_http import RawConnection, Response, connect, request_bytes
from tests.support.scripted_agent import Asked, ScriptedAgent
from tests.support.waiting import turns
from tunnelctl.agent.ready import proof
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import PolicySpec
from tunnelrelay.app.relay import Relay
from tunnelrelay.config.config import load_config
from tunnelrelay.policy.compile import compile_policy
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.edges import LiveEdge
from tunnelrelay.registry.endpoint import Endpoint

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "shop.localhost"
COOKIE = "tunnel-lb"


class Place:
    """An edge on a relay, with scripted agents that join it."""

    def __init__(self, relay: Relay, edge: LiveEdge) -> None:
        assert isinstance(relay.monotonic, Clock)
        self.relay = relay
        self.monotonic = relay.monotonic
        self.edge = edge
        self.agents: list[ScriptedAgent] = []
        assert relay.http is not None
        self.port = relay.http[1]

    async def agent(self, answers: Any = None, *, weight: int = 1) -> ScriptedAgent:
        agent = ScriptedAgent()
        if answers is not None:
            agent.answers = answers
        await agent.connect(self.port)
        await agent.join(*self.edge.labels, weight=weight)
        self.agents.append(agent)
        return agent

    @property
    def endpoint(self) -> Endpoint:
        found = self.relay.registry.find(HOST)
        assert found is not None
        return found

    def put(self, **more: Any) -> None:
        self.edge = put_edge(self.relay, **more)

    @asynccontextmanager
    async def visitor(self) -> AsyncIterator[RawConnection]:
        async with connect(self.port) as visitor:
            yield visitor

    async def fetch(self, method: str = "GET", target: str = "/", **more: Any) -> Response:
        async with self.visitor() as visitor:
            return await visitor.request(method, target, host=HOST, **more)

    def look(self) -> None:
        """The relay judges anew what is under way, as it does every other second."""
        self.relay.ingress.look_after_exchanges()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory) -> AsyncIterator[Relay]:
    settings = flags(tmp_path_factory.mktemp("several"), hold_seconds="0.2")
    async with Relay(load_config(flags=settings, env={}), monotonic=Clock(time.monotonic)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def place(shared) -> AsyncIterator[Place]:
    there = Place(shared, put_edge(shared))
    yield there
    for agent in there.agents:
        if agent.closed is None:
            await agent.close()
    await turns(lambda: not tunnels_of(shared, there.edge))
    shared.parts.edges.drop(there.edge.id)


def says(body: bytes) -> Any:
    return lambda asked: asked.answer(body)


def breaks_off(code: Code) -> Any:
    return lambda asked: asked.break_off(code, "says the test")


async def first_asked(place: Place) -> tuple[ScriptedAgent, Asked]:
    """Who of the agents was asked, and what."""
    await turns(lambda: any(agent.asked for agent in place.agents))
    (agent,) = (agent for agent in place.agents if agent.asked)
    return agent, await agent.next()


# Shares


async def test_tunnels_take_turns_by_their_weight(place):
    await place.agent(says(b"heavy"), weight=3)
    await place.agent(says(b"light"))
    bodies = [(await place.fetch()).text for _ in range(20)]

    assert (bodies.count("heavy"), bodies.count("light")) == (15, 5)


async def test_requests_go_to_whoever_has_fewer_open_and_are_counted_until_they_end(place):
    slow, quick = await place.agent(), await place.agent(says(b"quick"))
    async with place.visitor() as one, place.visitor() as two:
        for visitor in (one, two):
            await visitor.send(request_bytes("GET", "/", host=HOST))
        await turns(lambda: len(slow.asked) == 1 and len(quick.asked) == 1)
        assert [(await place.fetch()).text for _ in range(4)] == ["quick"] * 4
        mine = next(tunnel for tunnel in place.endpoint.tunnels if tunnel.agent == slow.instance)
        assert (mine.open, mine.requests) == (1, 1)
        slow.asked[0].answer()
        await turns(lambda: mine.open == 0)

    assert [tunnel.open for tunnel in place.endpoint.tunnels] == [0, 0]


async def test_a_visitor_who_leaves_is_not_counted_any_more(place):
    await place.agent()
    await place.agent()
    async with place.visitor() as visitor:
        await visitor.send(request_bytes("GET", "/", host=HOST))
        await first_asked(place)
        reset(visitor)
    await turns(lambda: [tunnel.open for tunnel in place.endpoint.tunnels] == [0, 0])


# What goes on to another tunnel


@pytest.mark.parametrize("code", [Code.UPSTREAM_UNREACHABLE, Code.REFUSED])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_what_never_reached_the_app_goes_on_to_another_tunnel_by_any_method(place, code, method):
    before = place.relay.metrics.retried_requests
    broken = await place.agent(breaks_off(code))
    await place.agent(says(b"good"))
    answers = [await place.fetch(method) for _ in range(4)]

    assert [(answer.status, answer.text) for answer in answers] == [(200, "good")] * 4
    assert place.relay.metrics.retried_requests - before == len(broken.asked) > 0


async def test_a_tunnel_whose_service_is_away_is_unhealthy_at_once_and_well_with_the_next_good_answer(place):
    sick = await place.agent(breaks_off(Code.UPSTREAM_UNREACHABLE))
    await place.agent(says(b"good"))
    for _ in range(4):
        await place.fetch()
    tunnel = next(tunnel for tunnel in place.endpoint.tunnels if tunnel.agent == sick.instance)
    assert (tunnel.health.reason, len(sick.asked), tunnel.errors) == ("upstream_unreachable", 1, 1)

    await place.agents[1].close()
    sick.answers = says(b"back")
    assert (await place.fetch()).text == "back"
    assert tunnel.health.is_good


async def test_when_no_service_answers_every_tunnel_is_asked_once_and_the_visitor_hears_the_truth(place):
    for _ in range(3):
        await place.agent(breaks_off(Code.UPSTREAM_UNREACHABLE))
    answer = await place.fetch()

    assert (answer.status, error_of(answer)) == (502, "upstream_unreachable")
    assert [len(agent.asked) for agent in place.agents] == [1, 1, 1]


async def test_of_very_many_tunnels_only_a_few_are_asked(place):
    for _ in range(6):
        await place.agent(breaks_off(Code.UPSTREAM_UNREACHABLE))
    answer = await place.fetch()

    assert (answer.status, error_of(answer)) == (502, "upstream_unreachable")
    assert sum(len(agent.asked) for agent in place.agents) == 4


@pytest.mark.parametrize("code", [Code.UPSTREAM_UNREACHABLE, Code.REFUSED])
async def test_a_request_whose_body_has_begun_is_not_sent_again(place, code):
    await place.agent(breaks_off(code))
    await place.agent(breaks_off(code))
    answer = await place.fetch("POST", body=b"precious")

    assert answer.status in (502, 503)
    assert sum(len(agent.asked) for agent in place.agents) == 1


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("POST", 502), ("DELETE", 502)])
async def test_a_lost_link_repeats_only_what_may_be_sent_twice(place, method, status):
    """RFC 9110 section 9.2.2: the app behind the lost link may have done it already."""
    await place.agent()
    await place.agent()
    async with place.visitor() as visitor:
        await visitor.send(request_bytes(method, "/", host=HOST))
        lost, _ = await first_asked(place)
        (other,) = (agent for agent in place.agents if agent is not lost)
        other.answers = says(b"")
        await lost.vanish()
        answer = await visitor.response(method)

    assert (answer.status, len(other.asked)) == (status, int(status == 200))


async def test_an_answer_that_has_begun_is_not_begun_again(place):
    await place.agent()
    await place.agent()
    async with place.visitor() as visitor:
        await visitor.send(request_bytes("GET", "/", host=HOST))
        lost, asked = await first_asked(place)
        asked.head(200, b"Content-Length: 100\r\n")
        asked.data(b"some")
        head = await visitor.head()
        await lost.vanish()
        rest = await closed_without_clean_end(visitor)

    assert (head.status, rest) == (200, b"some")
    assert sum(len(agent.asked) for agent in place.agents) == 1


# Nobody there


async def test_an_edge_that_never_had_a_tunnel_answers_503_at_once(place, monkeypatch):
    place.monotonic.ahead += 7200  # since the relay's start
    monkeypatch.setattr(place.relay.ingress, "settings", replace(place.relay.ingress.settings, hold_seconds=3600.0))
    answer = await place.fetch()

    assert (answer.status, error_of(answer)) == (503, "endpoint_offline")


async def test_rules_come_before_the_news_that_nobody_is_there(place):
    place.put(policy=compiled(cidr_deny=("127.0.0.0/8",)))
    answer = await place.fetch()

    assert (answer.status, error_of(answer)) == (403, "network_denied")


async def test_a_request_waits_a_moment_for_a_tunnel_that_was_just_there(place, monkeypatch):
    monkeypatch.setattr(place.relay.ingress, "settings", replace(place.relay.ingress.settings, hold_seconds=3600.0))
    first = await place.agent()
    await first.close()
    await turns(lambda: not place.endpoint.tunnels)
    async with place.visitor() as visitor:
        await visitor.send(request_bytes("GET", "/", host=HOST))
        await turns(lambda: place.endpoint.held_count == 1)
        await place.agent(says(b"back"))

        assert (await visitor.response()).text == "back"


# Stickiness


async def test_a_visitor_stays_with_the_tunnel_that_served_it_first_by_a_cookie_set_once(place):
    place.put(sticky=True)
    for name in (b"a", b"b"):
        await place.agent(says(name))
    first = await place.fetch()
    cookie = first.get("set-cookie")
    name, _, value = cookie.partition(";")[0].partition("=")
    assert (name, cookie.partition(";")[2]) == (COOKIE, " Path=/; HttpOnly; SameSite=Lax")
    assert all(agent.instance not in value for agent in place.agents)

    answers = [await place.fetch(fields=[("Cookie", f"x=1; {COOKIE}={value}; y=2")]) for _ in range(5)]
    assert {answer.text for answer in answers} == {first.text}
    assert [answer.get("set-cookie") for answer in answers] == [None] * 5
    assert {asked.get(b"cookie") for agent in place.agents for asked in agent.asked} == {None, b"x=1; y=2"}


@pytest.mark.parametrize("forged", ["0" * 24, "", "a=b", "../x", "x" * 5000])
async def test_a_cookie_nobody_gave_out_is_ignored_and_replaced(place, forged):
    place.put(sticky=True)
    await place.agent(says(b"a"))
    await place.agent(says(b"b"))
    answers = [await place.fetch(fields=[("Cookie", f"{COOKIE}={forged}")]) for _ in range(4)]

    assert sorted(answer.text for answer in answers) == ["a", "a", "b", "b"]
    assert all(answer.get("set-cookie").startswith(f"{COOKIE}=") for answer in answers)


@pytest.mark.parametrize("why", ["gone", "draining", "unhealthy"])
async def test_a_visitor_whose_tunnel_cannot_take_it_goes_to_another_and_the_cookie_with_it(place, why):
    place.put(sticky=True)
    for name in (b"a", b"b"):
        await place.agent(says(name))
    first = await place.fetch()
    cookie = first.get("set-cookie").partition(";")[0]
    agent = place.agents[0 if first.text == "a" else 1]
    tunnel = next(tunnel for tunnel in place.endpoint.tunnels if tunnel.agent == agent.instance)
    if why == "gone":
        await agent.close()
        await turns(lambda: len(place.endpoint.tunnels) == 1)
    elif why == "draining":
        place.relay.registry.drain(tunnel.id)
    else:
        place.relay.registry.mark_unhealthy(tunnel, "no_answer")
    moved = await place.fetch(fields=[("Cookie", cookie)])

    assert moved.text == ("b" if first.text == "a" else "a")
    assert moved.get("set-cookie").partition(";")[0] not in (None, cookie)


async def test_an_edge_that_is_not_sticky_sets_no_cookie(place):
    await place.agent(says(b"a"))
    await place.agent(says(b"b"))

    assert [(await place.fetch()).get("set-cookie") for _ in range(2)] == [None, None]


# An agent's own probe


async def test_an_agents_own_probe_comes_back_through_its_own_tunnel(place):
    for _ in range(3):
        agent = await place.agent()
        agent.answers = lambda asked, agent=agent: asked.answer(proof(agent.instance))
    for agent in place.agents * 2:
        own = proof(agent.instance)
        answer = await place.fetch(target="/_tunnel/ready", fields=[("Tunnel-Agent", own.decode())])
        assert answer.body == own


@pytest.mark.parametrize("name", ["X-Tunnel-Probe", "x-tunnel-probe", "X_Tunnel_Probe", "x-TUNNEL_probe"])
@pytest.mark.parametrize("target", ["/_tunnel/ready", "/"])
async def test_no_visitor_can_ask_an_agent_to_try_its_service(place, name, target):
    await place.agent(says(b"ok"))
    await place.fetch(target=target, fields=[(name, "upstream"), ("Connection", name)])
    (asked,) = place.agents[0].asked

    assert b"probe" not in asked.opened.head.lower()


# Changed rules, under what is open


async def stream(place: Place, visitor: RawConnection) -> Asked:
    """An answer that goes on and on."""
    await visitor.send(request_bytes("GET", "/events", host=HOST))
    _, asked = await first_asked(place)
    asked.head(200, b"Content-Type: text/event-stream\r\n")
    asked.data(b"data: 1\n\n")
    await visitor.head()
    return asked


def compiled(**rules: Any) -> Policy:

    return compile_policy(PolicySpec(**rules), upstream="http://localhost", owner="local", key=b"k")


@pytest.mark.parametrize("rules", [{"cidr_deny": ("127.0.0.0/8",)}, {"basic_auth": ("ann:open-sesame",)}])
async def test_an_open_stream_ends_when_new_rules_would_not_let_it_in(place, rules):
    await place.agent()
    async with place.visitor() as visitor:
        asked = await stream(place, visitor)
        place.put(policy=compiled(**rules))
        place.look()
        await closed_without_clean_end(visitor)
        await asked.until(lambda: asked.reset)


async def test_an_open_stream_goes_on_under_new_rules_that_let_it_in(place):
    await place.agent()
    async with place.visitor() as visitor:
        asked = await stream(place, visitor)
        place.put(policy=compiled(cidr_allow=("127.0.0.0/8",)))
        place.look()
        await place.agents[0].round_trip()

        assert asked.reset is None


async def test_an_open_stream_ends_with_its_edge_and_the_host_is_unknown(place):
    await place.agent()
    async with place.visitor() as visitor:
        asked = await stream(place, visitor)
        place.relay.parts.edges.drop(place.edge.id)
        place.look()
        await closed_without_clean_end(visitor)
        await asked.until(lambda: asked.reset)

    assert error_of(await place.fetch()) == "endpoint_not_found"
    place.put()


async def test_a_request_that_waits_for_its_answer_is_told_when_its_edge_is_gone(place):
    await place.agent()
    async with place.visitor() as visitor:
        await visitor.send(request_bytes("GET", "/", host=HOST))
        await first_asked(place)
        place.relay.parts.edges.drop(place.edge.id)
        place.look()
        answer = await visitor.response()

    assert (answer.status, error_of(answer)) == (404, "endpoint_not_found")
    place.put()


# Probes of the relay's own


async def test_the_relay_asks_tunnels_that_share_an_endpoint_and_believes_what_they_say(place):
    def answers(status: int) -> Any:
        return lambda asked: asked.answer(b"proof", status=status)

    sick, well = await place.agent(answers(503)), await place.agent(answers(200))
    place.relay.parts.probes.look()
    await turns(lambda: place.relay.registry.unhealthy_count == 1)

    (question,) = sick.asked
    assert question.opened.head.startswith(b"GET /_tunnel/ready HTTP/1.1\r\n")
    assert question.get(b"x-tunnel-probe") == b"upstream"
    assert len(well.asked) == 1
    assert [(await place.fetch(target="/x")).status for _ in range(3)] == [200] * 3

    sick.answers = answers(200)
    place.relay.parts.probes.look()
    await turns(lambda: place.relay.registry.unhealthy_count == 0)


async def test_a_tunnel_that_is_alone_is_not_asked_while_all_is_well(place):
    agent = await place.agent()
    place.relay.parts.probes.look()
    await agent.round_trip()
    assert agent.asked == []

    place.relay.registry.mark_unhealthy(place.endpoint.tunnels[0], "upstream_unreachable")
    place.relay.parts.probes.look()
    await turns(lambda: agent.asked)


async def test_a_tunnel_that_does_not_answer_a_probe_in_time_is_unhealthy(place):
    silent, _ = await place.agent(), await place.agent(says(b"proof"))
    probes = place.relay.parts.probes
    probes.look()
    await turns(lambda: silent.asked)
    place.monotonic.ahead += 3600
    probes.look()

    (tunnel,) = (each for each in place.endpoint.tunnels if each.agent == silent.instance)
    assert tunnel.health.reason == "no_answer"
    await silent.asked[0].until(lambda: silent.asked[0].reset)


async def test_an_endless_answer_to_a_probe_is_cut_off(place):
    def endless(asked: Asked) -> None:
        asked.head(200, b"")
        asked.data(b"x" * 2000)

    agent, _ = await place.agent(endless), await place.agent(says(b"proof"))
    place.relay.parts.probes.look()
    await turns(lambda: agent.asked)
    await agent.asked[0].until(lambda: agent.asked[0].reset)

    assert agent.asked[0].reset is Code.LIMIT


async def test_a_visitors_ready_request_that_the_agent_answers_does_not_make_a_sick_tunnel_well(place):
    await place.agent(says(b"proof"))
    tunnel = place.endpoint.tunnels[0]
    place.relay.registry.mark_unhealthy(tunnel, "upstream_unreachable")
    await place.fetch(target="/_tunnel/ready")
    assert not tunnel.health.is_good

    await place.fetch()
    assert tunnel.health.is_good


async def test_the_loop_of_probes_can_be_cancelled(place):
    task = asyncio.create_task(place.relay.parts.probes.run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
