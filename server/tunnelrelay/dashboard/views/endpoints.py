"""The pages of endpoints: all addresses that are served now, with owner, access rules and traffic figures."""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelctl.look.charts import charts
from tunnelctl.look.figures import rate, share
from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest, page_route

TOPICS = ("tunnels", "edges")
"""Topics whose changes update the pages at once. Traffic is not among them: its figures are updated every 2 s anyway,
and a busy relay would render the pages for each request."""
LAST = 8
"""Last requests that the page of an endpoint shows."""


def routes(deps: Deps) -> list[Route]:
    return [
        page_route("/endpoints", _list),
        page_route("/endpoints/events", _list_events),
        page_route("/endpoints/{id}", _one),
        page_route("/endpoints/{id}/events", _one_events),
    ]


async def _list(request: UserRequest) -> Response:
    return request.page("endpoints/list.html", **_all(request))


async def _list_events(request: UserRequest) -> Response:
    async def rows() -> str:
        return request.render("endpoints/rows.html", **_all(request))

    return sse.stream(request, TOPICS, {"rows": rows})


async def _one(request: UserRequest) -> Response:
    return request.page("endpoints/one.html", **_shown(request))


async def _one_events(request: UserRequest) -> Response:
    async def now() -> str:
        return request.render("endpoints/now.html", **_shown(request))

    return sse.stream(request, TOPICS, {"now": now})


def _all(request: UserRequest) -> dict[str, Any]:
    services = request.deps.services
    return {
        "endpoints": services.tunnels.endpoints(request.actor),
        "figures": services.traffic.by_host(request.actor),
        "rate": rate,
        "share": share,
    }


def _shown(request: UserRequest) -> dict[str, Any]:
    services, actor = request.deps.services, request.actor
    endpoint = services.tunnels.endpoint(actor, request.path_param("id"))
    serving = [tunnel for tunnel in services.tunnels.tunnels(actor) if tunnel.id in endpoint.tunnel_ids]
    return {
        "endpoint": endpoint,
        "tunnels": serving,
        "names": {tunnel.id: tunnel.name for tunnel in serving},
        "figures": services.traffic.by_tunnel(actor, tuple(tunnel.id for tunnel in serving)),
        "charts": charts(services.traffic.series(actor, endpoint.host)),
        "rows": services.traffic.recent(actor, host=endpoint.host, limit=LAST),
        "is_filtered": False,
        "rate": rate,
        "share": share,
    }
