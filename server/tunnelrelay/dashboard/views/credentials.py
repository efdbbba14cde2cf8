"""Agents' authtokens: made and shown once, changed, revoked at once."""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard import expiry
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.listing import listing
from tunnelrelay.dashboard.request_input import Asked, does, shows
from tunnelrelay.services.problems import ManageError

PATH = "/credentials/{id}"


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows("/credentials", _list),
        shows("/credentials/new", _new),
        does("/credentials/new", _create),
        shows(PATH, _show),
        does(PATH, _save),
        does(f"{PATH}/revoke", _revoke),
    ]


async def _list(asked: Asked) -> Response:
    credentials, owner = asked.deps.services.credentials, asked.query("owner")
    page = await listing(
        asked,
        lambda before, limit: credentials.page(asked.actor, before=before, limit=limit, owner=owner or None),
        owner=owner,
    )
    return asked.page("credentials/list.html", page=page, owner=owner)


async def _new(asked: Asked) -> Response:
    return _new_page(asked)


async def _create(asked: Asked) -> Response:
    """Answers with the token itself: there is no other page that could show it."""
    form = asked.form
    try:
        token, text = await asked.deps.services.credentials.create(
            asked.actor,
            description=form.text("description"),
            acl=form.words("acl"),
            expires_at=expiry.expires_at(form.text("expires_at"), asked.deps.clock()),
            owner=form.text("owner") or None,
        )
    except ManageError as error:
        return _new_page(asked, error)
    return asked.page("credentials/made.html", token=token, text=text)


def _new_page(asked: Asked, error: ManageError | None = None) -> Response:
    return asked.page(
        "credentials/new.html",
        status=error.kind.value if error else 200,
        error=error,
        errors=error.fields if error else {},
        form=asked.form,
        options=expiry.OPTIONS,
    )


async def _show(asked: Asked) -> Response:
    return await _page(asked)


async def _save(asked: Asked) -> Response:
    form = asked.form
    choice = form.text("expires_at")
    try:
        at = None if choice == expiry.KEEP else expiry.expires_at(choice, asked.deps.clock())
        await asked.deps.services.credentials.update(
            asked.actor,
            asked.named("id"),
            description=form.text("description"),
            acl=form.words("acl"),
            expires_at=at,
            never_expires=choice == expiry.NEVER,
        )
    except ManageError as error:
        return await _page(asked, error, description=form.text("description"), acl=form.text("acl"))
    return asked.go(f"/credentials/{asked.named('id')}", said="kept")


async def _revoke(asked: Asked) -> Response:
    await asked.deps.services.credentials.delete(asked.actor, asked.named("id"))
    return asked.go("/credentials", said="revoked")


async def _page(asked: Asked, error: ManageError | None = None, **typed: Any) -> Response:
    token = await asked.deps.services.credentials.get(asked.actor, asked.named("id"))
    texts = {"description": token.description, "acl": "\n".join(token.acl), **typed}
    return asked.page(
        "credentials/one.html",
        status=error.kind.value if error else 200,
        token=token,
        texts=texts,
        error=error,
        errors=error.fields if error else {},
        options=expiry.CHANGES,
    )
