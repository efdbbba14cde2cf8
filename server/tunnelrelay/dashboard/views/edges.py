"""Edges: the list, making one, and deleting one. What is on an edge's page is in `edge.py`."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.asked import Asked, shows
from tunnelrelay.dashboard.deps import Deps

PAGE = 50


def routes(deps: Deps) -> list[Route]:
    """See `views.Area`."""
    return [shows("/edges", _list)]


async def _list(asked: Asked) -> Response:
    edges = await asked.deps.services.edges.page(asked.actor, before=asked.query("before") or None, limit=PAGE + 1)
    return asked.page("edges/list.html", edges=edges[:PAGE], older=edges[PAGE - 1].row.id if len(edges) > PAGE else "")
