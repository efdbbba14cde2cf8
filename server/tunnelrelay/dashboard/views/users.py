"""Users: who may sign in here, as what, and the links that let them in. Members see only themselves, and no forms."""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import Asked, does
from tunnelrelay.dashboard.resource_pages import Context, ResourcePages, for_admins
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.sign_ins import sign_in_link
from tunnelrelay.services.users import MEMBER
from tunnelrelay.store.resources import UserRow

PATH = "/users/{id}"
ROLES: tuple[tuple[str, str], ...] = (
    ("member", "Member: sees and changes what the owner owns"),
    ("admin", "Administrator: sees and changes everything"),
)


def routes(deps: Deps) -> list[Route]:
    """See `views.AREAS`."""
    return [
        *PAGES.routes(),
        does(f"{PATH}/link", _link),
        does(f"{PATH}/disable", _disable),
        does(f"{PATH}/enable", _enable),
    ]


def _texts(user: UserRow | None) -> dict[str, str]:
    if user is None:
        return {"name": "", "owner": "", "role": MEMBER, "email": ""}
    return {"name": user.name, "owner": user.owner, "role": user.role, "email": user.email}


async def _create(asked: Asked) -> UserRow:
    form = asked.form
    return await asked.deps.services.users.create(
        asked.actor,
        form.text("name"),
        owner=form.text("owner") or None,
        role=form.text("role") or MEMBER,
        email=form.text("email"),
    )


async def _made(asked: Asked, user: UserRow) -> Response:
    """Answers with the link itself: no other page can show it."""
    return await _invited(asked, user.id, is_new=True)


async def _link(asked: Asked) -> Response:
    return await _invited(asked, asked.named("id"))


async def _invited(asked: Asked, user_id: str, *, is_new: bool = False) -> Response:
    services = asked.deps.services
    for_admins(asked)
    code = await services.sign_ins.invite(asked.actor, user_id)
    user = await services.users.get(asked.actor, user_id)
    return asked.page("users/invited.html", user=user, link=sign_in_link(asked.deps.address, code), is_new=is_new)


async def _update(asked: Asked) -> UserRow:
    typed: dict[str, Any] = {
        name: asked.form.text(name) for name in ("name", "owner", "role", "email") if name in asked.form
    }
    return await asked.deps.services.users.update(asked.actor, asked.named("id"), **typed)


async def _disable(asked: Asked) -> Response:
    return await _set_disabled(asked, disabled=True)


async def _enable(asked: Asked) -> Response:
    return await _set_disabled(asked, disabled=False)


async def _set_disabled(asked: Asked, *, disabled: bool) -> Response:
    try:
        await asked.deps.services.users.update(asked.actor, asked.named("id"), disabled=disabled)
    except ManageError as error:
        return await PAGES.one_page(asked, error)
    return asked.go(f"/users/{asked.named('id')}", said="kept")


async def _of_new(asked: Asked) -> Context:
    return {"roles": ROLES}


async def _of_one(asked: Asked, user: UserRow) -> Context:
    return {"roles": ROLES, "sign_ins": await asked.deps.services.sign_ins.page(asked.actor, user.id)}


PAGES = ResourcePages(
    path="/users",
    folder="users",
    service=lambda services: services.users,
    texts=_texts,
    create=_create,
    made=_made,
    update=_update,
    admin_only=True,
    new_context=_of_new,
    one_context=_of_one,
)
