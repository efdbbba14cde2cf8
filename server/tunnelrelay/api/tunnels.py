"""The API's `/tunnels` and `/tunnel_sessions`: the tunnels that are online now, and the agents' links."""

from typing import Annotated

from fastapi import APIRouter, Query

from tunnelrelay.address import TCP
from tunnelrelay.api.links import Links
from tunnelrelay.api.values import Calling, Id, Page, Ref, ResponseBody, Time, cut, needs, newest, rfc3339
from tunnelrelay.ids import PREFIXES
from tunnelrelay.policy.trust import CONFIGURED
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.services import Services
from tunnelrelay.services.tunnels import SessionView, TunnelView

PATH = "tunnels"
SESSIONS = "tunnel_sessions"


class Tunnel(ResponseBody):
    """A tunnel that is online: an agent's local service that the relay can forward requests to."""

    id: str
    public_url: str
    """The URL at which visitors reach the tunnel; empty for a tunnel that serves edges."""
    started_at: Time
    metadata: str
    proto: str
    region: str
    """Always empty: there are no regions."""
    tunnel_session: Ref
    endpoint: Ref | None
    labels: dict[str, str]
    backends: list[Ref]
    """The tunnel groups that the tunnel belongs to."""
    forwards_to: str
    """The address of the local service, as the agent reports it."""
    owner: str
    name: str
    """The name that the agent has given the tunnel."""
    urls: list[str]
    """All URLs at which visitors reach the tunnel now: its own, or those of the edges that it serves."""
    edges: list[Ref]
    credential: Ref | None
    """The authtoken of the tunnel's agent, or the trust rule that admitted the agent's CI job."""
    ip: str
    """The IP address that the agent connects from."""
    weight: int
    open: int
    """The number of requests that the tunnel serves at this moment."""
    requests: int
    errors: int
    draining: bool
    healthy: bool
    problem: str
    """Why the tunnel is unhealthy; empty when it is healthy."""


class TunnelList(ResponseBody):
    """A page of tunnels, the newest first."""

    tunnels: list[Tunnel]
    uri: str
    next_page_uri: str | None


class TunnelSession(ResponseBody):
    """One agent's link to this relay, over which all its tunnels run."""

    id: str
    uri: str
    agent_version: str
    credential: Ref | None
    ip: str
    metadata: str
    os: str
    region: str
    started_at: Time
    transport: str
    owner: str
    tunnels: list[Ref]
    job: str
    """The CI job that the agent runs in; empty for an agent with an authtoken."""


class TunnelSessionList(ResponseBody):
    """A page of agents' links, the newest first."""

    tunnel_sessions: list[TunnelSession]
    uri: str
    next_page_uri: str | None


class Done(ResponseBody):
    """An empty JSON object: the response of operations that return nothing, as ngrok's Python package needs a body."""


def _refs(links: Links, path: str, ids: tuple[str, ...]) -> list[Ref]:
    return [Ref(id=id, uri=links.to(path, id)) for id in ids]


def _ref(links: Links, path: str, id: str) -> Ref | None:
    return Ref(id=id, uri=links.to(path, id)) if id else None


def _credential(links: Links, id: str) -> Ref | None:
    """Return a reference to a tunnel's authtoken, or to the trust rule of its CI job; None where neither is stored."""
    if id == CONFIGURED:
        return None
    return _ref(links, "trust_rules" if id.startswith(PREFIXES["trust_rule"]) else "credentials", id)


def _tunnel(links: Links, view: TunnelView, groups: tuple[str, ...]) -> Tunnel:
    is_joined = bool(view.labels)
    return Tunnel(
        id=view.id,
        public_url="" if is_joined or not view.urls else view.urls[0],
        started_at=rfc3339(view.started_at),
        metadata=view.metadata,
        proto="tcp" if any(url.startswith(TCP) for url in view.urls) else links.address.scheme,
        region="",
        tunnel_session=Ref(id=view.session_id, uri=links.to(SESSIONS, view.session_id)),
        endpoint=None if is_joined or not view.endpoint_ids else _ref(links, "endpoints", view.endpoint_ids[0]),
        labels=dict(view.labels),
        backends=_refs(links, "backends/tunnel_group", groups),
        forwards_to=view.upstream,
        owner=view.owner,
        name=view.name,
        urls=list(view.urls),
        edges=_refs(links, "edges/https", view.edge_ids),
        credential=_credential(links, view.credential_id),
        ip=view.peer,
        weight=view.weight,
        open=view.open,
        requests=view.requests,
        errors=view.errors,
        draining=view.is_draining,
        healthy=view.is_healthy,
        problem=view.problem,
    )


def _session(links: Links, view: SessionView) -> TunnelSession:
    return TunnelSession(
        id=view.id,
        uri=links.to(SESSIONS, view.id),
        agent_version=view.version,
        credential=_credential(links, view.credential_id),
        ip=view.peer,
        metadata="",
        os=view.platform,
        region="",
        started_at=rfc3339(view.started_at),
        transport="tunnel/v1",
        owner=view.owner,
        tunnels=_refs(links, PATH, view.tunnel_ids),
        job=view.job,
    )


def routes(services: Services) -> APIRouter:
    """Return the routes of `/tunnels` and `/tunnel_sessions`."""
    router = APIRouter()
    tunnels = services.tunnels

    async def shown(call: Calling, views: list[TunnelView]) -> list[Tunnel]:
        known = await services.backends.page(call.actor, limit=MAX_GROUPS) if any(v.labels for v in views) else []

        def groups(view: TunnelView) -> tuple[str, ...]:
            carried = set(view.labels)
            return tuple(row.id for row in known if row.owner == view.owner and carried.issuperset(row.labels))

        return [_tunnel(call.links, view, groups(view) if view.labels else ()) for view in views]

    @router.get(f"/{PATH}", tags=["tunnels"], **needs("edges:read"))
    async def list_tunnels(call: Calling, page: Annotated[Page, Query()]) -> TunnelList:
        """Tunnels that are online at this relay, the newest first."""
        found = cut(call, PATH, page, newest(tunnels.tunnels(call.actor), page), lambda view: view.id)
        return TunnelList(tunnels=await shown(call, found.rows), uri=found.uri, next_page_uri=found.next_page_uri)

    @router.get(f"/{PATH}/{{id}}", tags=["tunnels"], **needs("edges:read"))
    async def get_tunnel(call: Calling, id: Id) -> Tunnel:
        """One tunnel that is online at this relay."""
        return (await shown(call, [tunnels.tunnel(call.actor, id)]))[0]

    @router.post(f"/{PATH}/{{id}}/drain", tags=["tunnels"], status_code=204, **needs("edges:write"))
    async def drain_tunnel(call: Calling, id: Id) -> None:
        """Drains a tunnel: it gets no new requests, and its open requests go on."""
        tunnels.drain(call.actor, id)

    @router.get(f"/{SESSIONS}", tags=["tunnel_sessions"], **needs("edges:read"))
    async def list_tunnel_sessions(call: Calling, page: Annotated[Page, Query()]) -> TunnelSessionList:
        """Agents that are connected to this relay, the newest first."""
        found = cut(call, SESSIONS, page, newest(tunnels.sessions(call.actor), page), lambda view: view.id)
        return TunnelSessionList(
            tunnel_sessions=[_session(call.links, view) for view in found.rows],
            uri=found.uri,
            next_page_uri=found.next_page_uri,
        )

    @router.get(f"/{SESSIONS}/{{id}}", tags=["tunnel_sessions"], **needs("edges:read"))
    async def get_tunnel_session(call: Calling, id: Id) -> TunnelSession:
        """One agent's link to this relay."""
        return _session(call.links, tunnels.session(call.actor, id))

    @router.post(f"/{SESSIONS}/{{id}}/stop", tags=["tunnel_sessions"], **needs("edges:write"))
    async def stop_tunnel_session(call: Calling, id: Id) -> Done:
        """Ends an agent's link and tells the agent to stop."""
        tunnels.stop_session(call.actor, id)
        return Done()

    @router.post(f"/{SESSIONS}/{{id}}/restart", tags=["tunnel_sessions"], **needs("edges:write"))
    async def restart_tunnel_session(call: Calling, id: Id) -> Done:
        """Ends an agent's link; the agent's process goes on and opens a new link."""
        tunnels.stop_session(call.actor, id, is_restart=True)
        return Done()

    @router.post(f"/{SESSIONS}/{{id}}/update", tags=["tunnel_sessions"], deprecated=True, **needs("edges:read"))
    async def update_tunnel_session(call: Calling, id: Id) -> Done:
        """Always refused: the relay cannot update agents."""
        tunnels.session(call.actor, id)
        raise ManageError(
            Kind.INVALID, "not_supported", "This relay does not update agents.", "Update it where it is installed."
        )

    return router


MAX_GROUPS = 1000
"""Tunnel groups that are read to find those that a tunnel belongs to: as many as an owner can have."""
