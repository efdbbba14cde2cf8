"""Overview: what is asked of the relay right now, what is online, and who was kept out."""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.charts import charts, rate, share
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import Asked, shows
from tunnelrelay.dashboard.views.kept_out import visitors
from tunnelrelay.services.traffic import Figures

FEW = 6
"""Lines of the short lists: what fits beside the charts without scrolling."""
LOOKED_AT = 200
"""Requests that were kept out, looked through for different visitors each time the page changes: some milliseconds."""


@dataclass(frozen=True, slots=True)
class Online:
    """What is there now.

    Attributes:
        unserved: Endpoints without a tunnel.
        unhealthy: Tunnels whose local service does not answer.
        people: Whose requests are among the last ones.
    """

    endpoints: int
    unserved: int
    tunnels: int
    unhealthy: int
    draining: int
    agents: int
    people: int


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [shows("/", _overview), shows("/overview/events", _events)]


async def _overview(asked: Asked) -> Response:
    services = asked.deps.services
    edges = await services.edges.page(asked.actor, limit=1)
    is_new = not edges and not services.tunnels.endpoints(asked.actor)
    return asked.page("overview/page.html", is_new=is_new, **_now(asked), **_lists(asked))


async def _events(asked: Asked) -> Response:
    async def now() -> str:
        return asked.written("overview/now.html", **_now(asked))

    async def lists() -> str:
        return asked.written("overview/lists.html", **_lists(asked))

    # What is counted is looked at every 2 s anyway: no need to make it anew for each request of a busy relay.
    return sse.stream(asked, ("tunnels", "edges"), {"now": now, "lists": lists})


def _now(asked: Asked) -> dict[str, Any]:
    return {"charts": charts(asked.deps.services.traffic.series(asked.actor)), "online": _online(asked)}


def _lists(asked: Asked) -> dict[str, Any]:
    traffic = asked.deps.services.traffic
    return {
        "busiest": _busiest(traffic.by_host(asked.actor)),
        "kept_out": visitors(traffic.recent(asked.actor, verdict="kept out", limit=LOOKED_AT), FEW),
        "rate": rate,
        "share": share,
    }


def _online(asked: Asked) -> Online:
    tunnels = asked.deps.services.tunnels
    endpoints, all_tunnels = tunnels.endpoints(asked.actor), tunnels.tunnels(asked.actor)
    return Online(
        endpoints=len(endpoints),
        unserved=sum(not endpoint.tunnel_ids for endpoint in endpoints),
        tunnels=len(all_tunnels),
        unhealthy=sum(not tunnel.is_healthy for tunnel in all_tunnels),
        draining=sum(tunnel.is_draining for tunnel in all_tunnels),
        agents=len(tunnels.sessions(asked.actor)),
        people=asked.deps.services.traffic.people(asked.actor),
    )


def _busiest(by_host: dict[str, Figures]) -> list[tuple[str, Figures]]:
    """Hosts with requests in the last minute, those with the most first."""
    asked_for = [(host, minute) for host, minute in by_host.items() if minute.requests]
    return sorted(asked_for, key=lambda each: (-each[1].requests, each[0]))[:FEW]
