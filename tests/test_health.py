"""A tunnel's health follows its local service without any visitor; its name is kept while its agent drains."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.app_routes import ROUTES
from tests.support.apps import App, running
from tests.support.edges import put_edge, tunnels_of
from tests.support.ports import free_port
from tests.support.waiting import turns
from tests.support.world import World, WorldTunnel, world
from tunnelctl.agent import upstream
from tunnelctl.agent.outcome import Stopped


@pytest.fixture
async def w(tmp_path, monkeypatch) -> AsyncIterator[World]:
    monkeypatch.setattr(upstream, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(upstream, "AWAY_SECONDS", 0.02)
    async with world(tmp_path / "data", hold_seconds=0.2) as w:
        yield w


def tunnel_at(w: World, tunnel: WorldTunnel):
    endpoint = w.relay.registry.find(tunnel.host.partition(":")[0])
    assert endpoint is not None
    (only,) = endpoint.tunnels
    return only


async def test_a_lone_tunnel_is_unhealthy_soon_after_its_app_ended_and_healthy_once_it_is_back(w):
    with running(App(ROUTES)) as app:
        tunnel = await w.tunnel(app.port, subdomain="demo")
        assert tunnel_at(w, tunnel).health.is_good
        port = app.port
    await turns(lambda: not tunnel_at(w, tunnel).health.is_good)
    assert tunnel_at(w, tunnel).health.reason == "upstream_unreachable"
    assert "app: connection refused" in tunnel.diary.events
    with running(App(ROUTES), port):
        await turns(lambda: tunnel_at(w, tunnel).health.is_good)
    assert tunnel.diary.events.count("app: ") == 1
    assert tunnel.diary.exchanges == []


async def test_an_app_that_was_never_there_is_told_at_the_start(w):
    tunnel = await w.tunnel(free_port(), subdomain="demo")
    await turns(lambda: not tunnel_at(w, tunnel).health.is_good)
    assert tunnel.diary.events.count("app: connection refused") == 1


async def test_after_a_reconnect_the_relay_learns_again_that_the_app_is_away(w):
    tunnel = await w.tunnel(free_port(), subdomain="demo")
    await w.relay.stop()
    await w.start_relay()
    await tunnel.until_started()
    await turns(lambda: not tunnel_at(w, tunnel).health.is_good)


async def test_a_tunnel_of_an_edge_tells_its_health_too(w):
    edge = put_edge(w.relay)
    await w.tunnel(free_port(), edge=edge.id)
    await turns(lambda: not tunnels_of(w.relay, edge)[0].health.is_good)


# An agent that was asked to stop, and still has a request


async def draining(w: World, app: App) -> tuple[WorldTunnel, "asyncio.Task"]:
    """A tunnel whose agent was asked to stop while a visitor waits for an answer."""
    tunnel = await w.tunnel(app.port, subdomain="demo")
    waiting = asyncio.create_task(tunnel.fetch("GET", "/held"))
    await turns(lambda: app.seen("/held"))
    tunnel.agent.stop()
    await turns(lambda: tunnel_at(w, tunnel).is_draining)
    return tunnel, waiting


async def test_while_an_agent_drains_new_visitors_get_503_and_are_told_when_to_come_back(w, app):
    tunnel, waiting = await draining(w, app)
    response = await tunnel.fetch("GET", "/status/200")
    assert response.status == 503
    assert int(response.get("retry-after")) > 0
    app.open_gate("held")
    assert (await waiting).status == 200
    assert await tunnel.running == Stopped()
    await turns(lambda: w.relay.registry.find("demo.localhost") is None)
    assert (await tunnel.fetch("GET", "/status/200")).status == 404


async def test_a_visitor_who_waits_while_the_name_is_given_up_gets_503_at_once(w, app, monkeypatch):
    monkeypatch.setattr(w.relay.parts.ingress, "settings", replace(w.relay.parts.ingress.settings, hold_seconds=3600.0))
    tunnel, waiting = await draining(w, app)
    late = asyncio.create_task(tunnel.fetch("GET", "/status/200"))
    await turns(lambda: w.relay.registry.held_count)
    app.open_gate("held")
    assert (await waiting).status == 200
    assert (await late).status == 503


@pytest.mark.parametrize("pooling", [False, True])
async def test_another_agent_takes_the_name_over_at_once_while_the_first_drains(w, app, pooling):
    tunnel, waiting = await draining(w, app)
    held = asyncio.create_task(tunnel.fetch("GET", "/status/204"))
    second = await w.tunnel(app.port, subdomain="demo", pooling=pooling)
    assert second.host == tunnel.host
    assert (await second.fetch("GET", "/status/200")).status == 200
    assert (await held).status in (204, 503)
    app.open_gate("held")
    assert (await waiting).status == 200
    assert await tunnel.running == Stopped()
    assert (await second.fetch("GET", "/status/200")).status == 200
