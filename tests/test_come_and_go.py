"""Tunnels come and go in one agent, before a real relay and with visitors under way."""

import asyncio
import time

import pytest

from tests.support.raw_http import connect, fetch, request_bytes
from tests.support.waiting import PATIENCE, turns
from tests.support.world import tunnel_to, world
from tunnelctl.agent.errors import NotBound
from tunnelctl.agent.outcome import NameTaken, Stopped
from tunnelctl.agent.tunnel import TunnelState
from tunnelctl.wire.messages import PolicySpec
from tunnelrelay.agents.authtokens import create


@pytest.fixture
async def w(tmp_path):
    async with world(tmp_path / "data") as running:
        yield running


def named(app, *names):
    return [tunnel_to(app.port, name=name, subdomain=name) for name in names]


async def status(w, name, target="/status/200"):
    return (await fetch(w.port, "GET", target, host=f"{name}.localhost:{w.port}")).status


async def started(agent, count):
    """The names of the next tunnels that visitors reach."""
    async with asyncio.timeout(PATIENCE):
        return {(await agent.diary.starts.get()).name for _ in range(count)}


async def online(w, *tunnels, **kwargs):
    agent = w.agent_with(*tunnels, **kwargs)
    async with asyncio.timeout(PATIENCE):
        await agent.agent.online()
    return agent


async def test_a_tunnel_is_served_as_soon_as_it_is_added_and_gone_as_soon_as_it_is_removed(w, app):
    agent = await online(w)
    (config,) = named(app, "web")
    for _ in range(3):
        tunnel = await agent.agent.add(config)
        assert (tunnel.url, await status(w, "web")) == (f"http://web.localhost:{w.port}", 200)
        agent.agent.remove("web")
        gone = await fetch(w.port, "GET", "/", host=f"web.localhost:{w.port}")
        assert (gone.status, b"Tunnel web.localhost not found" in gone.body) == (404, True), gone.body
    assert agent.diary.events.count("connected") == 1


async def test_what_comes_and_goes_does_not_disturb_a_download_on_another_tunnel(w, app):
    agent = await online(w, *named(app, "busy"))
    await started(agent, 1)
    size = 32 * 1024 * 1024
    async with connect(w.port) as visitor:
        await visitor.send(request_bytes("GET", f"/bytes/{size}", host=f"busy.localhost:{w.port}"))
        head = await visitor.head()
        for config in named(app, *[f"other{number}" for number in range(20)]):
            await agent.agent.add(config)
            assert await status(w, config.name) == 200
            agent.agent.remove(config.name)
        body = await visitor.read(int(head.get("content-length")))
    assert (head.status, len(body)) == (200, size)
    assert [*agent.agent.tunnels] == ["busy"]


async def test_a_request_in_flight_of_a_removed_tunnel_is_answered(w, app):
    agent = await online(w, *named(app, "web"))
    await started(agent, 1)
    asking = asyncio.create_task(fetch(w.port, "GET", "/held", host=f"web.localhost:{w.port}"))
    await turns(lambda: app.seen("/held"))
    tunnel = agent.agent.remove("web")
    assert await status(w, "web") == 404
    app.open_gate("held")
    answer = await asking
    assert (answer.status, answer.body) == (200, b"released\n")
    await tunnel.closed.wait()
    reading = tunnel.http_requests(time.monotonic())
    assert (reading.count, reading.gauge) == (1, 0)


async def test_an_agent_without_tunnels_stays_connected_and_dials_once(w):
    agent = await online(w)
    await turns(lambda: agent.agent.status.round_trip is not None)
    (session,) = w.relay.parts.acceptor.sessions
    assert session.tunnels == {}
    assert agent.diary.events == ["connecting", "connected"]
    assert await agent.stop() == Stopped()


async def test_of_three_tunnels_one_that_is_taken_over_ends_alone(w, app):
    agent = await online(w, *named(app, "one", "two", "three"))
    assert await started(agent, 3) == {"one", "two", "three"}
    rival = await w.tunnel(app.port, subdomain="two")
    assert rival.url == f"http://two.localhost:{w.port}"
    await turns(lambda: "two" not in agent.agent.tunnels)
    assert next(event for event in agent.diary.events if "ended" in event).startswith("ended: two: two.localhost was")
    assert [await status(w, name) for name in ("one", "two", "three")] == [200, 200, 200]
    assert agent.outcome is None
    assert agent.diary.events.count("connected") == 1


async def test_the_second_of_two_tunnels_with_one_name_is_refused_and_the_rules_of_the_first_hold(w, app):
    guarded, opened = (
        tunnel_to(app.port, name=name, subdomain="web", policy=PolicySpec(basic_auth=pairs))
        for name, pairs in (("guarded", ("ann:correct horse",)), ("open", ()))
    )
    agent = await online(w, guarded, opened)
    assert await started(agent, 1) == {"guarded"}
    await turns(lambda: "open" not in agent.agent.tunnels)
    assert "ended: open: another tunnel of this agent serves web.localhost" in agent.diary.events
    with pytest.raises(NotBound) as raised:
        await agent.agent.add(opened)
    assert isinstance(raised.value.end, NameTaken)
    assert await status(w, "web") == 401
    agent.agent.remove("guarded")
    await agent.agent.add(opened)
    assert await status(w, "web") == 200


async def test_of_three_tunnels_one_whose_name_has_another_owner_ends_alone(tmp_path, app):
    async with world(tmp_path / "data", multi_tenant=True) as w:
        ann, bob = [(await create(w.relay.store, owner))[0] for owner in ("ann", "bob")]
        await w.tunnel(app.port, subdomain="two", token=ann)
        agent = await online(w, *named(app, "one", "two", "three"), token=bob)
        assert await started(agent, 2) == {"one", "three"}
        assert next(event for event in agent.diary.events if "ended" in event).startswith("ended: two: ")
        with pytest.raises(NotBound) as raised:
            await agent.agent.add(named(app, "two")[0])
        assert isinstance(raised.value.end, NameTaken)
        assert [*agent.agent.tunnels] == ["one", "three"]


async def test_after_a_restart_of_the_relay_fifty_tunnels_are_back_under_their_names(w, app):
    names = [f"t{number}" for number in range(50)]
    agent = await online(w)
    for config in named(app, *names):
        await agent.agent.add(config)
    assert await started(agent, 50) == set(names)
    await w.relay.stop()
    await w.start_relay()
    assert await started(agent, 50) == set(names)
    assert [await status(w, name) for name in names] == [200] * 50
    assert {tunnel.state for tunnel in agent.agent.tunnels.values()} == {TunnelState.ONLINE}


async def test_two_hundred_tunnels_live_in_one_agent_over_one_link(w, app):
    names = [f"t{number}" for number in range(200)]
    agent = await online(w, *named(app, *names))
    # On a busy machine the store may answer some claims too late: these tunnels start once more when they are retried.
    seen: set[str] = set()
    while seen != set(names):
        seen |= await started(agent, 1)
    assert [await status(w, name) for name in names] == [200] * 200
    assert (await agent.agent.add(named(app, "more")[0])).state is TunnelState.ONLINE
    assert await status(w, "more") == 200
    assert agent.diary.events.count("connected") == 1
    assert len(w.relay.parts.acceptor.sessions) == 1
