"""Endpoints: every address that is live, whose it is, who is let in, and how it is doing."""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.charts import charts, rate, share
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import Asked, shows

TOPICS = ("tunnels", "edges")
"""What is counted is looked at every 2 s anyway: no need to make it anew for each request of a busy relay."""
LAST = 8
"""Requests on an endpoint's own page."""


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows("/endpoints", _list),
        shows("/endpoints/events", _list_events),
        shows("/endpoints/{id}", _one),
        shows("/endpoints/{id}/events", _one_events),
    ]


async def _list(asked: Asked) -> Response:
    return asked.page("endpoints/list.html", **_all(asked))


async def _list_events(asked: Asked) -> Response:
    async def rows() -> str:
        return asked.written("endpoints/rows.html", **_all(asked))

    return sse.stream(asked, TOPICS, {"rows": rows})


async def _one(asked: Asked) -> Response:
    return asked.page("endpoints/one.html", **_shown(asked))


async def _one_events(asked: Asked) -> Response:
    async def now() -> str:
        return asked.written("endpoints/now.html", **_shown(asked))

    return sse.stream(asked, TOPICS, {"now": now})


def _all(asked: Asked) -> dict[str, Any]:
    services = asked.deps.services
    return {
        "endpoints": services.tunnels.endpoints(asked.actor),
        "figures": services.traffic.by_host(asked.actor),
        "rate": rate,
        "share": share,
    }


def _shown(asked: Asked) -> dict[str, Any]:
    services, actor = asked.deps.services, asked.actor
    endpoint = services.tunnels.endpoint(actor, asked.named("id"))
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
