"""Reserved tcp ports: the list, reserving one, describing it, and giving it up."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.address import tcp_port
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import Asked
from tunnelrelay.dashboard.resource_pages import Context, ResourcePages
from tunnelrelay.store.resources import DomainRow


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return PAGES.routes()


def _texts(row: DomainRow | None) -> dict[str, str]:
    return {"addr": "", "description": "", "owner": ""} if row is None else {"description": row.description}


async def _create(asked: Asked) -> DomainRow:
    form = asked.form
    return await asked.deps.services.addrs.create(
        asked.actor, form.text("addr"), form.text("description"), owner=form.text("owner") or None
    )


async def _made(asked: Asked, row: DomainRow) -> Response:
    return asked.go(f"/tcp-ports/{row.id}", said="created")


async def _update(asked: Asked) -> DomainRow:
    text = asked.form.text("description")
    return await asked.deps.services.addrs.update(asked.actor, asked.named("id"), description=text)


async def _ports(asked: Asked, *_: object) -> Context:
    return {"ports": asked.deps.services.addrs.ranges}


async def _of_one(asked: Asked, row: DomainRow) -> Context:
    return {"port": tcp_port(row.host), "cool_seconds": asked.deps.services.addrs.base.cool_seconds}


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
