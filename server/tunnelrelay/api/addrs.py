"""The API's `/reserved_addrs`: tcp ports of the relay that are reserved for an owner."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.links import Links
from tunnelrelay.api.resource import ResourceRoutes, answer
from tunnelrelay.api.values import Description, Line, Metadata, NotOffered, Owner, RequestBody, ResponseBody, Time
from tunnelrelay.services.services import Services
from tunnelrelay.store.resources import DomainRow

PATH = "reserved_addrs"
_Region = Annotated[str, NotOffered("regions"), Field(max_length=0)]


class Addr(ResponseBody):
    """A tcp port of the relay that is reserved for an owner."""

    id: str
    uri: str
    created_at: Time
    description: str
    metadata: str
    addr: str
    """The reserved host and port, as in `tun.example:20022`."""
    region: str
    """Always empty: there are no regions."""
    endpoint_configuration: None
    owner: str


class AddrList(ResponseBody):
    """A page of reserved tcp ports, the newest first."""

    reserved_addrs: list[Addr]
    uri: str
    next_page_uri: str | None


class NewAddr(RequestBody):
    """A tcp port to reserve."""

    addr: Line = ""
    """A tcp port of the relay, with or without the relay's domain before it; empty for any free port."""
    description: Description = ""
    metadata: Metadata = ""
    owner: Owner | None = None
    region: _Region = ""


class AddrChange(RequestBody):
    """A change of a reserved tcp port. Absent fields stay as they are."""

    description: Description = ""
    metadata: Metadata = ""


def _view(links: Links, row: DomainRow) -> Addr:
    _, host, port = links.address.parts_of(row.host)
    return answer(Addr, row, uri=links.to(PATH, row.id), addr=f"{host}:{port}", region="", endpoint_configuration=None)


def routes(services: Services) -> APIRouter:
    """Return the routes of `/reserved_addrs`."""
    addrs = services.addrs

    async def create(call: Call, body: NewAddr) -> Addr:
        texts = {"description": body.description, "metadata": body.metadata}
        return _view(call.links, await addrs.create(call.actor, body.addr, owner=body.owner, **texts))

    async def update(call: Call, id: str, body: AddrChange) -> DomainRow:
        texts: dict[str, Any] = body.model_dump(exclude_unset=True, include={"description", "metadata"})
        return await addrs.update(call.actor, id, **texts)

    return ResourceRoutes(
        path=PATH,
        area="domains",
        one="reserved_addr",
        many="reserved_addrs",
        shape=Addr,
        page_shape=AddrList,
        new=NewAddr,
        change=AddrChange,
        help={
            "list": "Reserved tcp ports, the newest first.",
            "create": "Reserves a port that no other owner holds.",
            "get": "One reserved port.",
            "update": "Changes what is given.",
            "delete": "Gives a port up. Others can have it after the cool-down.",
        },
        service=addrs,
        viewer=lambda call: partial(_view, call.links),
        create=create,
        update=update,
    ).add_to(APIRouter(tags=["reserved_addrs"]))
