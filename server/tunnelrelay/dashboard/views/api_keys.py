"""Keys of the relay's API: made with scopes and shown once, described, deleted."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import expiry
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.listing import listing
from tunnelrelay.dashboard.request_input import Asked, does, shows
from tunnelrelay.services.actor import AREAS, EVERYTHING
from tunnelrelay.services.problems import ManageError

PATH = "/api-keys/{id}"
MAX_USERS = 200
"""Users to choose from."""
USUAL_EXPIRY = "90d"
EVERY, SOME = "every", "some"
"""The two choices of what a key may do."""
MEANINGS = {
    "edges": "Edges, backends, tunnels, endpoints",
    "domains": "Reserved domains",
    "credentials": "Authtokens and API keys",
    "providers": "OpenID providers",
    "users": "Users",
    "sessions": "Visitors’ logins",
    "traffic": "Requests",
    "audit": "Audit log",
}
"""What each area is called on the page."""


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows("/api-keys", _list),
        shows("/api-keys/new", _new),
        does("/api-keys/new", _create),
        shows(PATH, _show),
        does(PATH, _save),
        does(f"{PATH}/delete", _delete),
    ]


async def _list(asked: Asked) -> Response:
    api_keys = asked.deps.services.api_keys
    page = await listing(asked, lambda before, limit: api_keys.page(asked.actor, before=before, limit=limit))
    return asked.page("api_keys/list.html", page=page, names=await _names(asked))


async def _new(asked: Asked) -> Response:
    return await _new_page(asked)


async def _create(asked: Asked) -> Response:
    """Answers with the key itself: there is no other page that could show it."""
    form = asked.form
    try:
        row, text = await asked.deps.services.api_keys.create(
            asked.actor,
            description=form.text("description"),
            scopes=_scopes(form),
            expires_at=expiry.expires_at(form.text("expires_at"), asked.deps.clock()),
            user_id=form.text("user") or None,
        )
    except ManageError as error:
        return await _new_page(asked, error)
    address = asked.deps.address
    url = address.url(address.api_host)
    return asked.page("api_keys/made.html", key=row, text=text, url=url, names=await _names(asked))


def _scopes(form: Form) -> tuple[str, ...]:
    """What was ticked; everything only when that was chosen in so many words."""
    if form.text("reach") == EVERY:
        return (EVERYTHING,)
    return tuple(scope for scope in form.texts("scope") if scope != EVERYTHING)


async def _new_page(asked: Asked, error: ManageError | None = None) -> Response:
    form = asked.form
    names = await _names(asked)
    errors = dict(error.fields) if error else {}
    if "scopes" in errors and form.text("reach") != EVERY and not form.texts("scope"):
        errors["scopes"] = "tick one at least"
    return asked.page(
        "api_keys/new.html",
        status=error.kind.value if error else 200,
        error=error,
        errors=errors,
        form=form,
        users=list(names.items()) if asked.actor.is_admin else [],
        options=expiry.OPTIONS,
        expires_at=form.text("expires_at") or USUAL_EXPIRY,
        areas=[(area, MEANINGS[area]) for area in AREAS],
        ticked=frozenset(form.texts("scope")),
        reach=form.text("reach") or EVERY,
    )


async def _show(asked: Asked) -> Response:
    return await _page(asked)


async def _save(asked: Asked) -> Response:
    text = asked.form.text("description")
    try:
        await asked.deps.services.api_keys.update(asked.actor, asked.named("id"), description=text)
    except ManageError as error:
        return await _page(asked, error, description=text)
    return asked.go(f"/api-keys/{asked.named('id')}", said="kept")


async def _delete(asked: Asked) -> Response:
    await asked.deps.services.api_keys.delete(asked.actor, asked.named("id"))
    return asked.go("/api-keys", said="revoked")


async def _page(asked: Asked, error: ManageError | None = None, *, description: str | None = None) -> Response:
    key = await asked.deps.services.api_keys.get(asked.actor, asked.named("id"))
    return asked.page(
        "api_keys/one.html",
        status=error.kind.value if error else 200,
        key=key,
        names=await _names(asked),
        description=key.description if description is None else description,
        error=error,
    )


async def _names(asked: Asked) -> dict[str, str]:
    """What users are called, by id, the actor first; to a member, only himself."""
    own = {asked.actor.user_id: asked.actor.name}
    users = await asked.deps.services.users.page(asked.actor, limit=MAX_USERS)
    return own | {user.id: user.name for user in users}
