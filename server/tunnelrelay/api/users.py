"""The API's `/users` and `/me`: users, who may sign in to the dashboard and own API keys. ngrok's API differs here."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.links import Links
from tunnelrelay.api.resource import ResourceRoutes, answer
from tunnelrelay.api.values import PRINTABLE, Calling, Id, Owner, RequestBody, ResponseBody, Time, needs
from tunnelrelay.services.services import Services
from tunnelrelay.services.sign_ins import sign_in_link
from tunnelrelay.store.resources import UserRow

PATH = "users"
Role = Literal["admin", "member"]
Email = Annotated[str, Field(max_length=254, pattern=PRINTABLE)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=PRINTABLE)]


class User(ResponseBody):
    """A user who may sign in to the dashboard and own API keys."""

    id: str
    uri: str
    created_at: Time
    name: str
    role: Role
    owner: str
    """The owner whose tunnels, edges and tokens a member sees and changes."""
    email: str
    issuer: str
    """The issuer of the user's account at the operator's OpenID provider; empty before the first sign-in there."""
    subject: str
    disabled: bool
    last_seen_at: Time | None


class UserList(ResponseBody):
    """A page of users, the newest first."""

    users: list[User]
    uri: str
    next_page_uri: str | None


class Me(ResponseBody):
    """The API key of a request: its user and its scopes."""

    user: User
    api_key_id: str
    scopes: list[str]


class NewUser(RequestBody):
    """A user to create."""

    name: Name
    """The user's name, as people read it."""
    role: Role = "member"
    """Whether the user sees and changes everything, or only what the user's owner owns."""
    owner: Owner | None = None
    """The owner whose tunnels, edges and tokens a member sees and changes; null for your own owner."""
    email: Email = ""
    """E-mail address."""


class UserChange(RequestBody):
    """A change of a user. Absent fields stay as they are."""

    name: Name = "-"
    """The user's name, as people read it."""
    role: Role = "member"
    """Whether the user sees and changes everything, or only what the user's owner owns."""
    owner: Owner = "-"
    email: Email = ""
    """E-mail address."""
    disabled: bool = False
    """Whether the user is locked out."""


class Invitation(ResponseBody):
    """A link that signs a user in to the dashboard, once."""

    url: str
    """The URL to open in a browser within one hour; it signs the browser in as this user."""


def _view(links: Links, row: UserRow) -> User:
    return answer(User, row, uri=links.to(PATH, row.id), disabled=row.disabled_at is not None)


def routes(services: Services) -> APIRouter:
    """Return the routes of `/users` and `/me`."""
    router = APIRouter(tags=["users"])
    users = services.users

    @router.get("/me", **needs(""))
    async def get_me(call: Calling) -> Me:
        """The user that the key belongs to; any key may ask."""
        row = await users.me(call.actor)
        return Me(user=_view(call.links, row), api_key_id=call.actor.api_key_id, scopes=sorted(call.actor.scopes))

    async def create(call: Call, body: NewUser) -> User:
        return _view(call.links, await users.create(call.actor, **body.model_dump()))

    async def update(call: Call, id: str, body: UserChange) -> UserRow:
        return await users.update(call.actor, id, **body.model_dump(exclude_unset=True))

    ResourceRoutes(
        path=PATH,
        area="users",
        one="user",
        many="users",
        shape=User,
        page_shape=UserList,
        new=NewUser,
        change=UserChange,
        help={
            "list": "Users, the newest first; a member sees himself.",
            "create": "Adds a user; administrators only. An invitation lets them in.",
            "get": "One user; a member sees himself only.",
            "update": "Changes what is given; administrators only. Who is disabled is out at once.",
            "delete": "Removes a user with their keys and sign-ins; administrators only. What the owner owns stays.",
        },
        service=users,
        viewer=lambda call: partial(_view, call.links),
        create=create,
        update=update,
    ).add_to(router)

    @router.post(f"/{PATH}/{{id}}/invitations", status_code=201, **needs("*"))
    async def create_invitation(call: Calling, id: Id) -> Invitation:
        """A link that signs this user in to the dashboard, once; for administrators, or the user of the key."""
        code = await services.sign_ins.invite(call.actor, id)
        return Invitation(url=sign_in_link(call.links.address, code))

    return router
