"""The pages of API keys: list them, create one with scopes (the key is shown once), describe it, delete it."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import expiry
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.request_input import UserRequest
from tunnelrelay.dashboard.resource_pages import Context, ResourcePages
from tunnelrelay.services.actor import AREAS, EVERYTHING
from tunnelrelay.services.problems import invalid
from tunnelrelay.store.resources import ApiKeyRow

MAX_USERS = 200
"""Users that the form for a new key offers, and whose names the list shows."""
USUAL_EXPIRY = "90d"
EVERY, SOME = "every", "some"
"""Values of the form's choice of scopes: everything, or only the ticked scopes."""
MEANINGS = {
    "edges": "Edges, backends, tunnels, endpoints",
    "domains": "Reserved domains",
    "credentials": "Authtokens, trust rules and API keys",
    "providers": "OpenID providers",
    "users": "Users",
    "sessions": "Visitors’ logins",
    "traffic": "Requests",
    "audit": "Audit log",
}
"""The label of each scope's area on the page."""


def routes(deps: Deps) -> list[Route]:
    return PAGES.routes()


def _texts(row: ApiKeyRow | None) -> dict[str, str]:
    if row is None:
        return {"description": "", "expires_at": USUAL_EXPIRY, "user": "", "reach": EVERY}
    return {"description": row.description}


async def _create(request: UserRequest) -> tuple[ApiKeyRow, str]:
    form = request.form
    return await request.deps.services.api_keys.create(
        request.actor,
        expires_at=expiry.expires_at(form.text("expires_at"), request.deps.clock()),
        scopes=_scopes(form),
        description=form.text("description"),
        user_id=form.text("user") or None,
    )


def _scopes(form: Form) -> tuple[str, ...]:
    """Return the scopes that the form has ticked, or the scope for everything when it was chosen explicitly."""
    if form.text("reach") == EVERY:
        return (EVERYTHING,)
    ticked = tuple(scope for scope in form.texts("scope") if scope != EVERYTHING)
    if not ticked:
        raise invalid({"scopes": "tick one at least"})
    return ticked


async def _made(request: UserRequest, made: tuple[ApiKeyRow, str]) -> Response:
    """Return the page that shows a new key; no other page can show it."""
    row, text = made
    address = request.deps.address
    url = address.url(address.api_host)
    return request.page("api_keys/made.html", key=row, text=text, url=url, names=await _names(request))


async def _update(request: UserRequest) -> ApiKeyRow:
    text = request.form.text("description")
    return await request.deps.services.api_keys.update(request.actor, request.path_param("id"), description=text)


async def _of_any(request: UserRequest, _: object) -> Context:
    return {"names": await _names(request)}


async def _of_new(request: UserRequest) -> Context:
    return {
        "users": list((await _names(request)).items()) if request.actor.is_admin else [],
        "options": expiry.OPTIONS,
        "areas": [(area, MEANINGS[area]) for area in AREAS],
        "ticked": frozenset(request.form.texts("scope")),
    }


async def _names(request: UserRequest) -> dict[str, str]:
    """Return the names of users by id, the signed-in user first; a member sees no other user."""
    own = {request.actor.user_id: request.actor.name}
    users = await request.deps.services.users.page(request.actor, limit=MAX_USERS)
    return own | {user.id: user.name for user in users}


PAGES = ResourcePages(
    path="/api-keys",
    folder="api_keys",
    service=lambda services: services.api_keys,
    texts=_texts,
    create=_create,
    made=_made,
    update=_update,
    removed="revoked",
    by_owner=False,
    list_context=_of_any,
    new_context=_of_new,
    one_context=_of_any,
)
