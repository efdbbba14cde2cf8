"""`/reserved_domains`: host names kept for an owner."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from tunnelrelay.api.links import Links
from tunnelrelay.api.values import (
    Calling,
    Description,
    Given,
    Host,
    Id,
    Metadata,
    NotOffered,
    Owner,
    Page,
    Shown,
    Time,
    cut,
    needs,
    shown_time,
)
from tunnelrelay.services.services import Services
from tunnelrelay.store.resources import DomainRow

PATH = "reserved_domains"
_Region = Annotated[str, NotOffered("regions"), Field(max_length=0)]
_Certificate = Annotated[None, NotOffered("certificates by the API; the operator sets them up")]
_Resolves = Annotated[list[dict[str, str]], NotOffered("regions"), Field(max_length=0)]


class Domain(Shown):
    """A reserved host name."""

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


class DomainList(Shown):
    """A page of domains, the newest first."""

    reserved_domains: list[Domain]
    uri: str
    next_page_uri: str | None


class NewDomain(Given):
    """A name to reserve."""

    domain: Host | Literal[""] = ""
    """A host name, or one label for a name below the relay's domain; empty for a random one."""
    description: Description = ""
    metadata: Metadata = ""
    owner: Owner | None = None
    region: _Region = ""
    certificate_id: _Certificate = None
    certificate_management_policy: _Certificate = None
    resolves_to: _Resolves = []


class DomainChange(Given):
    """What is absent stays as it is."""

    description: Description = ""
    metadata: Metadata = ""
    certificate_id: _Certificate = None
    certificate_management_policy: _Certificate = None
    resolves_to: _Resolves = []


def _shown(links: Links, row: DomainRow) -> Domain:
    return Domain(
        id=row.id,
        uri=links.to(PATH, row.id),
        created_at=shown_time(row.created_at),
        description=row.description,
        metadata=row.metadata,
        domain=row.host,
        region="",
        cname_target=None,
        certificate=None,
        certificate_management_policy=None,
        certificate_management_status=None,
        acme_challenge_cname_target=None,
        resolves_to=[],
        owner=row.owner,
    )


def routes(services: Services) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["reserved_domains"])
    domains = services.domains

    @router.get(f"/{PATH}", **needs("domains:read"))
    async def list_reserved_domains(call: Calling, page: Annotated[Page, Query()]) -> DomainList:
        """Reserved domains, the newest first."""
        rows = await domains.page(call.actor, before=page.before_id, limit=page.one_more)
        found = cut(call, PATH, page, rows, lambda row: row.id)
        return DomainList(
            reserved_domains=[_shown(call.links, row) for row in found.rows],
            uri=found.uri,
            next_page_uri=found.next_page_uri,
        )

    @router.post(f"/{PATH}", status_code=201, **needs("domains:write"))
    async def create_reserved_domain(call: Calling, body: NewDomain) -> Domain:
        """Reserves a name that no other owner holds."""
        row = await domains.create(
            call.actor, body.domain, description=body.description, metadata=body.metadata, owner=body.owner
        )
        return _shown(call.links, row)

    @router.get(f"/{PATH}/{{id}}", **needs("domains:read"))
    async def get_reserved_domain(call: Calling, id: Id) -> Domain:
        """One domain."""
        return _shown(call.links, await domains.get(call.actor, id))

    @router.patch(f"/{PATH}/{{id}}", **needs("domains:write"))
    async def update_reserved_domain(call: Calling, id: Id, body: DomainChange) -> Domain:
        """Changes what is given."""
        changes: dict[str, Any] = body.model_dump(exclude_unset=True, include={"description", "metadata"})
        return _shown(call.links, await domains.update(call.actor, id, **changes))

    @router.delete(f"/{PATH}/{{id}}", status_code=204, **needs("domains:write"))
    async def delete_reserved_domain(call: Calling, id: Id) -> None:
        """Gives a name up; refused while an edge answers at it. Others can have it after the cool-down."""
        await domains.delete(call.actor, id)

    return router
