"""`/users` and `/me`: who may sign in and own keys. ngrok has no such resource in this form."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from tunnelrelay.api.links import Links
from tunnelrelay.api.values import (
    PRINTABLE,
    Calling,
    Given,
    Id,
    Owner,
    Page,
    Shown,
    Time,
    cut,
    maybe_time,
    needs,
    shown_time,
)
from tunnelrelay.services.services import Services
from tunnelrelay.services.sign_ins import sign_in_link
from tunnelrelay.store.resources import UserRow

PATH = "users"
Role = Literal["admin", "member"]
Email = Annotated[str, Field(max_length=254, pattern=PRINTABLE)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=PRINTABLE)]


class User(Shown):
    """A user who may sign in."""

    id: str
    uri: str
    created_at: Time
    name: str
    role: Role
    owner: str
    """Whose things a member sees and changes."""
    email: str
    issuer: str
    """Who they are at the operator's OpenID provider; empty before they have signed in there."""
    subject: str
    disabled: bool
    last_seen_at: Time | None


class UserList(Shown):
    """A page of users, the newest first."""

    users: list[User]
    uri: str
    next_page_uri: str | None


class Me(Shown):
    """Who a key speaks for, and what it may do."""

    user: User
    api_key_id: str
    scopes: list[str]


class NewUser(Given):
    """A user to add."""

    name: Name
    """For people."""
    role: Role = "member"
    """Whether they see and change everything, or what their owner owns."""
    owner: Owner | None = None
    """Whose things a member sees and changes; null for your own owner."""
    email: Email = ""
    """E-mail address."""


class UserChange(Given):
    """What is absent stays as it is."""

    name: Name = "-"
    """For people."""
    role: Role = "member"
    """Whether they see and change everything, or what their owner owns."""
    owner: Owner = "-"
    email: Email = ""
    """E-mail address."""
    disabled: bool = False
    """Whether they are locked out."""


class Invitation(Shown):
    """A way in for a user, once."""

    url: str
    """To be opened in a browser within the hour; it signs in as this user."""


def _shown(links: Links, row: UserRow) -> User:
    return User(
        id=row.id,
        uri=links.to(PATH, row.id),
        created_at=shown_time(row.created_at),
        name=row.name,
        role="admin" if row.role == "admin" else "member",
        owner=row.owner,
        email=row.email,
        issuer=row.issuer,
        subject=row.subject,
        disabled=row.disabled_at is not None,
        last_seen_at=maybe_time(row.last_seen_at),
    )


def routes(services: Services) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["users"])
    users = services.users

    @router.get("/me", **needs(""))
    async def get_me(call: Calling) -> Me:
        """Whom the key belongs to; any key may ask."""
        row = await users.me(call.actor)
        return Me(user=_shown(call.links, row), api_key_id=call.actor.api_key_id, scopes=sorted(call.actor.scopes))

    @router.get(f"/{PATH}", **needs("users:read"))
    async def list_users(call: Calling, page: Annotated[Page, Query()]) -> UserList:
        """Users, the newest first; a member sees himself."""
        rows = await users.page(call.actor, before=page.before_id, limit=page.one_more)
        found = cut(call, PATH, page, rows, lambda row: row.id)
        return UserList(
            users=[_shown(call.links, row) for row in found.rows], uri=found.uri, next_page_uri=found.next_page_uri
        )

    @router.post(f"/{PATH}", status_code=201, **needs("users:write"))
    async def create_user(call: Calling, body: NewUser) -> User:
        """Adds a user; administrators only. An invitation lets them in."""
        row = await users.create(call.actor, body.name, owner=body.owner, role=body.role, email=body.email)
        return _shown(call.links, row)

    @router.get(f"/{PATH}/{{id}}", **needs("users:read"))
    async def get_user(call: Calling, id: Id) -> User:
        """One user; a member sees himself only."""
        return _shown(call.links, await users.get(call.actor, id))

    @router.patch(f"/{PATH}/{{id}}", **needs("users:write"))
    async def update_user(call: Calling, id: Id, body: UserChange) -> User:
        """Changes what is given; administrators only. Who is disabled is out at once."""
        changes: dict[str, Any] = body.model_dump(exclude_unset=True)
        return _shown(call.links, await users.update(call.actor, id, **changes))

    @router.delete(f"/{PATH}/{{id}}", status_code=204, **needs("users:write"))
    async def delete_user(call: Calling, id: Id) -> None:
        """Removes a user with their keys and sign-ins; administrators only. What the owner owns stays."""
        await users.delete(call.actor, id)

    @router.post(f"/{PATH}/{{id}}/invitations", status_code=201, **needs("*"))
    async def create_invitation(call: Calling, id: Id) -> Invitation:
        """A link that signs this user in to the dashboard, once; administrators, or the user himself."""
        code = await services.sign_ins.invite(call.actor, id)
        return Invitation(url=sign_in_link(call.links.address, code))

    return router
