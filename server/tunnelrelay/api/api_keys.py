"""The API's `/api_keys`: the keys with which programs use this API."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import AfterValidator, Field

from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.links import Links
from tunnelrelay.api.resource import ResourceRoutes, answer
from tunnelrelay.api.values import (
    Description,
    Metadata,
    Reference,
    RequestBody,
    RequestTime,
    ResponseBody,
    Time,
    maybe_seconds,
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


class ApiKey(ResponseBody):
    """A key with which a program uses the API."""

    id: str
    uri: str
    created_at: Time
    description: str
    metadata: str
    token: str | None
    """The text of the key, only in the response to its creation; otherwise null."""
    owner_id: str
    """The user whose rights the key has."""
    scopes: list[str]
    expires_at: Time | None
    last_used_at: Time | None


class ApiKeyList(ResponseBody):
    """A page of API keys, the newest first."""

    keys: list[ApiKey]
    uri: str
    next_page_uri: str | None


class NewApiKey(RequestBody):
    """An API key to create."""

    description: Description = ""
    metadata: Metadata = ""
    owner_id: Reference | None = None
    """The user whose rights the key gets; administrators may name another user than themselves."""
    scopes: Scopes = [EVERYTHING]
    """What the key may do, as in `edges:read`; `*` for everything that its user may do."""
    expires_at: RequestTime | None = None
    """When the key expires, as in 2026-01-31T12:00:00Z; null for never."""


class ApiKeyChange(RequestBody):
    """A change of an API key. Absent fields stay as they are. A key's scopes never change."""

    description: Description = ""
    metadata: Metadata = ""


def _view(links: Links, row: ApiKeyRow, text: str | None = None) -> ApiKey:
    return answer(ApiKey, row, uri=links.to(PATH, row.id), token=text, owner_id=row.user_id)


def routes(services: Services) -> APIRouter:
    """Return the routes of `/api_keys`."""
    keys = services.api_keys

    async def create(call: Call, body: NewApiKey) -> ApiKey:
        values: dict[str, Any] = body.model_dump(exclude={"owner_id", "expires_at"})
        row, text = await keys.create(
            call.actor, **values, expires_at=maybe_seconds(body.expires_at), user_id=body.owner_id
        )
        return _view(call.links, row, text)

    async def update(call: Call, id: str, body: ApiKeyChange) -> ApiKeyRow:
        return await keys.update(call.actor, id, **body.model_dump(exclude_unset=True))

    return ResourceRoutes(
        path=PATH,
        area="credentials",
        one="api_key",
        many="api_keys",
        shape=ApiKey,
        page_shape=ApiKeyList,
        new=NewApiKey,
        change=ApiKeyChange,
        help={
            "list": "Keys, the newest first.",
            "create": "Makes a key. This answer is the only place where it is shown.",
            "get": "One key, without its text.",
            "update": "Changes what is given.",
            "delete": "Makes a key worthless at once.",
        },
        service=keys,
        viewer=lambda call: partial(_view, call.links),
        create=create,
        update=update,
    ).add_to(APIRouter(tags=["api_keys"]))
