"""The pages of reserved tcp ports: list them, reserve one, change its description, and release it."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.address import tcp_port
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest
from tunnelrelay.dashboard.resource_pages import Context, ResourcePages
from tunnelrelay.store.resources import DomainRow


def routes(deps: Deps) -> list[Route]:
    return PAGES.routes()


def _texts(row: DomainRow | None) -> dict[str, str]:
    return {"addr": "", "description": "", "owner": ""} if row is None else {"description": row.description}


async def _create(request: UserRequest) -> DomainRow:
    form = request.form
    return await request.deps.services.addrs.create(
        request.actor, form.text("addr"), form.text("description"), owner=form.text("owner") or None
    )


async def _made(request: UserRequest, row: DomainRow) -> Response:
    return request.redirect(f"/tcp-ports/{row.id}", flash="created")


async def _update(request: UserRequest) -> DomainRow:
    text = request.form.text("description")
    return await request.deps.services.addrs.update(request.actor, request.path_param("id"), description=text)


async def _ports(request: UserRequest, *_: object) -> Context:
    return {"ports": request.deps.services.addrs.ranges}


async def _of_one(request: UserRequest, row: DomainRow) -> Context:
    return {"port": tcp_port(row.host), "cool_seconds": request.deps.services.addrs.base.cool_seconds}


PAGES = ResourcePages(
    path="/tcp-ports",
    folder="addrs",
    service=lambda services: services.addrs,
    texts=_texts,
    create=_create,
    made=_made,
    update=_update,
    removal="release",
    removed="released",
    taken="addr",
    list_context=_ports,
    new_context=_ports,
    one_context=_of_one,
)
