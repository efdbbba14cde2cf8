"""The API's `/edges/https`: edges, the endpoints whose name and rules the relay stores."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from tunnelrelay.api.auth_middleware import Call
from tunnelrelay.api.edge_changes import secrets_with, take_modules, with_backend
from tunnelrelay.api.edge_routes import Modules, with_modules
from tunnelrelay.api.edge_schemas import PATH, Edge, edge_of
from tunnelrelay.api.findings import Check, check_of
from tunnelrelay.api.links import Links
from tunnelrelay.api.module_mapping import login_of
from tunnelrelay.api.module_schemas import BODIES, ModuleBody
from tunnelrelay.api.resource import ResourceRoutes
from tunnelrelay.api.values import (
    Calling,
    Description,
    Id,
    Metadata,
    NotOffered,
    Owner,
    RequestBody,
    ResponseBody,
    needs,
)
from tunnelrelay.services.edge_settings import EdgeSettings
from tunnelrelay.services.edge_views import EdgeView
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.problems import invalid
from tunnelrelay.services.services import Services

HostPorts = Annotated[
    list[Annotated[str, Field(max_length=260, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$")]],
    Field(max_length=1),
]
FOREIGN = {
    "mutual_tls": "client certificates at edges",
    "tls_termination": "TLS settings of single edges; the operator sets them up",
}
"""Settings of an edge that ngrok has and this relay does not, each with its feature's name. They are always null."""
_MutualTls = Annotated[None, NotOffered(FOREIGN["mutual_tls"])]
_Termination = Annotated[None, NotOffered(FOREIGN["tls_termination"])]


class EdgeList(ResponseBody):
    """A page of edges, the newest first."""

    https_edges: list[Edge]
    uri: str
    next_page_uri: str | None


@with_modules
class NewEdge(Modules):
    """An edge to create, with a route if a module, a Host or a backend is given. A refused request creates nothing."""

    hostports: HostPorts | None = None
    """The edge's address: one host, with the relay's public port or none. A free host is reserved."""
    mutual_tls: _MutualTls = None
    tls_termination: _Termination = None
    owner: Owner | None = None
    """The owner of the edge; administrators may name another than their own."""


class EdgeChange(RequestBody):
    """A change of an edge. Absent fields stay as they are."""

    description: Description = ""
    metadata: Metadata = ""
    hostports: HostPorts = []
    """The edge's address: one host, with the relay's public port or none. An empty list removes the host."""
    mutual_tls: _MutualTls = None
    tls_termination: _Termination = None


def routes(services: Services) -> APIRouter:
    """Return the routes of `/edges/https`."""
    router = APIRouter(tags=["https_edges"])
    edges = services.edges

    async def create(call: Call, body: NewEdge) -> Edge:
        modules = body.modules()
        has_route = bool(modules) or body.backend is not None or body.host_header is not None

        def made(settings: EdgeSettings) -> EdgeSettings:
            settings = take_modules(settings, modules, body.host_header)
            return settings if body.backend is None else with_backend(settings, body.backend)

        new = EdgeDraft(
            description=body.description,
            metadata=body.metadata,
            host=_host(call.links, body.hostports or []) or None,
            owner=body.owner,
            with_route=has_route,
            change=made if has_route else None,
            secrets=secrets_with(modules),
            backend_id=(body.backend.backend_id if body.backend is not None else None) or "",
        )
        return edge_of(call.links, await edges.create(call.actor, new))

    async def update(call: Call, id: str, body: EdgeChange) -> EdgeView:
        changes: dict[str, Any] = body.model_dump(exclude_unset=True, include={"description", "metadata", "hostports"})
        if "hostports" in changes:
            changes["host"] = _host(call.links, changes.pop("hostports"))
        return await edges.update(call.actor, id, **changes)

    ResourceRoutes(
        path=PATH,
        area="edges",
        one="https_edge",
        many="https_edges",
        shape=Edge,
        page_shape=EdgeList,
        new=NewEdge,
        change=EdgeChange,
        help={
            "list": "Edges, the newest first.",
            "create": "Makes an edge, with its modules at once if any are given. Without any it has no route and is "
            "not served.",
            "get": "One edge with its route and modules.",
            "update": "Changes what is given, from the next request on.",
            "delete": "Deletes an edge; its host stays reserved. Tunnels that served only it stay connected and serve "
            "nothing.",
        },
        service=edges,
        viewer=lambda call: partial(edge_of, call.links),
        create=create,
        update=update,
    ).add_to(router)

    async def test_https_edge_oidc(call: Calling, id: Id, body: ModuleBody) -> Check:
        """Tests an OpenID module before it is set: sends the provider a login's requests, and lists what would fail."""
        return check_of(await edges.test_provider(call.actor, login_of(body), id))

    test_https_edge_oidc.__annotations__["body"] = BODIES["oidc"]
    router.post(f"/{PATH}/{{id}}/test_oidc", **needs("edges:write"))(test_https_edge_oidc)
    return router


def _host(links: Links, hostports: list[str]) -> str:
    """Return the host in a list of at most one `HOST` or `HOST:PORT`; "" for an empty list."""
    host, _, port = (hostports[0] if hostports else "").partition(":")
    if port and int(port) != links.address.port:
        raise invalid({"hostports": f"visitors reach this relay at port {links.address.port}"})
    return host.lower()
