"""`/providers`: OpenID providers that an administrator sets up once and owners name as `@name`."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import Field

from tunnelctl.policy.fields import BY_PATH
from tunnelctl.wire.texts import NAME_PATTERN
from tunnelrelay.api.findings import Check, check_of
from tunnelrelay.api.links import Links
from tunnelrelay.api.module_schemas import Secret, given_field, with_fields
from tunnelrelay.api.values import (
    MAX_LIST,
    Calling,
    Description,
    Filled,
    Given,
    Id,
    Line,
    Metadata,
    Owner,
    Page,
    ParamName,
    Shown,
    Time,
    cut,
    needs,
    shown_time,
)
from tunnelrelay.services.provider_settings import ProviderSettings
from tunnelrelay.services.providers import ProviderView
from tunnelrelay.services.services import Services

PATH = "providers"
Name = Annotated[str, Field(max_length=63, pattern=rf"^{NAME_PATTERN}$")]
Owners = Annotated[list[Owner], Field(max_length=1000)]
Scopes = Annotated[list[Filled], Field(max_length=MAX_LIST)]
Params = Annotated[dict[ParamName, Line], Field(max_length=MAX_LIST)]
CallbackKind = Annotated[str, Field(json_schema_extra={"enum": ["relay", "shared"]}, pattern="^(relay|shared)$")]


class Provider(Shown):
    """A named provider, without its client secret."""

    id: str
    uri: str
    created_at: Time
    name: str
    """What owners name it by, behind an `@`."""
    description: str
    metadata: str
    issuer: str
    client_id: str
    client_secret: None
    has_client_secret: bool
    """Whether its secret can be read; if not, endpoints that name it refuse everybody."""
    scopes: list[str]
    groups_claim: str
    email_verified: str
    request_params: dict[str, str]
    callback: str
    redirect_uri: str
    """What to register at the provider, once for all that name it."""
    owners: list[str]
    """Who may name it; empty for everybody. A member sees himself at most."""


class ProviderList(Shown):
    """A page of providers, the newest first."""

    providers: list[Provider]
    uri: str
    next_page_uri: str | None


@with_fields({"email_verified": given_field(BY_PATH["oidc.email_verified"])})
class _Settings(Given):
    description: Description = ""
    metadata: Metadata = ""
    client_secret: Secret = ""
    """Client secret at the provider, never shown."""
    scopes: Scopes = []
    """Scopes to ask for besides openid, profile and email."""
    groups_claim: Line = "groups"
    """Claim that lists a visitor's groups; dots lead into objects."""
    request_params: Params = {}
    """Added to the authorization request."""
    callback: CallbackKind = "relay"
    """Where the provider sends visitors back to."""
    owners: Owners = []
    """Who may name it; empty for everybody."""


class NewProvider(_Settings):
    """A provider to set up."""

    name: Name
    """What owners name it by, behind an `@`."""
    issuer: Filled
    """Issuer URL."""
    client_id: Filled
    """Client id at the provider."""


class ProviderChange(_Settings):
    """What is absent stays as it is. A secret is kept for the same issuer and client id only."""

    issuer: Filled = "-"
    """Issuer URL."""
    client_id: Filled = "-"
    """Client id at the provider."""


_OF_SETTINGS = frozenset(ProviderSettings.__struct_fields__)


def _shown(links: Links, view: ProviderView) -> Provider:
    row, settings = view.row, view.settings
    return Provider(
        id=row.id,
        uri=links.to(PATH, row.id),
        created_at=shown_time(row.created_at),
        name=row.name,
        description=row.description,
        metadata=row.metadata,
        issuer=settings.issuer,
        client_id=settings.client_id,
        client_secret=None,
        has_client_secret=view.has_secret,
        scopes=list(settings.scopes),
        groups_claim=settings.groups_claim,
        email_verified=settings.email_verified,
        request_params=dict(settings.request_params),
        callback=settings.callback,
        redirect_uri=view.redirect_uri,
        owners=list(row.owners),
    )


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """What of a body belongs into a provider's settings, as they have it."""
    found = {name: value for name, value in given.items() if name in _OF_SETTINGS}
    if "scopes" in found:
        found["scopes"] = tuple(found["scopes"])
    if "request_params" in found:
        found["request_params"] = tuple(found["request_params"].items())
    return found


def routes(services: Services) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["providers"])
    providers = services.providers

    @router.get(f"/{PATH}", **needs("providers:read"))
    async def list_providers(call: Calling, page: Annotated[Page, Query()]) -> ProviderList:
        """Providers, the newest first; a member sees those he may name."""
        views = await providers.page(call.actor, before=page.before_id, limit=page.one_more)
        found = cut(call, PATH, page, views, lambda view: view.row.id)
        return ProviderList(
            providers=[_shown(call.links, view) for view in found.rows],
            uri=found.uri,
            next_page_uri=found.next_page_uri,
        )

    @router.post(f"/{PATH}", status_code=201, **needs("providers:write"))
    async def create_provider(call: Calling, body: NewProvider) -> Provider:
        """Sets a provider up; administrators only."""
        view = await providers.create(
            call.actor,
            body.name,
            ProviderSettings(**_settings(body.model_dump())),
            body.client_secret,
            owners=body.owners,
            description=body.description,
            metadata=body.metadata,
        )
        return _shown(call.links, view)

    @router.get(f"/{PATH}/{{id}}", **needs("providers:read"))
    async def get_provider(call: Calling, id: Id) -> Provider:
        """One provider, without its secret."""
        return _shown(call.links, await providers.get(call.actor, id))

    @router.patch(f"/{PATH}/{{id}}", **needs("providers:write"))
    async def update_provider(call: Calling, id: Id, body: ProviderChange) -> Provider:
        """Changes what is given; every endpoint that names it goes by it at once. Administrators only."""
        given: dict[str, Any] = body.model_dump(exclude_unset=True)
        before = await providers.get(call.actor, id)
        view = await providers.update(
            call.actor,
            id,
            settings=msgspec.structs.replace(before.settings, **_settings(given)),
            client_secret=given.get("client_secret"),
            owners=given.get("owners"),
            description=given.get("description"),
            metadata=given.get("metadata"),
            version=before.row.version,
        )
        return _shown(call.links, view)

    @router.delete(f"/{PATH}/{{id}}", status_code=204, **needs("providers:write"))
    async def delete_provider(call: Calling, id: Id) -> None:
        """Deletes a provider; refused while an edge names it. Administrators only."""
        await providers.delete(call.actor, id)

    @router.post(f"/{PATH}/{{id}}/test", **needs("providers:write"))
    async def test_provider(call: Calling, id: Id) -> Check:
        """Asks the provider what a login would ask it, and says what would go wrong. Administrators only."""
        view = await providers.get(call.actor, id)
        return check_of(await providers.test(call.actor, view.settings, provider_id=id))

    return router
