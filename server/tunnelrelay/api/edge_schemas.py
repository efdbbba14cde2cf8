"""The API's response models of an edge and of its one route."""

from typing import Any

from tunnelctl.policy.modules import MODULES
from tunnelrelay.api.links import Links
from tunnelrelay.api.module_mapping import view_of_module
from tunnelrelay.api.module_schemas import VIEWS, BackendView, with_fields
from tunnelrelay.api.values import Ref, ResponseBody, Time, rfc3339
from tunnelrelay.services.edge_views import EdgeView

PATH = "edges/https"
FOREIGN = {
    "circuit_breaker": "circuit breakers",
    "compression": "compression at edges",
    "webhook_verification": "verification of webhooks",
    "oauth": "OAuth without OpenID: use the `oidc` module",
    "saml": "SAML",
    "websocket_tcp_converter": "conversion of WebSockets to TCP",
    "user_agent_filter": "filters of user agents",
    "traffic_policy": "traffic policies",
}
"""Modules of a route that ngrok has and this relay does not, each with its feature's name. They are always null."""


@with_fields({name: (model | None, ...) for name, model in VIEWS.items()} | dict.fromkeys(FOREIGN, (None, ...)))
class EdgeRoute(ResponseBody):
    """An edge's route: the modules that its requests pass. An edge has one route, for every path."""

    edge_id: str
    id: str
    created_at: Time
    match_type: str
    match: str
    uri: str
    description: str
    metadata: str
    backend: BackendView | None
    host_header: str | None
    """The `Host` field sent to the app; null for the one that the visitor sent."""


class Edge(ResponseBody):
    """An edge: an endpoint that lasts. The relay stores its rules, and tunnels join it to serve it."""

    id: str
    description: str
    metadata: str
    created_at: Time
    uri: str
    hostports: list[str]
    mutual_tls: None
    tls_termination: None
    routes: list[EdgeRoute]
    owner: str
    url: str | None
    """The URL at which visitors reach the edge; null without a host."""
    redirect_uri: str | None
    """The redirect URI to register at the OpenID provider; null when the edge has no login."""
    online: int
    """The number of tunnels that serve the edge now."""


def backend_of(links: Links, view: EdgeView) -> BackendView:
    """Return the backend module of an edge for a response: which tunnels serve the edge."""
    group = view.row.backend_id
    ref = Ref(id=group, uri=links.to("backends/tunnel_group", group)) if group else None
    return BackendView(enabled=view.settings.backend_enabled, backend=ref, sticky=view.settings.sticky)


def route_of(links: Links, view: EdgeView) -> EdgeRoute | None:
    """Return an edge's route for a response; None when the edge has none."""
    route = view.settings.route
    if route is None:
        return None
    modules: dict[str, Any] = {name: view_of_module(view.settings, view.stored_secrets, name) for name in MODULES}
    return EdgeRoute(
        edge_id=view.row.id,
        id=route.id,
        created_at=rfc3339(route.created_at),
        match_type="path_prefix",
        match="/",
        uri=links.to(PATH, view.row.id, "routes", route.id),
        description=route.description,
        metadata=route.metadata,
        backend=backend_of(links, view),
        host_header=view.settings.policy.host_header,
        **modules,
        **dict.fromkeys(FOREIGN),
    )


def edge_of(links: Links, view: EdgeView) -> Edge:
    """Return an edge for a response."""
    row = view.row
    route = route_of(links, view)
    return Edge(
        id=row.id,
        description=row.description,
        metadata=row.metadata,
        created_at=rfc3339(row.created_at),
        uri=links.to(PATH, row.id),
        hostports=[] if row.host is None else [f"{row.host}:{links.address.port}"],
        mutual_tls=None,
        tls_termination=None,
        routes=[] if route is None else [route],
        owner=row.owner,
        url=view.url or None,
        redirect_uri=view.redirect_uri,
        online=view.online,
    )
