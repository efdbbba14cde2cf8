"""The pages of the dashboard's users: create, change and disable them, and make sign-in links.

Members see only themselves, and no forms.
"""

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.request_input import UserRequest, action_route
from tunnelrelay.dashboard.resource_pages import Context, ResourcePages
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.service_base import check_admin
from tunnelrelay.services.sign_ins import sign_in_link
from tunnelrelay.services.users import MEMBER
from tunnelrelay.store.resources import UserRow

PATH = "/users/{id}"
ROLES: tuple[tuple[str, str], ...] = (
    ("member", "Member: sees and changes what the owner owns"),
    ("admin", "Administrator: sees and changes everything"),
)


def routes(deps: Deps) -> list[Route]:
    return [
        *PAGES.routes(),
        action_route(f"{PATH}/link", _link),
        action_route(f"{PATH}/disable", _disable),
        action_route(f"{PATH}/enable", _enable),
    ]


def _texts(user: UserRow | None) -> dict[str, str]:
    if user is None:
        return {"name": "", "owner": "", "role": MEMBER, "email": ""}
    return {"name": user.name, "owner": user.owner, "role": user.role, "email": user.email}


async def _create(request: UserRequest) -> UserRow:
    form = request.form
    return await request.deps.services.users.create(
        request.actor,
        form.text("name"),
        owner=form.text("owner") or None,
        role=form.text("role") or MEMBER,
        email=form.text("email"),
    )


async def _made(request: UserRequest, user: UserRow) -> Response:
    """Return the page that shows a new user's sign-in link; no other page can show it."""
    return await _invited(request, user.id, is_new=True)


async def _link(request: UserRequest) -> Response:
    return await _invited(request, request.path_param("id"))


async def _invited(request: UserRequest, user_id: str, *, is_new: bool = False) -> Response:
    services = request.deps.services
    check_admin(request.actor)
    code = await services.sign_ins.invite(request.actor, user_id)
    user = await services.users.get(request.actor, user_id)
    return request.page("users/invited.html", user=user, link=sign_in_link(request.deps.address, code), is_new=is_new)


async def _update(request: UserRequest) -> UserRow:
    typed: dict[str, Any] = {
        name: request.form.text(name) for name in ("name", "owner", "role", "email") if name in request.form
    }
    return await request.deps.services.users.update(request.actor, request.path_param("id"), **typed)


async def _disable(request: UserRequest) -> Response:
    return await _set_disabled(request, disabled=True)


async def _enable(request: UserRequest) -> Response:
    return await _set_disabled(request, disabled=False)


async def _set_disabled(request: UserRequest, *, disabled: bool) -> Response:
    try:
        await request.deps.services.users.update(request.actor, request.path_param("id"), disabled=disabled)
    except ManageError as error:
        return await PAGES.one_page(request, error)
    return request.redirect(f"/users/{request.path_param('id')}", flash="kept")


async def _of_new(request: UserRequest) -> Context:
    return {"roles": ROLES}


async def _of_one(request: UserRequest, user: UserRow) -> Context:
    return {"roles": ROLES, "sign_ins": await request.deps.services.sign_ins.page(request.actor, user.id)}


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
