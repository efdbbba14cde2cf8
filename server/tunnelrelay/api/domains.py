"""The API's `/reserved_domains`: host names that are reserved for an owner."""

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.links import Links
from tunnelrelay.api.resource import ResourceRoutes, answer
from tunnelrelay.api.values import Description, Host, Metadata, NotOffered, Owner, RequestBody, ResponseBody, Time
from tunnelrelay.services.services import Services
from tunnelrelay.store.resources import DomainRow

PATH = "reserved_domains"
_Region = Annotated[str, NotOffered("regions"), Field(max_length=0)]
_Certificate = Annotated[None, NotOffered("certificates by the API; the operator sets them up")]
_Resolves = Annotated[list[dict[str, str]], NotOffered("regions"), Field(max_length=0)]


class Domain(ResponseBody):
    """A host name that is reserved for an owner."""

    id: str
    uri: str
    created_at: Time
    description: str
    metadata: str
    domain: str
    region: str
    """Always empty: there are no regions."""
    cname_target: str | None
    """Always null: point the name's DNS record at the relay."""
    certificate: None
    certificate_management_policy: None
    certificate_management_status: None
    acme_challenge_cname_target: None
    resolves_to: list[dict[str, str]]
    owner: str


class DomainList(ResponseBody):
    """A page of reserved host names, the newest first."""

    reserved_domains: list[Domain]
    uri: str
    next_page_uri: str | None


class NewDomain(RequestBody):
    """A host name to reserve."""

    domain: Host | Literal[""] = ""
    """A host name, or one label for a name below the relay's domain; empty for a random name."""
    description: Description = ""
    metadata: Metadata = ""
    owner: Owner | None = None
    region: _Region = ""
    certificate_id: _Certificate = None
    certificate_management_policy: _Certificate = None
    resolves_to: _Resolves = []


class DomainChange(RequestBody):
    """A change of a reserved host name. Absent fields stay as they are."""

    description: Description = ""
    metadata: Metadata = ""
    certificate_id: _Certificate = None
    certificate_management_policy: _Certificate = None
    resolves_to: _Resolves = []


def _view(links: Links, row: DomainRow) -> Domain:
    return answer(
        Domain,
        row,
        uri=links.to(PATH, row.id),
        domain=row.host,
        region="",
        cname_target=None,
        certificate=None,
        certificate_management_policy=None,
        certificate_management_status=None,
        acme_challenge_cname_target=None,
        resolves_to=[],
    )


def routes(services: Services) -> APIRouter:
    """Return the routes of `/reserved_domains`."""
    domains = services.domains

    async def create(call: Call, body: NewDomain) -> Domain:
        texts = {"description": body.description, "metadata": body.metadata}
        return _view(call.links, await domains.create(call.actor, body.domain, owner=body.owner, **texts))

    async def update(call: Call, id: str, body: DomainChange) -> DomainRow:
        texts: dict[str, Any] = body.model_dump(exclude_unset=True, include={"description", "metadata"})
        return await domains.update(call.actor, id, **texts)

    return ResourceRoutes(
        path=PATH,
        area="domains",
        one="reserved_domain",
        many="reserved_domains",
        shape=Domain,
        page_shape=DomainList,
        new=NewDomain,
        change=DomainChange,
        help={
            "list": "Reserved domains, the newest first.",
            "create": "Reserves a name that no other owner holds.",
            "get": "One domain.",
            "update": "Changes what is given.",
            "delete": "Gives a name up; refused while an edge answers at it. Others can have it after the cool-down.",
        },
        service=domains,
        viewer=lambda call: partial(_view, call.links),
        create=create,
        update=update,
    ).add_to(APIRouter(tags=["reserved_domains"]))
