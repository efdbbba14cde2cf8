"""Where an edge answers, and which tunnels serve it."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.request_input import Asked, does, shows
from tunnelrelay.dashboard.views import hosts
from tunnelrelay.dashboard.views.edge import PATH, edge_of, labels_of
from tunnelrelay.dashboard.views.edge_oidc import version_of
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.problems import ManageError, invalid

Pairs = tuple[tuple[str, str], ...]


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows(f"{PATH}/domain", _show_domain),
        does(f"{PATH}/domain", _move),
        shows(f"{PATH}/tunnel-group", _show_group),
        does(f"{PATH}/tunnel-group", _regroup),
    ]


# Where it answers


async def _show_domain(asked: Asked) -> Response:
    return await _domain_page(asked, await edge_of(asked))


async def _move(asked: Asked) -> Response:
    edge = await edge_of(asked)
    host = hosts.wanted(asked.form)
    try:
        if not host:
            raise invalid({"name": "a name for the edge"})
        await asked.deps.services.edges.update(asked.actor, edge.id, host=host, version=version_of(asked))
    except ManageError as error:
        return await _domain_page(asked, edge, error)
    return asked.go(f"/edges/{edge.id}", said="saved")


async def _domain_page(asked: Asked, edge: EdgeView, error: ManageError | None = None) -> Response:
    return asked.page(
        "edges/domain.html",
        status=error.kind.value if error else 200,
        edge=edge,
        error=error,
        errors=hosts.by_place(error) if error else {},
        **await hosts.choices(asked, edge.row.owner),
    )


# Who serves it


async def _show_group(asked: Asked) -> Response:
    edge = await edge_of(asked)
    labels = await labels_of(asked, edge) if edge.row.backend_id else ()
    return _group_page(asked, edge, "\n".join(f"{name}={value}" for name, value in labels))


async def _regroup(asked: Asked) -> Response:
    edge = await edge_of(asked)
    try:
        group = await _group_with(asked, edge, _labels(asked.form))
        await asked.deps.services.edges.set_backend(asked.actor, edge.id, group, version=version_of(asked))
    except ManageError as error:
        return _group_page(asked, edge, asked.form.text("labels"), error)
    return asked.go(f"/edges/{edge.id}", said="saved")


async def _group_with(asked: Asked, edge: EdgeView, labels: Pairs) -> str | None:
    """The owner's tunnel group with just these labels, made if there is none; None for the edge's own label.

    A group that other edges use is never changed under them.
    """
    if not labels:
        return None
    backends, owner = asked.deps.services.backends, edge.row.owner
    known = await backends.page(asked.actor, limit=1000, owner=owner)
    same = next((group for group in known if dict(group.labels) == dict(labels)), None)
    return (same or await backends.create(asked.actor, labels, owner=owner)).id


def _labels(form: Form) -> Pairs:
    pairs = [line.partition("=") for line in form.lines("labels")]
    if wrong := next((name for name, equals, value in pairs if not (name and equals and value)), None):
        raise invalid({"labels": f"{wrong[:80]!r} is no name=value"})
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def _group_page(asked: Asked, edge: EdgeView, labels: str, error: ManageError | None = None) -> Response:
    return asked.page(
        "edges/group.html",
        status=error.kind.value if error else 200,
        edge=edge,
        labels=labels,
        error=error,
        errors=error.fields if error else {},
    )
