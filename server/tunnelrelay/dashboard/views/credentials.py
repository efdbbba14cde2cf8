"""The pages of agents' authtokens: list them, create one (the token is shown once), change and revoke it."""

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import expiry
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest
from tunnelrelay.dashboard.resource_pages import Context, ResourcePages
from tunnelrelay.model import Token


def routes(deps: Deps) -> list[Route]:
    return PAGES.routes()


def _texts(token: Token | None) -> dict[str, str]:
    if token is None:
        return {"description": "", "acl": "", "expires_at": expiry.NEVER, "owner": ""}
    return {"description": token.description, "acl": "\n".join(token.acl)}


async def _create(request: UserRequest) -> tuple[Token, str]:
    form = request.form
    return await request.deps.services.credentials.create(
        request.actor,
        description=form.text("description"),
        acl=form.words("acl"),
        expires_at=expiry.expires_at(form.text("expires_at"), request.deps.clock()),
        owner=form.text("owner") or None,
    )


async def _made(request: UserRequest, made: tuple[Token, str]) -> Response:
    """Return the page that shows a new token; no other page can show it."""
    token, text = made
    return request.page("credentials/made.html", token=token, text=text)


async def _update(request: UserRequest) -> Token:
    form = request.form
    choice = form.text("expires_at")
    return await request.deps.services.credentials.update(
        request.actor,
        request.path_param("id"),
        description=form.text("description"),
        acl=form.words("acl"),
        expires_at=None if choice == expiry.KEEP else expiry.expires_at(choice, request.deps.clock()),
        never_expires=choice == expiry.NEVER,
    )


async def _of_new(request: UserRequest) -> Context:
    return {"options": expiry.OPTIONS}


async def _of_one(request: UserRequest, token: Token) -> Context:
    return {"options": expiry.CHANGES}


PAGES = ResourcePages(
    path="/credentials",
    folder="credentials",
    service=lambda services: services.credentials,
    texts=_texts,
    create=_create,
    made=_made,
    update=_update,
    removal="revoke",
    removed="revoked",
    new_context=_of_new,
    one_context=_of_one,
)
