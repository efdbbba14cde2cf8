"""One edge's page: its address, who serves it at this moment, how to start one more, its modules; and its end."""

import shlex
from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import sse
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import Asked, does, shows
from tunnelrelay.dashboard.views.modules import modules_of
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.traffic import TunnelFigures
from tunnelrelay.services.tunnels import TunnelView

Pairs = tuple[tuple[str, str], ...]

PATH = "/edges/{id}"
OWN_LABEL = "edge"
"""The label that every edge without a tunnel group of its own is joined by, with its id."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A tunnel among those that serve the edge."""

    tunnel: TunnelView
    figures: TunnelFigures


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows(PATH, _show),
        shows(f"{PATH}/events", _events),
        shows(f"{PATH}/description", _edit_description),
        does(f"{PATH}/description", _describe),
        does(f"{PATH}/delete", _delete),
        does(f"{PATH}/tunnels/{{tunnel}}/drain", _drain),
    ]


async def _show(asked: Asked) -> Response:
    return await _page(asked, await edge_of(asked))


async def _page(
    asked: Asked,
    edge: EdgeView,
    *,
    is_editing: bool = False,
    description: str | None = None,
    error: ManageError | None = None,
    delete_error: str = "",
    status: int = 200,
) -> Response:
    labels = await labels_of(asked, edge)
    return asked.page(
        "edges/edge.html",
        status=status,
        edge=edge,
        labels=labels,
        serving=_serving(asked, edge),
        modules=modules_of(edge),
        commands=_commands(edge, labels, asked.relay_url),
        is_editing=is_editing,
        description=edge.row.description if description is None else description,
        error=error,
        delete_error=delete_error,
    )


async def _events(asked: Asked) -> Response:
    edge = await edge_of(asked)

    async def tunnels() -> str:
        now = await edge_of(asked)
        labels = await labels_of(asked, now)
        return asked.written("edges/tunnels.html", edge=now, labels=labels, serving=_serving(asked, now))

    async def status() -> str:
        return asked.written("edges/status.html", edge=await edge_of(asked))

    topics = (f"edge:{edge.id}", "edges", "tunnels", "traffic")
    return sse.stream(asked, topics, {"status": status, "tunnels": tunnels})


async def _edit_description(asked: Asked) -> Response:
    """The field in the place of the text; without a script, on the whole page."""
    edge = await edge_of(asked)
    if not asked.by_htmx:
        return await _page(asked, edge, is_editing=True)
    is_editing = asked.query("cancel") == ""
    return asked.part(
        "edges/description.html", edge=edge, is_editing=is_editing, description=edge.row.description, error=None
    )


async def _describe(asked: Asked) -> Response:
    text = asked.form.text("description")
    edges = asked.deps.services.edges
    try:
        edge = await edges.update(asked.actor, asked.named("id"), description=text)
    except ManageError as error:
        edge = await edge_of(asked)
        if not asked.by_htmx:
            return await _page(asked, edge, is_editing=True, description=text, error=error, status=error.kind.value)
        return asked.part(
            "edges/description.html",
            edge=edge,
            is_editing=True,
            description=text,
            error=error,
            status=error.kind.value,
        )
    if not asked.by_htmx:
        return asked.go(f"/edges/{edge.id}", said="saved")
    return asked.part("edges/description.html", edge=edge, is_editing=False, description=text, error=None)


async def _delete(asked: Asked) -> Response:
    edge = await edge_of(asked)
    if asked.form.text("typed") != name_of(edge):
        return await _page(asked, edge, delete_error=f"That is not {name_of(edge)}.", status=400)
    await asked.deps.services.edges.delete(asked.actor, edge.id)
    return asked.go("/edges", said="deleted")


async def _drain(asked: Asked) -> Response:
    edge = await edge_of(asked)
    asked.deps.services.tunnels.drain(asked.actor, asked.named("tunnel"))
    return asked.go(f"/edges/{edge.id}", said="draining")


async def edge_of(asked: Asked) -> EdgeView:
    """The edge that the path names.

    Raises:
        ManageError: MISSING.
    """
    return await asked.deps.services.edges.get(asked.actor, asked.named("id"))


def name_of(edge: EdgeView) -> str:
    """What people call it, and type before it is deleted."""
    return edge.row.host or edge.id


def _serving(asked: Asked, edge: EdgeView) -> list[Serving]:
    services = asked.deps.services
    tunnels = services.tunnels.serving(asked.actor, edge.id)
    figures = services.traffic.by_tunnel(asked.actor, tuple(tunnel.id for tunnel in tunnels))
    return [Serving(tunnel, figures[tunnel.id]) for tunnel in tunnels]


async def labels_of(asked: Asked, edge: EdgeView) -> Pairs:
    """What a tunnel must carry to serve the edge."""
    if not edge.row.backend_id:
        return ((OWN_LABEL, edge.id),)
    return (await asked.deps.services.backends.get(asked.actor, edge.row.backend_id)).labels


def _commands(edge: EdgeView, labels: Pairs, relay_url: str) -> list[str]:
    """How to start a tunnel that joins, on any machine, the general way first."""
    flags = " ".join(f"--label {shlex.quote(f'{name}={value}')}" for name, value in labels)
    commands = [f"tunnel tunnel {flags} http://localhost:80 --relay {relay_url}"]
    if labels == ((OWN_LABEL, edge.id),):
        commands.append(f"tunnel http 80 --edge {(edge.row.host or edge.id).partition('.')[0]} --relay {relay_url}")
    return commands
