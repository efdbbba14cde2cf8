"""`/api_keys`: what programs show to this API."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator, Field

from tunnelrelay.api.links import Links
from tunnelrelay.api.values import (
    Calling,
    Description,
    Given,
    GivenTime,
    Id,
    Metadata,
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
from tunnelrelay.services.actor import EVERYTHING, SCOPES
from tunnelrelay.services.services import Services
from tunnelrelay.store.resources import ApiKeyRow

PATH = "api_keys"


def _known(scope: str) -> str:
    if scope not in SCOPES:
        raise ValueError("is no scope")
    return scope


Scopes = Annotated[
    list[Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(SCOPES)})]],
    Field(min_length=1, max_length=len(SCOPES)),
]


class ApiKey(Shown):
    """A program's key."""

    id: str
    uri: str
    created_at: Time
    description: str
    metadata: str
    token: str | None
    """The key itself, only in the answer to its creation."""
    owner_id: str
    """The user it speaks for."""
    scopes: list[str]
    expires_at: Time | None
    last_used_at: Time | None


class ApiKeyList(Shown):
    """A page of keys, the newest first."""

    keys: list[ApiKey]
    uri: str
    next_page_uri: str | None


class NewApiKey(Given):
    """A key to make."""

    description: Description = ""
    metadata: Metadata = ""
    owner_id: Reference | None = None
    """The user it is to speak for; administrators may name another than themselves."""
    scopes: Scopes = [EVERYTHING]
    """What it may do, as `edges:read`; `*` for everything that its user may."""
    expires_at: GivenTime | None = None
    """When it ends, as 2026-01-31T12:00:00Z; null for never."""


class ApiKeyChange(Given):
    """What is absent stays as it is. What a key may do never changes: make another."""

    description: Description = ""
    metadata: Metadata = ""


def _shown(links: Links, row: ApiKeyRow, text: str | None = None) -> ApiKey:
    return ApiKey(
        id=row.id,
        uri=links.to(PATH, row.id),
        created_at=shown_time(row.created_at),
        description=row.description,
        metadata=row.metadata,
        token=text,
        owner_id=row.user_id,
        scopes=list(row.scopes),
        expires_at=maybe_time(row.expires_at),
        last_used_at=maybe_time(row.last_used_at),
    )


def routes(services: Services) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["api_keys"])
    keys = services.api_keys

    @router.get(f"/{PATH}", **needs("credentials:read"))
    async def list_api_keys(call: Calling, page: Annotated[Page, Query()]) -> ApiKeyList:
        """Keys, the newest first."""
        rows = await keys.page(call.actor, before=page.before_id, limit=page.one_more)
        found = cut(call, PATH, page, rows, lambda row: row.id)
        return ApiKeyList(
            keys=[_shown(call.links, row) for row in found.rows], uri=found.uri, next_page_uri=found.next_page_uri
        )

    @router.post(f"/{PATH}", status_code=201, **needs("credentials:write"))
    async def create_api_key(call: Calling, body: NewApiKey) -> ApiKey:
        """Makes a key. This answer is the only place where it is shown."""
        row, text = await keys.create(
            call.actor,
            description=body.description,
            metadata=body.metadata,
            scopes=tuple(body.scopes),
            expires_at=None if body.expires_at is None else seconds_of(body.expires_at),
            user_id=body.owner_id,
        )
        return _shown(call.links, row, text)

    @router.get(f"/{PATH}/{{id}}", **needs("credentials:read"))
    async def get_api_key(call: Calling, id: Id) -> ApiKey:
        """One key, without its text."""
        return _shown(call.links, await keys.get(call.actor, id))

    @router.patch(f"/{PATH}/{{id}}", **needs("credentials:write"))
    async def update_api_key(call: Calling, id: Id, body: ApiKeyChange) -> ApiKey:
        """Changes what is given."""
        changes: dict[str, Any] = body.model_dump(exclude_unset=True)
        return _shown(call.links, await keys.update(call.actor, id, **changes))

    @router.delete(f"/{PATH}/{{id}}", status_code=204, **needs("credentials:write"))
    async def delete_api_key(call: Calling, id: Id) -> None:
        """Makes a key worthless at once."""
        await keys.delete(call.actor, id)

    return router
