"""Edges: the list, and making one. What is on an edge's own page is in `edge.py`."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import Asked, does, shows
from tunnelrelay.dashboard.views import hosts
from tunnelrelay.dashboard.views.modules import modules_of
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.edges import NewEdge
from tunnelrelay.services.problems import ManageError

PAGE = 50


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows("/edges", _list),
        shows("/edges/events", _events),
        shows("/edges/new", _new),
        does("/edges/new", _create),
    ]


async def _list(asked: Asked) -> Response:
    edges, older = await _page(asked)
    return asked.page("edges/list.html", edges=edges, modules_of=modules_of, older=older)


async def _events(asked: Asked) -> Response:
    async def rows() -> str:
        edges, _ = await _page(asked)
        return asked.written("edges/rows.html", edges=edges, modules_of=modules_of)

    return sse.stream(asked, ("edges", "tunnels"), {"rows": rows})


async def _page(asked: Asked) -> tuple[list[EdgeView], str]:
    """The page's edges, and where the next page begins; "" on the last."""
    before = asked.query("before") or None
    edges = await asked.deps.services.edges.page(asked.actor, before=before, limit=PAGE + 1)
    return edges[:PAGE], edges[PAGE - 1].id if len(edges) > PAGE else ""


async def _new(asked: Asked) -> Response:
    return await _new_page(asked)


async def _create(asked: Asked) -> Response:
    form = asked.form
    new = NewEdge(
        description=form.text("description"), host=hosts.wanted(form) or None, owner=form.text("owner") or None
    )
    try:
        if new.host is None:
            return await _new_page(asked, errors={"name": "a name for the edge"}, status=400)
        edge = await asked.deps.services.edges.create(asked.actor, new)
    except ManageError as error:
        return await _new_page(asked, error=error, errors=hosts.by_place(error), status=error.kind.value)
    return asked.go(f"/edges/{edge.id}", said="created")


async def _new_page(
    asked: Asked, *, error: ManageError | None = None, errors: dict[str, str] | None = None, status: int = 200
) -> Response:
    return asked.page(
        "edges/new.html",
        status=status,
        description=asked.form.text("description"),
        owner=asked.form.text("owner"),
        error=error,
        errors=errors or {},
        **await hosts.choices(asked, asked.actor.owner),
    )
