"""The API's `/backends/tunnel_group`: groups of tunnels by their labels, which serve edges."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from tunnelctl.wire.texts import MAX_LABEL, MAX_LABELS
from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.resource import ResourceRoutes, answer
from tunnelrelay.api.values import Description, Metadata, Owner, Ref, RequestBody, ResponseBody, Time
from tunnelrelay.services.services import Services
from tunnelrelay.store.resources import BackendRow

PATH = "backends/tunnel_group"
_LabelText = Annotated[str, Field(pattern=rf"^[^\x00-\x1f\x7f]{{1,{MAX_LABEL}}}$")]
Labels = Annotated[dict[_LabelText, _LabelText], Field(max_length=MAX_LABELS)]


class TunnelGroup(ResponseBody):
    """A tunnel group: all tunnels of its owner that carry all of its labels."""

    id: str
    uri: str
    created_at: Time
    description: str
    metadata: str
    labels: dict[str, str]
    tunnels: list[Ref]
    """The tunnels of the group that are online now."""
    owner: str


class TunnelGroupList(ResponseBody):
    """A page of tunnel groups, the newest first."""

    backends: list[TunnelGroup]
    uri: str
    next_page_uri: str | None


class NewTunnelGroup(RequestBody):
    """A tunnel group to create."""

    labels: Annotated[Labels, Field(min_length=1)]
    """Labels that the group's tunnels carry."""
    description: Description = ""
    metadata: Metadata = ""
    owner: Owner | None = None


class TunnelGroupChange(RequestBody):
    """A change of a tunnel group. Absent fields stay as they are, and so do labels given as an empty object."""

    labels: Labels = {}
    """Labels that the group's tunnels carry; they replace the former labels."""
    description: Description = ""
    metadata: Metadata = ""


def routes(services: Services) -> APIRouter:
    """Return the routes of `/backends/tunnel_group`."""
    backends = services.backends

    def viewer(call: Call) -> Callable[[BackendRow], TunnelGroup]:
        online = services.tunnels.tunnels(call.actor)

        def view(row: BackendRow) -> TunnelGroup:
            labels = set(row.labels)
            joined = [tunnel.id for tunnel in online if tunnel.owner == row.owner and labels.issubset(tunnel.labels)]
            return answer(
                TunnelGroup,
                row,
                uri=call.links.to(PATH, row.id),
                labels=dict(row.labels),
                tunnels=[Ref(id=id, uri=call.links.to("tunnels", id)) for id in joined],
            )

        return view

    async def create(call: Call, body: NewTunnelGroup) -> TunnelGroup:
        values = body.model_dump() | {"labels": tuple(body.labels.items())}
        return viewer(call)(await backends.create(call.actor, **values))

    async def update(call: Call, id: str, body: TunnelGroupChange) -> BackendRow:
        changes: dict[str, Any] = body.model_dump(exclude_unset=True)
        if labels := changes.pop("labels", None):
            changes["labels"] = tuple(labels.items())
        return await backends.update(call.actor, id, **changes)

    return ResourceRoutes(
        path=PATH,
        area="edges",
        one="tunnel_group_backend",
        many="tunnel_group_backends",
        shape=TunnelGroup,
        page_shape=TunnelGroupList,
        new=NewTunnelGroup,
        change=TunnelGroupChange,
        help={
            "list": "Tunnel groups, the newest first.",
            "create": "Makes a group; edges can then be served by it.",
            "get": "One group.",
            "update": "Changes what is given; tunnels join and leave its edges at once.",
            "delete": "Deletes a group; refused while an edge is served by it.",
        },
        service=backends,
        viewer=viewer,
        create=create,
        update=update,
    ).add_to(APIRouter(tags=["tunnel_group_backends"]))
