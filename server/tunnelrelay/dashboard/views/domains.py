"""Reserved domains: the list, reserving one, describing it, and giving it up."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import Asked
from tunnelrelay.dashboard.resource_pages import Context, ResourcePages
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.store.resources import DomainRow


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return PAGES.routes()


def _texts(row: DomainRow | None) -> dict[str, str]:
    return {"domain": "", "description": "", "owner": ""} if row is None else {"description": row.description}


async def _create(asked: Asked) -> DomainRow:
    form = asked.form
    return await asked.deps.services.domains.create(
        asked.actor, form.text("domain"), form.text("description"), owner=form.text("owner") or None
    )


async def _made(asked: Asked, row: DomainRow) -> Response:
    return asked.go(f"/domains/{row.id}", said="created")


async def _update(asked: Asked) -> DomainRow:
    text = asked.form.text("description")
    return await asked.deps.services.domains.update(asked.actor, asked.named("id"), description=text)


async def _of_list(asked: Asked, rows: list[DomainRow]) -> Context:
    return {"edges": {row.host: await _edge_at(asked, row.host) for row in rows}}


async def _of_one(asked: Asked, row: DomainRow) -> Context:
    return {
        "edge": await _edge_at(asked, row.host),
        "url": asked.deps.address.url(row.host),
        "cool_seconds": asked.deps.services.domains.base.cool_seconds,
    }


async def _edge_at(asked: Asked, host: str) -> EdgeView | None:
    """The edge that answers there, if there is one."""
    try:
        return await asked.deps.services.edges.by_name(asked.actor, host)
    except ManageError as error:
        if error.kind is not Kind.MISSING:
            raise
        return None


PAGES = ResourcePages(
    path="/domains",
    folder="domains",
    service=lambda services: services.domains,
    texts=_texts,
    create=_create,
    made=_made,
    update=_update,
    removal="release",
    removed="released",
    taken="domain",
    list_context=_of_list,
    one_context=_of_one,
)
