"""`/backends/tunnel_group`: tunnels that carry the same labels."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from tunnelctl.wire.texts import MAX_LABEL, MAX_LABELS
from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.values import (
    Calling,
    Description,
    Given,
    Id,
    Metadata,
    Owner,
    Page,
    Ref,
    Shown,
    Time,
    cut,
    needs,
    shown_time,
)
from tunnelrelay.services.services import Services
from tunnelrelay.services.tunnels import TunnelView
from tunnelrelay.store.resources import BackendRow

PATH = "backends/tunnel_group"
_LabelText = Annotated[str, Field(pattern=rf"^[^\x00-\x1f\x7f]{{1,{MAX_LABEL}}}$")]
Labels = Annotated[dict[_LabelText, _LabelText], Field(max_length=MAX_LABELS)]


class TunnelGroup(Shown):
    """A group of tunnels: those of its owner that carry all of its labels."""

    id: str
    uri: str
    created_at: Time
    description: str
    metadata: str
    labels: dict[str, str]
    tunnels: list[Ref]
    """Those that are online and carry the labels."""
    owner: str


class TunnelGroupList(Shown):
    """A page of groups, the newest first."""

    backends: list[TunnelGroup]
    uri: str
    next_page_uri: str | None


class NewTunnelGroup(Given):
    """A group to make."""

    labels: Annotated[Labels, Field(min_length=1)]
    """Labels that its tunnels carry."""
    description: Description = ""
    metadata: Metadata = ""
    owner: Owner | None = None


class TunnelGroupChange(Given):
    """What is absent stays as it is; so do labels when there are none in the object."""

    labels: Labels = {}
    """Labels that its tunnels carry; those given are all there are."""
    description: Description = ""
    metadata: Metadata = ""


def routes(services: Services) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["tunnel_group_backends"])
    backends = services.backends

    def shown(call: Call, row: BackendRow, live: list[TunnelView]) -> TunnelGroup:
        labels = set(row.labels)
        joined = [tunnel.id for tunnel in live if tunnel.owner == row.owner and labels.issubset(tunnel.labels)]
        return TunnelGroup(
            id=row.id,
            uri=call.links.to(PATH, row.id),
            created_at=shown_time(row.created_at),
            description=row.description,
            metadata=row.metadata,
            labels=dict(row.labels),
            tunnels=[Ref(id=id, uri=call.links.to("tunnels", id)) for id in joined],
            owner=row.owner,
        )

    @router.get(f"/{PATH}", **needs("edges:read"))
    async def list_tunnel_group_backends(call: Calling, page: Annotated[Page, Query()]) -> TunnelGroupList:
        """Tunnel groups, the newest first."""
        rows = await backends.page(call.actor, before=page.before_id, limit=page.one_more)
        live = services.tunnels.tunnels(call.actor)
        found = cut(call, PATH, page, rows, lambda row: row.id)
        return TunnelGroupList(
            backends=[shown(call, row, live) for row in found.rows], uri=found.uri, next_page_uri=found.next_page_uri
        )

    @router.post(f"/{PATH}", status_code=201, **needs("edges:write"))
    async def create_tunnel_group_backend(call: Calling, body: NewTunnelGroup) -> TunnelGroup:
        """Makes a group; edges can then be served by it."""
        row = await backends.create(
            call.actor,
            tuple(sorted(body.labels.items())),
            description=body.description,
            metadata=body.metadata,
            owner=body.owner,
        )
        return shown(call, row, services.tunnels.tunnels(call.actor))

    @router.get(f"/{PATH}/{{id}}", **needs("edges:read"))
    async def get_tunnel_group_backend(call: Calling, id: Id) -> TunnelGroup:
        """One group."""
        return shown(call, await backends.get(call.actor, id), services.tunnels.tunnels(call.actor))

    @router.patch(f"/{PATH}/{{id}}", **needs("edges:write"))
    async def update_tunnel_group_backend(call: Calling, id: Id, body: TunnelGroupChange) -> TunnelGroup:
        """Changes what is given; tunnels join and leave its edges at once."""
        changes: dict[str, Any] = body.model_dump(exclude_unset=True)
        labels = changes.pop("labels", None)
        if labels:
            changes["labels"] = tuple(sorted(labels.items()))
        row = await backends.update(call.actor, id, **changes)
        return shown(call, row, services.tunnels.tunnels(call.actor))

    @router.delete(f"/{PATH}/{{id}}", status_code=204, **needs("edges:write"))
    async def delete_tunnel_group_backend(call: Calling, id: Id) -> None:
        """Deletes a group; refused while an edge is served by it."""
        await backends.delete(call.actor, id)

    return router
