"""Reserved domains: the list, reserving one, what is said about it, and giving it up."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.listing import listing
from tunnelrelay.dashboard.request_input import Asked, does, shows
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.problems import Kind, ManageError

PATH = "/domains/{id}"


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows("/domains", _list),
        shows("/domains/new", _new),
        does("/domains/new", _reserve),
        shows(PATH, _show),
        does(PATH, _save),
        does(f"{PATH}/release", _release),
    ]


async def _list(asked: Asked) -> Response:
    domains, owner = asked.deps.services.domains, asked.query("owner")
    page = await listing(
        asked,
        lambda before, limit: domains.page(asked.actor, before=before, limit=limit, owner=owner or None),
        owner=owner,
    )
    edges = {row.host: await _edge_at(asked, row.host) for row in page.rows}
    return asked.page("domains/list.html", page=page, edges=edges, owner=owner)


async def _new(asked: Asked) -> Response:
    return _new_page(asked)


async def _reserve(asked: Asked) -> Response:
    form = asked.form
    try:
        row = await asked.deps.services.domains.create(
            asked.actor, form.text("name"), form.text("description"), owner=form.text("owner") or None
        )
    except ManageError as error:
        return _new_page(asked, error)
    return asked.go(f"/domains/{row.id}", said="created")


def _new_page(asked: Asked, error: ManageError | None = None) -> Response:
    errors = dict(error.fields) if error else {}
    if error is not None and ("domain" in errors or error.code == "domain_taken"):
        errors["name"] = errors.pop("domain", error.message)
    return asked.page(
        "domains/new.html", status=error.kind.value if error else 200, error=error, errors=errors, form=asked.form
    )


async def _show(asked: Asked) -> Response:
    return await _page(asked)


async def _save(asked: Asked) -> Response:
    text = asked.form.text("description")
    try:
        await asked.deps.services.domains.update(asked.actor, asked.named("id"), description=text)
    except ManageError as error:
        return await _page(asked, error, description=text)
    return asked.go(f"/domains/{asked.named('id')}", said="kept")


async def _release(asked: Asked) -> Response:
    try:
        await asked.deps.services.domains.delete(asked.actor, asked.named("id"))
    except ManageError as error:
        if error.kind is not Kind.CONFLICT:
            raise
        return await _page(asked, error)
    return asked.go("/domains", said="released")


async def _page(asked: Asked, error: ManageError | None = None, *, description: str | None = None) -> Response:
    """One domain's page; what is not theirs raises MISSING here, whatever else went wrong."""
    domains = asked.deps.services.domains
    row = await domains.get(asked.actor, asked.named("id"))
    return asked.page(
        "domains/one.html",
        status=error.kind.value if error else 200,
        domain=row,
        edge=await _edge_at(asked, row.host),
        url=asked.deps.address.url(row.host),
        description=row.description if description is None else description,
        error=error,
        cool_seconds=domains.base.cool_seconds,
    )


async def _edge_at(asked: Asked, host: str) -> EdgeView | None:
    """The edge that answers there, if there is one."""
    try:
        return await asked.deps.services.edges.by_name(asked.actor, host)
    except ManageError as error:
        if error.kind is not Kind.MISSING:
            raise
        return None
