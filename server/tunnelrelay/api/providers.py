"""The API's `/providers`: OpenID providers that an administrator sets up once, and that owners refer to as `@name`."""

from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from pydantic import Field

from tunnelctl.policy.fields import BY_PATH
from tunnelctl.wire.texts import NAME_PATTERN
from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.findings import Check, check_of
from tunnelrelay.api.links import Links
from tunnelrelay.api.module_schemas import Secret, request_field, with_fields
from tunnelrelay.api.resource import ResourceRoutes, answer
from tunnelrelay.api.values import (
    Calling,
    Description,
    Filled,
    Id,
    Metadata,
    Owner,
    RequestBody,
    ResponseBody,
    Time,
    needs,
)
from tunnelrelay.services.provider_settings import ProviderSettings
from tunnelrelay.services.providers import ProviderView
from tunnelrelay.services.services import Services

PATH = "providers"
Name = Annotated[str, Field(max_length=63, pattern=rf"^{NAME_PATTERN}$")]
Owners = Annotated[list[Owner], Field(max_length=1000)]
CallbackKind = Annotated[str, Field(json_schema_extra={"enum": ["relay", "shared"]}, pattern="^(relay|shared)$")]


class Provider(ResponseBody):
    """A named OpenID provider, without its client secret."""

    id: str
    uri: str
    created_at: Time
    name: str
    """The name by which owners refer to the provider, after an `@`."""
    description: str
    metadata: str
    issuer: str
    client_id: str
    client_secret: None
    has_client_secret: bool
    """Whether the provider's client secret can be read; if not, endpoints that use the provider refuse all visitors."""
    scopes: list[str]
    groups_claim: str
    email_verified: str
    request_params: dict[str, str]
    callback: str
    redirect_uri: str
    """The redirect URI to register at the provider, once for all endpoints that use it."""
    owners: list[str]
    """Owners who may use the provider; empty for all. A member sees no owner but the member's own."""


class ProviderList(ResponseBody):
    """A page of named OpenID providers, the newest first."""

    providers: list[Provider]
    uri: str
    next_page_uri: str | None


_FROM_TABLE = ("scopes", "groups_claim", "email_verified", "request_params")
"""Settings of a provider that have the same type and description as in an edge's OpenID module."""


@with_fields({name: request_field(BY_PATH[f"oidc.{name}"]) for name in _FROM_TABLE})
class _Settings(RequestBody):
    description: Description = ""
    metadata: Metadata = ""
    client_secret: Secret = ""
    """The client secret at the provider, never shown."""
    callback: CallbackKind = "relay"
    """Which host the provider sends visitors back to after the login."""
    owners: Owners = []
    """Owners who may use the provider; empty for all."""


class NewProvider(_Settings, use_attribute_docstrings=True):
    """A named OpenID provider to create."""

    name: Name
    """The name by which owners refer to the provider, after an `@`."""
    issuer: Filled
    """The provider's issuer URL."""
    client_id: Filled
    """The client id at the provider."""


class ProviderChange(_Settings, use_attribute_docstrings=True):
    """A change of a named provider. Absent fields stay; the secret only when issuer and client id stay too."""

    issuer: Filled = "-"
    """The provider's issuer URL."""
    client_id: Filled = "-"
    """The client id at the provider."""


_OF_SETTINGS = frozenset(ProviderSettings.__struct_fields__)


def _view(links: Links, view: ProviderView) -> Provider:
    settings = msgspec.structs.asdict(view.settings)
    settings |= {"scopes": list(view.settings.scopes), "request_params": dict(view.settings.request_params)}
    return answer(
        Provider,
        view.row,
        uri=links.to(PATH, view.id),
        client_secret=None,
        has_client_secret=view.has_secret,
        redirect_uri=view.redirect_uri,
        **settings,
    )


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that are settings of a provider, in the service layer's types."""
    found = {name: value for name, value in given.items() if name in _OF_SETTINGS}
    if "scopes" in found:
        found["scopes"] = tuple(found["scopes"])
    if "request_params" in found:
        found["request_params"] = tuple(found["request_params"].items())
    return found


def routes(services: Services) -> APIRouter:
    """Return the routes of `/providers`."""
    router = APIRouter(tags=["providers"])
    providers = services.providers

    async def create(call: Call, body: NewProvider) -> Provider:
        given = body.model_dump()
        own = {name: value for name, value in given.items() if name not in _OF_SETTINGS}
        settings = ProviderSettings(**_settings(given))
        return _view(call.links, await providers.create(call.actor, settings=settings, **own))

    async def update(call: Call, id: str, body: ProviderChange) -> ProviderView:
        given: dict[str, Any] = body.model_dump(exclude_unset=True)
        own = {name: value for name, value in given.items() if name not in _OF_SETTINGS}
        before = await providers.get(call.actor, id)
        settings = msgspec.structs.replace(before.settings, **_settings(given))
        return await providers.update(call.actor, id, settings=settings, version=before.row.version, **own)

    ResourceRoutes(
        path=PATH,
        area="providers",
        one="provider",
        many="providers",
        shape=Provider,
        page_shape=ProviderList,
        new=NewProvider,
        change=ProviderChange,
        help={
            "list": "Providers, the newest first; a member sees those he may name.",
            "create": "Sets a provider up; administrators only.",
            "get": "One provider, without its secret.",
            "update": "Changes what is given; every endpoint that names it goes by it at once. Administrators only.",
            "delete": "Deletes a provider; refused while an edge names it. Administrators only.",
        },
        service=providers,
        viewer=lambda call: partial(_view, call.links),
        create=create,
        update=update,
    ).add_to(router)

    @router.post(f"/{PATH}/{{id}}/test", **needs("providers:write"))
    async def test_provider(call: Calling, id: Id) -> Check:
        """Tests a provider: sends it a login's requests, and lists what would fail. For administrators only."""
        view = await providers.get(call.actor, id)
        return check_of(await providers.test(call.actor, view.settings, provider_id=id))

    return router
