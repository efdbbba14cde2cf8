"""The pages of reserved domains: list them, reserve one, change its description, and release it."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest
from tunnelrelay.dashboard.resource_pages import Context, ResourcePages
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.store.resources import DomainRow


def routes(deps: Deps) -> list[Route]:
    return PAGES.routes()


def _texts(row: DomainRow | None) -> dict[str, str]:
    return {"domain": "", "description": "", "owner": ""} if row is None else {"description": row.description}


async def _create(request: UserRequest) -> DomainRow:
    form = request.form
    return await request.deps.services.domains.create(
        request.actor, form.text("domain"), form.text("description"), owner=form.text("owner") or None
    )


async def _made(request: UserRequest, row: DomainRow) -> Response:
    return request.redirect(f"/domains/{row.id}", flash="created")


async def _update(request: UserRequest) -> DomainRow:
    text = request.form.text("description")
    return await request.deps.services.domains.update(request.actor, request.path_param("id"), description=text)


async def _of_list(request: UserRequest, rows: list[DomainRow]) -> Context:
    return {"edges": {row.host: await _edge_at(request, row.host) for row in rows}}


async def _of_one(request: UserRequest, row: DomainRow) -> Context:
    return {
        "edge": await _edge_at(request, row.host),
        "url": request.deps.address.url(row.host),
        "cool_seconds": request.deps.services.domains.base.cool_seconds,
    }


async def _edge_at(request: UserRequest, host: str) -> EdgeView | None:
    """Return the edge that is served at this host; None when there is none."""
    try:
        return await request.deps.services.edges.by_name(request.actor, host)
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
