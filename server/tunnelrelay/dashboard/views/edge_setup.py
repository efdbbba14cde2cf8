"""The pages that change an edge's host, and the tunnels that serve the edge."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.form_lines import line_of_pair, read_pair
from tunnelrelay.dashboard.request_input import UserRequest, action_route, page_route
from tunnelrelay.dashboard.views import hosts
from tunnelrelay.dashboard.views.edge import PATH, edge_of, labels_of
from tunnelrelay.dashboard.views.edge_oidc import version_of
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.problems import ManageError, invalid

Pairs = tuple[tuple[str, str], ...]


def routes(deps: Deps) -> list[Route]:
    return [
        page_route(f"{PATH}/domain", _show_domain),
        action_route(f"{PATH}/domain", _move),
        page_route(f"{PATH}/tunnel-group", _show_group),
        action_route(f"{PATH}/tunnel-group", _regroup),
    ]


# The edge's host


async def _show_domain(request: UserRequest) -> Response:
    return await _domain_page(request, await edge_of(request))


async def _move(request: UserRequest) -> Response:
    edge = await edge_of(request)
    host = hosts.chosen_host(request.form)
    try:
        if not host:
            raise invalid({"name": "a name for the edge"})
        await request.deps.services.edges.update(request.actor, edge.id, host=host, version=version_of(request))
    except ManageError as error:
        return await _domain_page(request, edge, error)
    return request.redirect(f"/edges/{edge.id}", flash="saved")


async def _domain_page(request: UserRequest, edge: EdgeView, error: ManageError | None = None) -> Response:
    return request.page(
        "edges/domain.html",
        status=error.kind.value if error else 200,
        edge=edge,
        error=error,
        errors=hosts.by_place(error) if error else {},
        **await hosts.choices(request, edge.row.owner),
    )


# The edge's tunnel group


async def _show_group(request: UserRequest) -> Response:
    edge = await edge_of(request)
    labels = await labels_of(request, edge) if edge.row.backend_id else ()
    return _group_page(request, edge, "\n".join(line_of_pair(name, value) for name, value in labels))


async def _regroup(request: UserRequest) -> Response:
    edge = await edge_of(request)
    try:
        group = await _group_with(request, edge, _labels(request.form))
        await request.deps.services.edges.set_backend(request.actor, edge.id, group, version=version_of(request))
    except ManageError as error:
        return _group_page(request, edge, request.form.text("labels"), error)
    return request.redirect(f"/edges/{edge.id}", flash="saved")


async def _group_with(request: UserRequest, edge: EdgeView, labels: Pairs) -> str | None:
    """Return the id of the owner's tunnel group with exactly these labels, which is created if there is none.

    Existing groups are never changed, as other edges may use them. Returns None without labels: the edge is then served
    by tunnels with the edge's own label.
    """
    if not labels:
        return None
    backends, owner = request.deps.services.backends, edge.row.owner
    known = await backends.page(request.actor, limit=1000, owner=owner)
    same = next((group for group in known if dict(group.labels) == dict(labels)), None)
    return (same or await backends.create(request.actor, labels, owner=owner)).id


def _labels(form: Form) -> Pairs:
    try:
        return tuple(map(read_pair, form.lines("labels")))
    except ValueError as error:
        raise invalid({"labels": str(error)}) from error


def _group_page(request: UserRequest, edge: EdgeView, labels: str, error: ManageError | None = None) -> Response:
    return request.page(
        "edges/group.html",
        status=error.kind.value if error else 200,
        edge=edge,
        labels=labels,
        error=error,
        errors=error.fields if error else {},
    )
