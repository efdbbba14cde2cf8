"""The live tunnels, agent sessions and endpoints of this relay.

They are not in the store: each relay has its own. An agent's instance id is never shown, as it allows to take names
over.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from tunnelrelay.agents.accept import Acceptor
from tunnelrelay.agents.session import AgentSession
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.registry.endpoint import Endpoint
from tunnelrelay.registry.registry import Registry
from tunnelrelay.registry.tunnel import Tunnel
from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.resources import Pairs

AREA = "edges"

T = TypeVar("T", Tunnel, AgentSession, Endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelView:
    """A live tunnel as API and dashboard show it.

    Attributes:
        name: The agent's own name for the tunnel.
        session_id, credential_id: Its agent session, and the token of that session ("" without one).
        peer: Address that the agent connects from.
        version, platform: Release and platform that the agent reported; "" when its session is gone.
        upstream: Local service that the agent reported.
        labels: Labels of a tunnel that serves edges; empty for one that asked for a name.
        urls: URLs at which visitors reach it now.
        edge_ids, endpoint_ids: Edges that it serves now, and the endpoints at `urls`.
        open: Number of exchanges in progress.
        requests, errors: Number of exchanges since it began, and of those that failed on its side.
        problem: Why its upstream is unhealthy; "" when it is healthy.
    """

    id: str
    owner: str
    name: str
    session_id: str
    credential_id: str
    peer: str
    version: str
    platform: str
    upstream: str
    labels: Pairs
    pooling: bool
    weight: int
    metadata: str
    started_at: float
    urls: tuple[str, ...]
    edge_ids: tuple[str, ...]
    endpoint_ids: tuple[str, ...]
    open: int
    requests: int
    errors: int
    is_draining: bool
    is_healthy: bool
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """An agent's link as API and dashboard show it.

    Attributes:
        peer: Address that the agent connects from.
        version, platform: Release and platform that the agent reported.
        credential_id: Token of the agent, or the trust rule that admitted its CI job; "" on a relay that requires none.
        job: The CI job that the agent runs in; "" when it sent an authtoken.
    """

    id: str
    owner: str
    peer: str
    version: str
    platform: str
    credential_id: str
    job: str
    started_at: float
    tunnel_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointView:
    """A public address that is served, was served a moment ago, or belongs to an edge.

    Attributes:
        kind: `edge`, or `agent` for a name that an agent asked for.
        edge_id: Id of the edge; "" for an agent's name.
        guard: Who may enter, in words; "" for all visitors.
        has_login: The endpoint has a login.
        is_pool: Several agents of the owner share it.
    """

    id: str
    owner: str
    host: str
    url: str
    kind: Literal["edge", "agent"]
    edge_id: str
    tunnel_ids: tuple[str, ...]
    guard: str
    has_login: bool
    is_pool: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnels:
    """Lists the tunnels, agent sessions and endpoints of this relay; drains tunnels and ends sessions."""

    base: ServiceBase
    registry: Registry
    table: EdgeTable
    acceptor: Acceptor

    def tunnels(self, actor: Actor) -> list[TunnelView]:
        """Return the actor's tunnels, the newest first."""
        self.base.authorize(actor, AREA, Access.READ)
        return self._views(_own(actor, self.registry.tunnels()))

    def tunnel(self, actor: Actor, tunnel_id: str) -> TunnelView:
        """Return one tunnel. Raises `ManageError` MISSING."""
        self.base.authorize(actor, AREA, Access.READ)
        return self._views([self.base.visible(actor, self.registry.tunnel(tunnel_id), "tunnel")])[0]

    def serving(self, actor: Actor, edge_id: str) -> list[TunnelView]:
        """Return the tunnels that serve an edge now, the newest first. Raises `ManageError` MISSING."""
        self.base.authorize(actor, AREA, Access.READ)
        edge = self.base.visible(actor, self.table.get(edge_id), "edge")
        endpoint = self.registry.find(edge.host) if edge.host is not None else None
        return self._views(endpoint.tunnels if endpoint is not None else ())

    def sessions(self, actor: Actor) -> list[SessionView]:
        """Return the sessions of the actor's agents, the newest first."""
        self.base.authorize(actor, AREA, Access.READ)
        found = sorted(_own(actor, self.acceptor.sessions), key=lambda each: each.id, reverse=True)
        return [_session(each) for each in found]

    def session(self, actor: Actor, session_id: str) -> SessionView:
        """Return one session. Raises `ManageError` MISSING."""
        self.base.authorize(actor, AREA, Access.READ)
        return _session(self._known_session(actor, session_id))

    def endpoints(self, actor: Actor) -> list[EndpointView]:
        """Return the actor's endpoints, sorted by host."""
        self.base.authorize(actor, AREA, Access.READ)
        return [self._endpoint(each) for each in sorted(_own(actor, self.registry), key=lambda each: each.host)]

    def endpoint(self, actor: Actor, endpoint_id: str) -> EndpointView:
        """Return one endpoint. Raises `ManageError` MISSING."""
        self.base.authorize(actor, AREA, Access.READ)
        found = next((each for each in self.registry if each.id == endpoint_id), None)
        return self._endpoint(self.base.visible(actor, found, "endpoint"))

    def drain(self, actor: Actor, tunnel_id: str) -> None:
        """Give a tunnel no more requests; running ones continue. Raises `ManageError` MISSING."""
        base = self.base
        base.authorize(actor, AREA, Access.WRITE)
        tunnel = base.visible(actor, self.registry.tunnel(tunnel_id), "tunnel")
        self.registry.drain(tunnel_id)
        base.record(actor, "tunnel.drained", id=tunnel_id, owner=tunnel.owner, host=(*tunnel.hosts, "")[0])

    def stop_session(self, actor: Actor, session_id: str, *, is_restart: bool = False) -> None:
        """End an agent's link.

        Args:
            is_restart: The agent may reconnect at once; otherwise it is told to stop.

        Raises:
            ManageError: FORBIDDEN, MISSING.
        """
        base = self.base
        base.authorize(actor, AREA, Access.WRITE)
        session = self._known_session(actor, session_id)
        session.stop(is_restart=is_restart)
        reason = "restart" if is_restart else "stop"
        base.record(actor, "tunnel.stopped", id=session_id, owner=session.owner, how=reason)

    # The inside

    def _known_session(self, actor: Actor, session_id: str) -> AgentSession:
        found = next((each for each in self.acceptor.sessions if each.id == session_id), None)
        return self.base.visible(actor, found, "tunnel session")

    def _views(self, tunnels: Iterable[Tunnel]) -> list[TunnelView]:
        """Return the views of these tunnels with the data of their agents, the newest first."""
        sessions = {each.id: each for each in self.acceptor.sessions}
        return [self._view(each, sessions) for each in sorted(tunnels, key=lambda each: each.id, reverse=True)]

    def _view(self, tunnel: Tunnel, sessions: Mapping[str, AgentSession]) -> TunnelView:
        endpoints = [found for host in tunnel.hosts if (found := self.registry.find(host)) is not None]
        session = sessions.get(tunnel.session)
        return TunnelView(
            id=tunnel.id,
            owner=tunnel.owner,
            name=tunnel.name,
            session_id=tunnel.session,
            credential_id=tunnel.credential,
            peer=tunnel.peer,
            version=session.version if session is not None else "",
            platform=session.platform if session is not None else "",
            upstream=tunnel.upstream,
            labels=tunnel.labels,
            pooling=tunnel.pooling,
            weight=tunnel.weight,
            metadata=tunnel.metadata,
            started_at=tunnel.started_at,
            urls=tuple(self.base.address.url(host) for host in tunnel.hosts),
            edge_ids=tuple(endpoint.edge for endpoint in endpoints if endpoint.edge),
            endpoint_ids=tuple(endpoint.id for endpoint in endpoints),
            open=tunnel.open,
            requests=tunnel.requests,
            errors=tunnel.errors,
            is_draining=tunnel.is_draining,
            is_healthy=tunnel.health.is_good,
            problem=tunnel.health.reason,
        )

    def _endpoint(self, endpoint: Endpoint) -> EndpointView:
        policy = endpoint.policy
        return EndpointView(
            id=endpoint.id,
            owner=endpoint.owner,
            host=endpoint.host,
            url=self.base.address.url(endpoint.host),
            kind="edge" if endpoint.edge else "agent",
            edge_id=endpoint.edge,
            tunnel_ids=tuple(tunnel.id for tunnel in endpoint.tunnels),
            guard=policy.words if policy is not None else "",
            has_login=policy is not None and policy.connection is not None,
            is_pool=endpoint.is_pool,
        )


def _own(actor: Actor, things: Iterable[T]) -> list[T]:
    return [thing for thing in things if actor.owns(thing.owner)]


def _session(session: AgentSession) -> SessionView:
    return SessionView(
        id=session.id,
        owner=session.owner,
        peer=session.peer,
        version=session.version,
        platform=session.platform,
        credential_id=session.token.id,
        job="" if session.job is None else session.job.job,
        started_at=session.started_at,
        tunnel_ids=tuple(tunnel.id for tunnel in session.tunnels.values()),
    )
