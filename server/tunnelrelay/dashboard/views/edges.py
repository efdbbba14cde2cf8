"""The pages that list edges and create one. The page of a single edge is in `edge.py`."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest, action_route, page_route
from tunnelrelay.dashboard.views import hosts
from tunnelrelay.dashboard.views.modules import modules_of
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.problems import ManageError

PAGE = 50


def routes(deps: Deps) -> list[Route]:
    return [
        page_route("/edges", _list),
        page_route("/edges/events", _events),
        page_route("/edges/new", _new_page),
        action_route("/edges/new", _create),
    ]


async def _list(request: UserRequest) -> Response:
    edges, older = await _page(request)
    return request.page("edges/list.html", edges=edges, modules_of=modules_of, older=older)


async def _events(request: UserRequest) -> Response:
    async def rows() -> str:
        edges, _ = await _page(request)
        return request.render("edges/rows.html", edges=edges, modules_of=modules_of)

    return sse.stream(request, ("edges", "tunnels"), {"rows": rows})


async def _page(request: UserRequest) -> tuple[list[EdgeView], str]:
    """Return the edges of one page of the list, and the URL of the next page; "" on the last page."""
    before = request.query("before") or None
    edges = await request.deps.services.edges.page(request.actor, before=before, limit=PAGE + 1)
    return edges[:PAGE], edges[PAGE - 1].id if len(edges) > PAGE else ""


async def _create(request: UserRequest) -> Response:
    form = request.form
    new = EdgeDraft(
        description=form.text("description"), host=hosts.chosen_host(form) or None, owner=form.text("owner") or None
    )
    try:
        if new.host is None:
            return await _new_page(request, errors={"name": "a name for the edge"}, status=400)
        edge = await request.deps.services.edges.create(request.actor, new)
    except ManageError as error:
        return await _new_page(request, error=error, errors=hosts.by_place(error), status=error.kind.value)
    return request.redirect(f"/edges/{edge.id}", flash="created")


async def _new_page(
    request: UserRequest, *, error: ManageError | None = None, errors: dict[str, str] | None = None, status: int = 200
) -> Response:
    return request.page(
        "edges/new.html",
        status=status,
        description=request.form.text("description"),
        owner=request.form.text("owner"),
        error=error,
        errors=errors or {},
        **await hosts.choices(request, request.actor.owner),
    )
