"""The page of one edge: its address, the tunnels that serve it, commands that start one more, its modules, deletion."""

import shlex
from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest, action_route, page_route
from tunnelrelay.dashboard.views.modules import modules_of
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.traffic import TunnelFigures
from tunnelrelay.services.tunnels import TunnelView

Pairs = tuple[tuple[str, str], ...]

PATH = "/edges/{id}"
OWN_LABEL = "edge"
"""Name of the label that tunnels carry, with an edge's id as value, to join an edge without a tunnel group."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A tunnel that serves the edge, with its traffic figures."""

    tunnel: TunnelView
    figures: TunnelFigures


def routes(deps: Deps) -> list[Route]:
    return [
        page_route(PATH, _show),
        page_route(f"{PATH}/events", _events),
        page_route(f"{PATH}/description", _edit_description),
        action_route(f"{PATH}/description", _describe),
        action_route(f"{PATH}/delete", _delete),
        action_route(f"{PATH}/tunnels/{{tunnel}}/drain", _drain),
    ]


async def _show(request: UserRequest) -> Response:
    return await _page(request, await edge_of(request))


async def _page(
    request: UserRequest,
    edge: EdgeView,
    *,
    is_editing: bool = False,
    description: str | None = None,
    error: ManageError | None = None,
    delete_error: str = "",
    status: int = 200,
) -> Response:
    labels = await labels_of(request, edge)
    return request.page(
        "edges/edge.html",
        status=status,
        edge=edge,
        labels=labels,
        serving=_serving(request, edge),
        modules=modules_of(edge),
        commands=_commands(edge, labels, request.relay_url),
        is_editing=is_editing,
        description=edge.row.description if description is None else description,
        error=error,
        delete_error=delete_error,
    )


async def _events(request: UserRequest) -> Response:
    edge = await edge_of(request)

    async def tunnels() -> str:
        now = await edge_of(request)
        labels = await labels_of(request, now)
        return request.render("edges/tunnels.html", edge=now, labels=labels, serving=_serving(request, now))

    async def status() -> str:
        return request.render("edges/status.html", edge=await edge_of(request))

    topics = (f"edge:{edge.id}", "edges", "tunnels", "traffic")
    return sse.stream(request, topics, {"status": status, "tunnels": tunnels})


async def _edit_description(request: UserRequest) -> Response:
    """Return the field for the edge's description, in place of its text; without htmx, the whole page with it."""
    edge = await edge_of(request)
    if not request.by_htmx:
        return await _page(request, edge, is_editing=True)
    is_editing = request.query("cancel") == ""
    return request.part(
        "edges/description.html", edge=edge, is_editing=is_editing, description=edge.row.description, error=None
    )


async def _describe(request: UserRequest) -> Response:
    text = request.form.text("description")
    edges = request.deps.services.edges
    try:
        edge = await edges.update(request.actor, request.path_param("id"), description=text)
    except ManageError as error:
        edge = await edge_of(request)
        if not request.by_htmx:
            return await _page(request, edge, is_editing=True, description=text, error=error, status=error.kind.value)
        return request.part(
            "edges/description.html",
            edge=edge,
            is_editing=True,
            description=text,
            error=error,
            status=error.kind.value,
        )
    if not request.by_htmx:
        return request.redirect(f"/edges/{edge.id}", flash="saved")
    return request.part("edges/description.html", edge=edge, is_editing=False, description=text, error=None)


async def _delete(request: UserRequest) -> Response:
    edge = await edge_of(request)
    if request.form.text("typed") != name_of(edge):
        return await _page(request, edge, delete_error=f"That is not {name_of(edge)}.", status=400)
    await request.deps.services.edges.delete(request.actor, edge.id)
    return request.redirect("/edges", flash="deleted")


async def _drain(request: UserRequest) -> Response:
    edge = await edge_of(request)
    request.deps.services.tunnels.drain(request.actor, request.path_param("tunnel"))
    return request.redirect(f"/edges/{edge.id}", flash="draining")


async def edge_of(request: UserRequest) -> EdgeView:
    """Return the edge that the request's path names.

    Raises:
        ManageError: MISSING when there is no such edge that the user may see.
    """
    return await request.deps.services.edges.get(request.actor, request.path_param("id"))


def name_of(edge: EdgeView) -> str:
    """Return an edge's host, or its id without a host. Users type this name before they delete the edge."""
    return edge.row.host or edge.id


def _serving(request: UserRequest, edge: EdgeView) -> list[Serving]:
    services = request.deps.services
    tunnels = services.tunnels.serving(request.actor, edge.id)
    figures = services.traffic.by_tunnel(request.actor, tuple(tunnel.id for tunnel in tunnels))
    return [Serving(tunnel, figures[tunnel.id]) for tunnel in tunnels]


async def labels_of(request: UserRequest, edge: EdgeView) -> Pairs:
    """Return the labels that a tunnel must carry to serve the edge."""
    if not edge.row.backend_id:
        return ((OWN_LABEL, edge.id),)
    return (await request.deps.services.backends.get(request.actor, edge.row.backend_id)).labels


def _commands(edge: EdgeView, labels: Pairs, relay_url: str) -> list[str]:
    """Return commands that start a tunnel which serves the edge: one with labels, and a short one if possible."""
    flags = " ".join(f"--label {shlex.quote(f'{name}={value}')}" for name, value in labels)
    commands = [f"tunnel tunnel {flags} http://localhost:80 --relay {relay_url}"]
    if labels == ((OWN_LABEL, edge.id),):
        commands.append(f"tunnel http 80 --edge {(edge.row.host or edge.id).partition('.')[0]} --relay {relay_url}")
    return commands
