"""Several true agents behind one address, in one process: shares move, and no request notices."""

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.support.app_routes import ROUTES
from tests.support.apps import App, Exchange, running
from tests.support.edges import put_edge, tunnels_of
from tests.support.raw_http import Response, connect, fetch, request_bytes
from tests.support.waiting import turns
from tests.support.world import World, world
from tunnelctl.agent.outcome import Invalid, NameTaken, NotAllowed
from tunnelctl.wire.messages import HeaderEdit, PolicySpec
from tunnelrelay.policy.compile import compile_policy
from tunnelrelay.policy.rules import Policy

NAMES = ("a", "b", "c")
HOST = "shop.localhost"
MANY = 30
SWAPS = 50
RESET = struct.pack("ii", 1, 0)
"""Has a socket that is closed cut its connection."""


@pytest.fixture
def apps() -> Iterator[dict[str, App]]:
    """Three apps that say who they are at `/who`."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(running(_named(name))) for name in NAMES}


def _named(name: str) -> App:
    async def who(exchange: Exchange) -> None:
        await exchange.respond(200, name)

    async def late(exchange: Exchange) -> None:
        await exchange.app.gate("late")
        await exchange.respond(200, name)

    return App({**ROUTES, "/who": who, "/late": late})


@pytest.fixture
async def w(tmp_path) -> AsyncIterator[World]:
    async with world(tmp_path / "data", hold_seconds=0.5) as w:
        yield w


async def serve(w: World, *ports: int, **where: Any) -> list[Any]:
    """An edge with an agent for each of these apps, all of which visitors reach."""
    edge = put_edge(w.relay)
    return [await w.tunnel(port, edge=edge.id, **where) for port in ports]


async def get(w: World, target: str = "/who", **more: Any) -> Response:
    return await fetch(w.port, "GET", target, host=HOST, **more)


async def counted(w: World, count: int) -> Counter[str]:
    """Who answers so many requests, one after the other on one connection."""
    async with connect(w.port) as visitor:
        return Counter([(await visitor.request("GET", "/who", host=HOST)).text for _ in range(count)])


@asynccontextmanager
async def many_under_way(w: World, apps: dict[str, App], at: tuple[str, ...]) -> AsyncIterator[list[Any]]:
    """`MANY` requests that wait in these apps."""
    tasks = [asyncio.create_task(get(w, "/late")) for _ in range(MANY)]
    await turns(lambda: sum(len(apps[name].seen("/late")) for name in at) == MANY)
    yield tasks
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_two_agents_have_equal_shares_and_each_knows_that_visitors_reach_it(w, apps):
    tunnels = await serve(w, apps["a"].port, apps["b"].port)

    assert await counted(w, 20) == {"a": 10, "b": 10}
    assert [tunnel.url for tunnel in tunnels] == [w.relay.address.url(HOST)] * 2
    assert not any("unready" in event for tunnel in tunnels for event in tunnel.diary.events)


async def test_weights_divide_the_requests(w, apps):
    edge = put_edge(w.relay)
    await w.tunnel(apps["a"].port, edge=edge.id, weight=3)
    await w.tunnel(apps["b"].port, edge=edge.id, weight=1)

    assert await counted(w, 40) == {"a": 30, "b": 10}


async def test_requests_at_once_are_spread_evenly(w, apps):
    await serve(w, *(apps[name].port for name in NAMES))
    async with many_under_way(w, apps, NAMES) as tasks:
        assert [tunnel.open for tunnel in tunnels_of(w.relay, put_edge(w.relay))] == [MANY / 3] * 3
        for app in apps.values():
            app.open_gate("late")
        answers = await asyncio.gather(*tasks)

    assert Counter(answer.text for answer in answers) == dict.fromkeys(NAMES, MANY // 3)


async def test_when_an_agent_dies_its_share_moves_and_no_request_fails(w, apps):
    """Every request it had is without a body and safe: the others take them."""
    dying, *_ = await serve(w, *(apps[name].port for name in NAMES))
    tasks = [asyncio.create_task(get(w, "/late")) for _ in range(MANY)]
    await turns(lambda: [len(apps[name].seen("/late")) for name in NAMES] == [MANY // 3] * 3)
    apps["b"].open_gate("late")
    apps["c"].open_gate("late")
    dying.running.cancel()
    answers = await asyncio.gather(*tasks)

    assert {answer.status for answer in answers} == {200}
    assert {answer.text for answer in answers} == {"b", "c"}
    assert sorted(await counted(w, 20)) == ["b", "c"]


async def test_a_tunnel_that_is_drained_finishes_what_it_has_and_gets_nothing_new(w, apps):
    await serve(w, apps["a"].port, apps["b"].port)
    async with many_under_way(w, apps, ("a", "b")) as tasks:
        first = tunnels_of(w.relay, put_edge(w.relay))[0]
        assert w.relay.registry.drain(first.id)
        assert await counted(w, 10) == {"b": 10}
        for app in apps.values():
            app.open_gate("late")
        answers = await asyncio.gather(*tasks)

    assert Counter(answer.text for answer in answers) == {"a": MANY // 2, "b": MANY // 2}
    assert [tunnel.open for tunnel in tunnels_of(w.relay, put_edge(w.relay))] == [0, 0]


async def test_agents_that_are_stopped_hand_over_and_after_the_last_the_answer_is_503(w, apps):
    first, second = await serve(w, apps["a"].port, apps["b"].port)
    await first.stop()
    assert await counted(w, 6) == {"b": 6}

    await second.stop()
    answer = await get(w)
    assert (answer.status, answer.get("tunnel-error")) == (503, "endpoint_offline")


async def test_an_agent_whose_service_is_down_costs_no_visitor_anything(w, apps):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        tunnels = await serve(w, apps["a"].port, taken.getsockname()[1])
        registry = w.relay.registry
        await turns(lambda: registry.unhealthy_count == 1)  # the agent said so
        assert await counted(w, 20) == {"a": 20}

        broken = next(tunnel for tunnel in registry.tunnels() if tunnel.agent == tunnels[1].agent.instance)
        assert (broken.health.reason, broken.errors) == ("upstream_unreachable", 0)
        registry.mark_healthy(broken)  # what is believed of an agent that says nothing
        assert await counted(w, 20) == {"a": 20}
        assert (broken.health.reason, broken.errors) == ("upstream_unreachable", 1)
    assert w.relay.metrics.retried_requests == 1


async def test_a_probe_finds_out_that_a_service_is_down_and_that_it_is_back(w, apps):
    with running(_named("b")) as app:
        port = app.port
        await serve(w, apps["a"].port, port)
        await counted(w, 4)
    probes, registry = w.relay.parts.probes, w.relay.registry
    probes.look()
    await turns(lambda: registry.unhealthy_count == 1)
    assert await counted(w, 6) == {"a": 6}

    with running(_named("b"), port):
        probes.look()
        await turns(lambda: registry.unhealthy_count == 0)
        assert await counted(w, 6) == {"a": 3, "b": 3}


async def test_requests_wait_for_agents_that_come_back_after_the_relay_was_restarted(w, apps):
    edge = put_edge(w.relay)
    tunnel = await w.tunnel(apps["a"].port, edge=edge.id)
    w.settings["hold_seconds"] = 10.0
    await w.relay.stop()
    await w.start_relay()
    put_edge(w.relay)

    assert (await get(w)).text == "a"
    assert tunnel.outcome is None


async def test_whatever_becomes_of_requests_none_stays_counted(w, apps):
    """Else a tunnel would seem busy for ever, and get less and less."""
    await serve(w, apps["a"].port, apps["b"].port)
    requests = [
        request_bytes("GET", "/cut", host=HOST),
        request_bytes("GET", "/garbage", host=HOST),
        request_bytes("GET", "/hang-up", host=HOST),
        request_bytes("HEAD", "/who", host=HOST),
        request_bytes("POST", "/who", host=HOST, fields=[("Content-Length", "100000")], body=b"a part"),
        request_bytes("GET", "/late", host=HOST),
        request_bytes("GET", "/upgrade", host=HOST, fields=[("Connection", "Upgrade"), ("Upgrade", "echo")]),
        request_bytes("GET", "/who", host=HOST) * 20,
    ]
    # Its first chunk comes once it has begun: one that is broken from the start never does.
    broken_later = request_bytes("POST", "/upload", host=HOST, fields=[("Transfer-Encoding", "chunked")])
    served = tunnels_of(w.relay, put_edge(w.relay))

    def begun() -> int:
        return sum(tunnel.requests for tunnel in served)

    for data in [*requests, broken_later] * 2:
        before = begun()
        async with connect(w.port) as visitor:
            await visitor.send(data)
            await turns(lambda before=before: begun() > before)
            if data is broken_later:
                await visitor.send(b"zzz\r\n")
            visitor.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    await turns(lambda: [tunnel.open for tunnel in served] == [0, 0])

    assert await counted(w, 10) == {"a": 5, "b": 5}


# Pools


async def test_agents_that_pool_share_an_address_and_the_last_one_takes_it_along(w, apps):
    first = await w.tunnel(apps["a"].port, subdomain="shop", pooling=True)
    second = await w.tunnel(apps["b"].port, subdomain="shop", pooling=True)
    assert await counted(w, 10) == {"a": 5, "b": 5}

    await first.stop()
    assert await counted(w, 4) == {"b": 4}
    await second.stop()
    assert (await get(w)).status == 404


async def test_an_agent_with_other_rules_or_without_the_flag_stays_out_of_a_pool(w, apps):
    """Row 124."""
    strict = PolicySpec(basic_auth=("ann:open-sesame",))
    await w.tunnel(apps["a"].port, subdomain="shop", pooling=True, policy=strict)
    careless = w.agent(apps["b"].port, subdomain="shop", pooling=True)
    alone = w.agent(apps["c"].port, subdomain="shop", policy=strict)

    assert isinstance(await careless.running, Invalid)
    refused = await alone.running
    assert isinstance(refused, NameTaken)
    assert "--pooling-enabled" in refused.hint
    assert {(await get(w)).status for _ in range(5)} == {401}
    assert apps["b"].requests == apps["c"].requests == []


# From outside


async def test_an_agent_that_is_stopped_from_the_relay_ends(w, apps):
    (tunnel,) = await serve(w, apps["a"].port)
    (session,) = w.relay.parts.acceptor.sessions
    session.stop(is_restart=False)

    assert isinstance(await tunnel.running, NotAllowed)


def rules(number: int) -> Policy:
    """Rules that leave their number in what the app gets and in what the visitor gets; the odd ones let nobody in."""
    stamp = HeaderEdit(add=(("X-Rules", str(number)),))
    deny = ("0.0.0.0/0",) if number % 2 else ()
    spec = PolicySpec(cidr_deny=deny, request_headers=stamp, response_headers=stamp)
    return compile_policy(spec, upstream="http://localhost", owner="local", key=b"k")


async def test_rules_changed_under_load_are_never_mixed_and_never_late(w, apps):
    """Each answer is by one set of rules in both directions, and by one that was in force while it was under way."""
    now = 0
    await serve(w, apps["a"].port, apps["b"].port)
    put_edge(w.relay, policy=rules(0))
    wrong: list[str] = []
    answered = 0
    done = asyncio.Event()

    async def visit() -> None:
        nonlocal answered
        async with connect(w.port) as visitor:
            while not done.is_set():
                before = now
                answer = await visitor.request("GET", "/echo", host=HOST)
                in_force = range(before, now + 1)
                answered += 1
                if answer.status == 200:
                    seen = dict(json.loads(answer.body)["fields"]).get("x-rules")
                    if seen != answer.get("x-rules") or int(seen or -1) not in in_force or int(seen or -1) % 2:
                        wrong.append(f"{seen} {answer.get('x-rules')} {in_force}")
                elif answer.status != 403 or not any(number % 2 for number in in_force):
                    wrong.append(f"{answer.status} {in_force}")

    visits = [asyncio.create_task(visit()) for _ in range(8)]
    for number in range(1, SWAPS + 1):
        count = answered
        await turns(lambda count=count: answered > count + 3)
        put_edge(w.relay, policy=rules(number))
        now = number
    done.set()
    await asyncio.gather(*visits)

    assert wrong == []
    assert answered > 4 * SWAPS
