"""The API's `/credentials`: the authtokens of agents."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.links import Links
from tunnelrelay.api.resource import ResourceRoutes, answer
from tunnelrelay.api.values import (
    MAX_LIST,
    Description,
    Filled,
    Metadata,
    Owner,
    Reference,
    RequestBody,
    RequestTime,
    ResponseBody,
    Time,
    maybe_seconds,
)
from tunnelrelay.model import Token
from tunnelrelay.services.services import Services

PATH = "credentials"
Acl = Annotated[list[Filled], Field(max_length=MAX_LIST)]


class Credential(ResponseBody):
    """An authtoken, with which agents connect."""

    id: str
    uri: str
    created_at: Time
    description: str
    metadata: str
    token: str | None
    """The text of the authtoken, only in the response to its creation; otherwise null."""
    acl: list[str]
    """What the token may bind: `bind:demo.tun.example`, `bind:pr-*`, `bind:edge=edghts_…`; empty for everything."""
    owner_id: str | None
    """The user who created the token; null for a token made by an operator's command."""
    owner: str
    """The owner of the tunnels that agents open with the token."""
    expires_at: Time | None
    last_used_at: Time | None


class CredentialList(ResponseBody):
    """A page of authtokens, the newest first."""

    credentials: list[Credential]
    uri: str
    next_page_uri: str | None


class NewCredential(RequestBody):
    """An authtoken to create."""

    description: Description = ""
    metadata: Metadata = ""
    acl: Acl = []
    """What the token may bind; empty for everything."""
    owner_id: Reference | None = None
    """The user whose owner the token is for; administrators may name another user than themselves."""
    owner: Owner | None = None
    """The owner of the tunnels that agents open with the token; administrators may name another than their own."""
    expires_at: RequestTime | None = None
    """When the token expires, as in 2026-01-31T12:00:00Z; null for never."""


class CredentialChange(RequestBody):
    """A change of an authtoken. Absent fields stay as they are."""

    description: Description = ""
    metadata: Metadata = ""
    acl: Acl = []
    """What the token may bind; empty for everything."""
    expires_at: RequestTime | None = None
    """When the token expires, as in 2026-01-31T12:00:00Z; null for never."""


def _view(links: Links, row: Token, text: str | None = None) -> Credential:
    return answer(Credential, row, uri=links.to(PATH, row.id), token=text, owner_id=row.user_id or None)


def routes(services: Services) -> APIRouter:
    """Return the routes of `/credentials`."""
    credentials = services.credentials

    async def create(call: Call, body: NewCredential) -> Credential:
        values: dict[str, Any] = body.model_dump(exclude={"owner_id", "expires_at"})
        if body.owner is None and body.owner_id not in (None, call.actor.user_id):
            values["owner"] = (await services.users.get(call.actor, str(body.owner_id))).owner
        row, text = await credentials.create(call.actor, **values, expires_at=maybe_seconds(body.expires_at))
        return _view(call.links, row, text)

    async def update(call: Call, id: str, body: CredentialChange) -> Token:
        changes: dict[str, Any] = body.model_dump(exclude_unset=True)
        if "expires_at" in changes:
            changes["expires_at"] = maybe_seconds(body.expires_at)
            changes["never_expires"] = body.expires_at is None
        return await credentials.update(call.actor, id, **changes)

    return ResourceRoutes(
        path=PATH,
        area="credentials",
        one="credential",
        many="credentials",
        shape=Credential,
        page_shape=CredentialList,
        new=NewCredential,
        change=CredentialChange,
        help={
            "list": "Tokens that are not revoked, the newest first.",
            "create": "Makes a token. This answer is the only place where it is shown.",
            "get": "One token, without its text.",
            "update": "Changes what is given; with another ACL, agents that came with it are connected anew under it.",
            "delete": "Revokes a token; agents that use it are cut off at once.",
        },
        service=credentials,
        viewer=lambda call: partial(_view, call.links),
        create=create,
        update=update,
    ).add_to(APIRouter(tags=["credentials"]))
