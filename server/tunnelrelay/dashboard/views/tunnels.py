"""Tunnels and the agents they come from: where they serve, how they are, and how to take one out of service."""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.charts import rate, share
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import Asked, does, shows


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows("/tunnels", _list),
        shows("/tunnels/events", _list_events),
        shows("/tunnels/agents/{id}", _agent),
        shows("/tunnels/agents/{id}/events", _agent_events),
        does("/tunnels/agents/{id}/stop", _stop),
        shows("/tunnels/{id}", _one),
        shows("/tunnels/{id}/events", _one_events),
        does("/tunnels/{id}/drain", _drain),
    ]


async def _list(asked: Asked) -> Response:
    return asked.page("tunnels/list.html", **_all(asked))


async def _list_events(asked: Asked) -> Response:
    async def tunnels() -> str:
        return asked.written("tunnels/rows.html", **_all(asked))

    async def agents() -> str:
        return asked.written("tunnels/agent_rows.html", **_all(asked))

    return sse.stream(asked, ("tunnels",), {"tunnels": tunnels, "agents": agents})


async def _one(asked: Asked) -> Response:
    return asked.page("tunnels/one.html", **_tunnel(asked))


async def _one_events(asked: Asked) -> Response:
    async def facts() -> str:
        return asked.written("tunnels/facts.html", **_tunnel(asked))

    return sse.stream(asked, ("tunnels",), {"facts": facts})


async def _drain(asked: Asked) -> Response:
    tunnel_id = asked.named("id")
    asked.deps.services.tunnels.drain(asked.actor, tunnel_id)
    return asked.go(f"/tunnels/{tunnel_id}", said="draining")


async def _agent(asked: Asked) -> Response:
    return asked.page("tunnels/agent.html", **_session(asked))


async def _agent_events(asked: Asked) -> Response:
    async def facts() -> str:
        return asked.written("tunnels/agent_facts.html", **_session(asked))

    return sse.stream(asked, ("tunnels",), {"facts": facts})


async def _stop(asked: Asked) -> Response:
    asked.deps.services.tunnels.stop_session(asked.actor, asked.named("id"))
    return asked.go("/tunnels", said="disconnected")


def _all(asked: Asked) -> dict[str, Any]:
    services, actor = asked.deps.services, asked.actor
    tunnels = services.tunnels.tunnels(actor)
    return {
        "tunnels": tunnels,
        "names": {tunnel.id: tunnel.name for tunnel in tunnels},
        "sessions": services.tunnels.sessions(actor),
        "figures": services.traffic.by_tunnel(actor, tuple(tunnel.id for tunnel in tunnels)),
        "rate": rate,
        "share": share,
    }


def _tunnel(asked: Asked) -> dict[str, Any]:
    services, actor = asked.deps.services, asked.actor
    tunnel = services.tunnels.tunnel(actor, asked.named("id"))
    figures = services.traffic.by_tunnel(actor, (tunnel.id,))[tunnel.id]
    return {"tunnel": tunnel, "minute": figures.minute, "rate": rate, "share": share}


def _session(asked: Asked) -> dict[str, Any]:
    services, actor = asked.deps.services, asked.actor
    session = services.tunnels.session(actor, asked.named("id"))
    tunnels = [tunnel for tunnel in services.tunnels.tunnels(actor) if tunnel.id in session.tunnel_ids]
    return {"session": session, "tunnels": tunnels}
