"""The pages of tunnels and agents: addresses, health and figures of each, draining a tunnel, disconnecting an agent."""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelctl.look.figures import rate, share
from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest, action_route, page_route


def routes(deps: Deps) -> list[Route]:
    return [
        page_route("/tunnels", _list),
        page_route("/tunnels/events", _list_events),
        page_route("/tunnels/agents/{id}", _agent),
        page_route("/tunnels/agents/{id}/events", _agent_events),
        action_route("/tunnels/agents/{id}/stop", _stop),
        page_route("/tunnels/{id}", _one),
        page_route("/tunnels/{id}/events", _one_events),
        action_route("/tunnels/{id}/drain", _drain),
    ]


async def _list(request: UserRequest) -> Response:
    return request.page("tunnels/list.html", **_all(request))


async def _list_events(request: UserRequest) -> Response:
    async def tunnels() -> str:
        return request.render("tunnels/rows.html", **_all(request))

    async def agents() -> str:
        return request.render("tunnels/agent_rows.html", **_all(request))

    return sse.stream(request, ("tunnels",), {"tunnels": tunnels, "agents": agents})


async def _one(request: UserRequest) -> Response:
    return request.page("tunnels/one.html", **_tunnel(request))


async def _one_events(request: UserRequest) -> Response:
    async def facts() -> str:
        return request.render("tunnels/facts.html", **_tunnel(request))

    return sse.stream(request, ("tunnels",), {"facts": facts})


async def _drain(request: UserRequest) -> Response:
    tunnel_id = request.path_param("id")
    request.deps.services.tunnels.drain(request.actor, tunnel_id)
    return request.redirect(f"/tunnels/{tunnel_id}", flash="draining")


async def _agent(request: UserRequest) -> Response:
    return request.page("tunnels/agent.html", **_session(request))


async def _agent_events(request: UserRequest) -> Response:
    async def facts() -> str:
        return request.render("tunnels/agent_facts.html", **_session(request))

    return sse.stream(request, ("tunnels",), {"facts": facts})


async def _stop(request: UserRequest) -> Response:
    request.deps.services.tunnels.stop_session(request.actor, request.path_param("id"))
    return request.redirect("/tunnels", flash="disconnected")


def _all(request: UserRequest) -> dict[str, Any]:
    services, actor = request.deps.services, request.actor
    tunnels = services.tunnels.tunnels(actor)
    return {
        "tunnels": tunnels,
        "names": {tunnel.id: tunnel.name for tunnel in tunnels},
        "sessions": services.tunnels.sessions(actor),
        "figures": services.traffic.by_tunnel(actor, tuple(tunnel.id for tunnel in tunnels)),
        "rate": rate,
        "share": share,
    }


def _tunnel(request: UserRequest) -> dict[str, Any]:
    services, actor = request.deps.services, request.actor
    tunnel = services.tunnels.tunnel(actor, request.path_param("id"))
    figures = services.traffic.by_tunnel(actor, (tunnel.id,))[tunnel.id]
    return {"tunnel": tunnel, "minute": figures.minute, "rate": rate, "share": share}


def _session(request: UserRequest) -> dict[str, Any]:
    services, actor = request.deps.services, request.actor
    session = services.tunnels.session(actor, request.path_param("id"))
    tunnels = [tunnel for tunnel in services.tunnels.tunnels(actor) if tunnel.id in session.tunnel_ids]
    return {"session": session, "tunnels": tunnels}
