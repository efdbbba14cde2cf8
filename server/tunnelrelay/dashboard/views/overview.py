"""The overview page: charts of the present traffic, what is online, and which visitors were refused."""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelctl.look.charts import charts
from tunnelctl.look.figures import rate, share
from tunnelctl.series import Figures
from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest, page_route
from tunnelrelay.dashboard.views.kept_out import visitors

FEW = 6
"""Lines of the lists beside the charts: as many as fit without scrolling."""
LOOKED_AT = 200
"""Refused requests that are searched for different visitors each time the page is updated, which takes some ms."""


@dataclass(frozen=True, slots=True)
class Online:
    """How many endpoints, tunnels, agents and people there are now.

    Attributes:
        unserved: Endpoints without a tunnel.
        unhealthy: Tunnels whose local service does not answer.
        draining: Tunnels that get no new requests.
        people: Signed-in visitors among the last requests.
    """

    endpoints: int
    unserved: int
    tunnels: int
    unhealthy: int
    draining: int
    agents: int
    people: int


def routes(deps: Deps) -> list[Route]:
    return [page_route("/", _overview), page_route("/overview/events", _events)]


async def _overview(request: UserRequest) -> Response:
    services = request.deps.services
    edges = await services.edges.page(request.actor, limit=1)
    is_new = not edges and not services.tunnels.endpoints(request.actor)
    return request.page("overview/page.html", is_new=is_new, **_now(request), **_lists(request))


async def _events(request: UserRequest) -> Response:
    async def now() -> str:
        return request.render("overview/now.html", **_now(request))

    async def lists() -> str:
        return request.render("overview/lists.html", **_lists(request))

    # Without the topic of traffic: figures are updated every 2 s anyway, not for each request of a busy relay.
    return sse.stream(request, ("tunnels", "edges"), {"now": now, "lists": lists})


def _now(request: UserRequest) -> dict[str, Any]:
    return {"charts": charts(request.deps.services.traffic.series(request.actor)), "online": _online(request)}


def _lists(request: UserRequest) -> dict[str, Any]:
    traffic = request.deps.services.traffic
    return {
        "busiest": _busiest(traffic.by_host(request.actor)),
        "kept_out": visitors(traffic.recent(request.actor, verdict="kept out", limit=LOOKED_AT), FEW),
        "rate": rate,
        "share": share,
    }


def _online(request: UserRequest) -> Online:
    tunnels = request.deps.services.tunnels
    endpoints, all_tunnels = tunnels.endpoints(request.actor), tunnels.tunnels(request.actor)
    return Online(
        endpoints=len(endpoints),
        unserved=sum(not endpoint.tunnel_ids for endpoint in endpoints),
        tunnels=len(all_tunnels),
        unhealthy=sum(not tunnel.is_healthy for tunnel in all_tunnels),
        draining=sum(tunnel.is_draining for tunnel in all_tunnels),
        agents=len(tunnels.sessions(request.actor)),
        people=request.deps.services.traffic.people(request.actor),
    )


def _busiest(by_host: dict[str, Figures]) -> list[tuple[str, Figures]]:
    """Return the hosts with the most requests in the last minute, the busiest first."""
    asked_for = [(host, minute) for host, minute in by_host.items() if minute.requests]
    return sorted(asked_for, key=lambda each: (-each[1].requests, each[0]))[:FEW]
