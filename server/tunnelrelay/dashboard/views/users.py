"""Users: who may sign in here, as what, and the links that let them in. Members see themselves, and no forms."""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.listing import listing
from tunnelrelay.dashboard.request_input import Asked, does, shows
from tunnelrelay.dashboard.views.for_admins import for_admins
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.sign_ins import sign_in_link
from tunnelrelay.services.users import MEMBER

PATH = "/users/{id}"
ROLES: tuple[tuple[str, str], ...] = (
    ("member", "Member: sees and changes what the owner owns"),
    ("admin", "Administrator: sees and changes everything"),
)


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        shows("/users", _list),
        shows("/users/new", _new),
        does("/users/new", _create),
        shows(PATH, _show),
        does(PATH, _save),
        does(f"{PATH}/link", _link),
        does(f"{PATH}/disable", _disable),
        does(f"{PATH}/enable", _enable),
        does(f"{PATH}/delete", _delete),
    ]


async def _list(asked: Asked) -> Response:
    users, owner = asked.deps.services.users, asked.query("owner")
    page = await listing(
        asked,
        lambda before, limit: users.page(asked.actor, before=before, limit=limit, owner=owner or None),
        owner=owner,
    )
    return asked.page("users/list.html", page=page, owner=owner)


async def _new(asked: Asked) -> Response:
    for_admins(asked)
    return _new_page(asked)


async def _create(asked: Asked) -> Response:
    """Answers with the link itself: there is no other page that could show it."""
    form = asked.form
    try:
        user = await asked.deps.services.users.create(
            asked.actor,
            form.text("name"),
            owner=form.text("owner") or None,
            role=form.text("role") or MEMBER,
            email=form.text("email"),
        )
    except ManageError as error:
        return _new_page(asked, error)
    return await _invited(asked, user.id, is_new=True)


def _new_page(asked: Asked, error: ManageError | None = None) -> Response:
    """The form; to whom it is not for, what the service layer said."""
    for_admins(asked)
    return asked.page(
        "users/new.html",
        status=error.kind.value if error else 200,
        error=error,
        errors=_at_fields(error),
        form=asked.form,
        roles=ROLES,
    )


async def _link(asked: Asked) -> Response:
    return await _invited(asked, asked.named("id"))


async def _invited(asked: Asked, user_id: str, *, is_new: bool = False) -> Response:
    services = asked.deps.services
    for_admins(asked)
    code = await services.sign_ins.invite(asked.actor, user_id)
    user = await services.users.get(asked.actor, user_id)
    return asked.page("users/invited.html", user=user, link=sign_in_link(asked.deps.address, code), is_new=is_new)


async def _show(asked: Asked) -> Response:
    return await _page(asked)


async def _save(asked: Asked) -> Response:
    form = asked.form
    typed = {name: form.text(name) for name in ("name", "owner", "role", "email") if name in form}
    return await _changed(asked, typed, **typed)


async def _disable(asked: Asked) -> Response:
    return await _changed(asked, {}, disabled=True)


async def _enable(asked: Asked) -> Response:
    return await _changed(asked, {}, disabled=False)


async def _changed(asked: Asked, typed: dict[str, str], **change: Any) -> Response:
    try:
        await asked.deps.services.users.update(asked.actor, asked.named("id"), **change)
    except ManageError as error:
        return await _page(asked, error, **typed)
    return asked.go(f"/users/{asked.named('id')}", said="kept")


async def _delete(asked: Asked) -> Response:
    try:
        await asked.deps.services.users.delete(asked.actor, asked.named("id"))
    except ManageError as error:
        if error.kind is not Kind.CONFLICT:
            raise
        return await _page(asked, error)
    return asked.go("/users", said="deleted")


async def _page(asked: Asked, error: ManageError | None = None, **typed: str) -> Response:
    services = asked.deps.services
    user = await services.users.get(asked.actor, asked.named("id"))
    if error is not None and error.kind is Kind.FORBIDDEN:
        raise error
    return asked.page(
        "users/one.html",
        status=error.kind.value if error else 200,
        user=user,
        sign_ins=await services.sign_ins.page(asked.actor, user.id),
        texts={"name": user.name, "owner": user.owner, "role": user.role, "email": user.email, **typed},
        roles=ROLES,
        error=error,
        errors=_at_fields(error),
    )


def _at_fields(error: ManageError | None) -> dict[str, str]:
    """The problems at the form's fields; a name that is taken belongs to the name."""
    if error is None:
        return {}
    return error.fields or ({"name": error.message} if error.code == "name_taken" else {})
