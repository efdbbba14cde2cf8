"""`/credentials`: agents' tokens."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from tunnelrelay.api.links import Links
from tunnelrelay.api.values import (
    MAX_LIST,
    Calling,
    Description,
    Filled,
    Given,
    GivenTime,
    Id,
    Metadata,
    Owner,
    Page,
    Reference,
    Shown,
    Time,
    cut,
    maybe_time,
    needs,
    seconds_of,
    shown_time,
)
from tunnelrelay.model import Token
from tunnelrelay.services.services import Services

PATH = "credentials"
Acl = Annotated[list[Filled], Field(max_length=MAX_LIST)]


class Credential(Shown):
    """An agent's token."""

    id: str
    uri: str
    created_at: Time
    description: str
    metadata: str
    token: str | None
    """The token itself, only in the answer to its creation."""
    acl: list[str]
    """What it may bind: `bind:demo.tun.example`, `bind:pr-*`, `bind:edge=edghts_…`; empty for everything."""
    owner_id: str | None
    """The user who made it; null for an operator's command."""
    owner: str
    """Whose tunnels its agents open."""
    expires_at: Time | None
    last_used_at: Time | None


class CredentialList(Shown):
    """A page of tokens, the newest first."""

    credentials: list[Credential]
    uri: str
    next_page_uri: str | None


class NewCredential(Given):
    """A token to make."""

    description: Description = ""
    metadata: Metadata = ""
    acl: Acl = []
    """What it may bind; empty for everything."""
    owner_id: Reference | None = None
    """The user whose owner it is for; administrators may name another than themselves."""
    owner: Owner | None = None
    """Whose tunnels its agents open; administrators may name another than their own."""
    expires_at: GivenTime | None = None
    """When it ends, as 2026-01-31T12:00:00Z; null for never."""


class CredentialChange(Given):
    """What is absent stays as it is."""

    description: Description = ""
    metadata: Metadata = ""
    acl: Acl = []
    """What it may bind; empty for everything."""
    expires_at: GivenTime | None = None
    """When it ends, as 2026-01-31T12:00:00Z; null for never."""


def _shown(links: Links, row: Token, text: str | None = None) -> Credential:
    return Credential(
        id=row.id,
        uri=links.to(PATH, row.id),
        created_at=shown_time(row.created_at),
        description=row.description,
        metadata=row.metadata,
        token=text,
        acl=list(row.acl),
        owner_id=row.user_id or None,
        owner=row.owner,
        expires_at=maybe_time(row.expires_at),
        last_used_at=maybe_time(row.last_used_at),
    )


def routes(services: Services) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["credentials"])
    credentials = services.credentials

    @router.get(f"/{PATH}", **needs("credentials:read"))
    async def list_credentials(call: Calling, page: Annotated[Page, Query()]) -> CredentialList:
        """Tokens that are not revoked, the newest first."""
        rows = await credentials.page(call.actor, before=page.before_id, limit=page.one_more)
        found = cut(call, PATH, page, rows, lambda row: row.id)
        return CredentialList(
            credentials=[_shown(call.links, row) for row in found.rows],
            uri=found.uri,
            next_page_uri=found.next_page_uri,
        )

    @router.post(f"/{PATH}", status_code=201, **needs("credentials:write"))
    async def create_credential(call: Calling, body: NewCredential) -> Credential:
        """Makes a token. This answer is the only place where it is shown."""
        owner = body.owner
        if owner is None and body.owner_id not in (None, call.actor.user_id):
            owner = (await services.users.get(call.actor, str(body.owner_id))).owner
        row, text = await credentials.create(
            call.actor,
            description=body.description,
            metadata=body.metadata,
            acl=tuple(body.acl),
            expires_at=None if body.expires_at is None else seconds_of(body.expires_at),
            owner=owner,
        )
        return _shown(call.links, row, text)

    @router.get(f"/{PATH}/{{id}}", **needs("credentials:read"))
    async def get_credential(call: Calling, id: Id) -> Credential:
        """One token, without its text."""
        return _shown(call.links, await credentials.get(call.actor, id))

    @router.patch(f"/{PATH}/{{id}}", **needs("credentials:write"))
    async def update_credential(call: Calling, id: Id, body: CredentialChange) -> Credential:
        """Changes what is given; with another ACL, agents that came with it are connected anew under it."""
        changes: dict[str, Any] = body.model_dump(exclude_unset=True)
        if "acl" in changes:
            changes["acl"] = tuple(changes["acl"])
        if "expires_at" in changes:
            given = changes.pop("expires_at")
            changes |= {"never_expires": True} if given is None else {"expires_at": seconds_of(given)}
        return _shown(call.links, await credentials.update(call.actor, id, **changes))

    @router.delete(f"/{PATH}/{{id}}", status_code=204, **needs("credentials:write"))
    async def delete_credential(call: Calling, id: Id) -> None:
        """Revokes a token; agents that use it are cut off at once."""
        await credentials.delete(call.actor, id)

    return router
