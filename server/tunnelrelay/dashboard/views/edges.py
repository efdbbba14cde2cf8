"""Edges: the list, and making one. What is on an edge's own page is in `edge.py`."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import live
from tunnelrelay.dashboard.asked import Asked, does, shows
from tunnelrelay.dashboard.deps import Deps
from tunnelrelay.dashboard.views.modules import modules_of
from tunnelrelay.manage.edge_views import EdgeView
from tunnelrelay.manage.edges import NewEdge
from tunnelrelay.manage.problems import ManageError

PAGE = 50
MAX_DOMAINS = 200
"""Reserved domains to choose from; who has more types the name."""
NEW_NAME = "new"
"""The choice of a name that is to be reserved."""


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

    return live.stream(asked, ("edges", "tunnels"), {"rows": rows})


async def _page(asked: Asked) -> tuple[list[EdgeView], str]:
    """The page's edges, and where the next page begins; "" on the last."""
    before = asked.query("before") or None
    edges = await asked.deps.services.edges.page(asked.actor, before=before, limit=PAGE + 1)
    return edges[:PAGE], edges[PAGE - 1].id if len(edges) > PAGE else ""


async def _new(asked: Asked) -> Response:
    return await _new_page(asked)


async def _create(asked: Asked) -> Response:
    form = asked.form
    wanted = form.text("host")
    new = NewEdge(
        description=form.text("description"),
        host=(form.text("name") if wanted == NEW_NAME else wanted) or None,
        owner=form.text("owner") or None,
    )
    try:
        if new.host is None:
            return await _new_page(asked, errors={"name": "a name for the edge"}, status=400)
        edge = await asked.deps.services.edges.create(asked.actor, new)
    except ManageError as error:
        return await _new_page(asked, error=error, errors=_by_place(error), status=error.kind.value)
    return asked.go(f"/edges/{edge.id}", said="created")


async def _new_page(
    asked: Asked, *, error: ManageError | None = None, errors: dict[str, str] | None = None, status: int = 200
) -> Response:
    hosts = await _free_hosts(asked)
    form = asked.form
    return asked.page(
        "edges/new.html",
        status=status,
        options=[*zip(hosts, hosts, strict=True), (NEW_NAME, "Reserve another name…")] if hosts else [],
        host=form.text("host") or (hosts[0] if hosts else NEW_NAME),
        name=form.text("name"),
        description=form.text("description"),
        owner=form.text("owner"),
        error=error,
        errors=errors or {},
    )


async def _free_hosts(asked: Asked) -> list[str]:
    """Reserved hosts of the actor's own that no edge answers at."""
    services, actor = asked.deps.services, asked.actor
    edges = await services.edges.page(actor, limit=1000)
    taken = {edge.row.host for edge in edges}
    domains = await services.domains.page(actor, limit=MAX_DOMAINS, owner=actor.owner)
    return [domain.host for domain in domains if domain.host not in taken]


def _by_place(error: ManageError) -> dict[str, str]:
    """The problems at the form's fields; a name that is not to be had belongs to the name."""
    fields = dict(error.fields)
    for other in ("domain", "host"):
        if other in fields:
            fields["name"] = fields.pop(other)
    return fields or ({"name": error.message} if error.code in ("name_taken", "host_taken") else {})
