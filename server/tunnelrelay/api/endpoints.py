"""The API's `/endpoints`: reads the public addresses that are served now, which tunnels and edges create."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from tunnelrelay.api.links import Links
from tunnelrelay.api.values import Calling, Id, Page, Ref, ResponseBody, Time, cut, needs, newest, rfc3339
from tunnelrelay.ids import made_at
from tunnelrelay.services.services import Services
from tunnelrelay.services.tunnels import EndpointView

PATH = "endpoints"


class Endpoint(ResponseBody):
    """A public address at which the relay serves visitors."""

    id: str
    uri: str
    created_at: Time
    updated_at: Time
    public_url: str
    url: str
    proto: str
    scheme: str
    hostport: str
    host: str
    port: int
    type: Literal["ephemeral", "edge"]
    """`ephemeral` for an address that an agent has bound, `edge` for the address of an edge."""
    region: str
    metadata: str
    description: str
    domain: None
    tcp_addr: None
    tunnel: Ref | None
    """The tunnel that serves an address which an agent has bound."""
    edge: Ref | None
    upstream_url: None
    upstream_protocol: None
    principal: None
    tunnel_session: None
    traffic_policy: str
    bindings: list[str]
    name: str
    pooling_enabled: bool
    owner: str
    tunnels: list[Ref]
    """All tunnels that serve the endpoint now."""
    guard: str
    """Which visitors are let in, as a text for people; empty for all."""
    has_login: bool
    """Whether visitors have to sign in."""


class EndpointList(ResponseBody):
    """A page of endpoints, the newest first."""

    endpoints: list[Endpoint]
    uri: str
    next_page_uri: str | None


def _view(links: Links, view: EndpointView) -> Endpoint:
    scheme, host, port = links.address.parts_of(view.host)
    tunnels = [Ref(id=id, uri=links.to("tunnels", id)) for id in view.tunnel_ids]
    since = rfc3339(made_at(view.id))
    return Endpoint(
        id=view.id,
        uri=links.to(PATH, view.id),
        created_at=since,
        updated_at=since,
        public_url=view.url,
        url=view.url,
        proto=scheme,
        scheme=scheme,
        hostport=f"{host}:{port}",
        host=host,
        port=port,
        type="edge" if view.kind == "edge" else "ephemeral",
        region="",
        metadata="",
        description="",
        domain=None,
        tcp_addr=None,
        tunnel=tunnels[0] if tunnels and view.kind == "agent" else None,
        edge=Ref(id=view.edge_id, uri=links.to("edges/https", view.edge_id)) if view.edge_id else None,
        upstream_url=None,
        upstream_protocol=None,
        principal=None,
        tunnel_session=None,
        traffic_policy="",
        bindings=["public"],
        name="",
        pooling_enabled=view.is_pool,
        owner=view.owner,
        tunnels=tunnels,
        guard=view.guard,
        has_login=view.has_login,
    )


def routes(services: Services) -> APIRouter:
    """Return the routes of `/endpoints`."""
    router = APIRouter(tags=["endpoints"])
    tunnels = services.tunnels

    @router.get(f"/{PATH}", **needs("edges:read"))
    async def list_endpoints(call: Calling, page: Annotated[Page, Query()]) -> EndpointList:
        """Endpoints of this relay, the newest first."""
        found = cut(call, PATH, page, newest(tunnels.endpoints(call.actor), page), lambda view: view.id)
        return EndpointList(
            endpoints=[_view(call.links, view) for view in found.rows],
            uri=found.uri,
            next_page_uri=found.next_page_uri,
        )

    @router.get(f"/{PATH}/{{id}}", **needs("edges:read"))
    async def get_endpoint(call: Calling, id: Id) -> Endpoint:
        """One endpoint of this relay."""
        return _view(call.links, tunnels.endpoint(call.actor, id))

    return router
