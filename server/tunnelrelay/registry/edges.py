"""Edges on the running relay: endpoints configured in the store, and the tunnels that serve them.

An edge's endpoint is in the registry as long as the edge has a host. A tunnel serves every edge of its owner whose
labels are all among its own, including edges that are added later. `services` stores the settings of edges; here an
edge is a compiled policy, a host and labels. All methods are synchronous, so no request sees a partial change.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.policy.rules import Connection, Policy
from tunnelrelay.registry.endpoint import MAX_SHARED
from tunnelrelay.registry.registry import Registry
from tunnelrelay.registry.tunnel import Pairs, Tunnel

MAX_SERVED = 100
"""Maximum edges that one tunnel serves: the first ones that match. An owner can have a thousand edges with equal labels
and as many matching tunnels; without a limit each tunnel that came or went would block the relay for a moment."""


BOUNDS = (
    DeclaredBound(
        name="edges that a tunnel serves",
        limit=MAX_SERVED,
        unit="edges",
        per="tunnel",
        when_full="further edges with its labels are not served by it",
        worst_bytes=MAX_SERVED * 16,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEdge:
    """An edge as the running relay uses it.

    Attributes:
        id: Id of the edge in the store.
        owner: Owner of the edge, whose tunnels alone may serve it.
        host: Canonical host of the edge; None without one.
        generation: 1 plus the number of times the host has changed owner, as stored.
        policy: The compiled access rules.
        labels: Labels that a tunnel must have to serve the edge. With no labels, no tunnel serves it.
        sticky: Later requests of a visitor go to the tunnel that served the first one.
    """

    id: str
    owner: str
    host: str | None
    policy: Policy
    generation: int = 1
    labels: Pairs = ()
    sticky: bool = False


class EdgeTable:
    """The edges of this relay, and the tunnels that serve them.

    Attributes:
        prefetch: Called with the OpenID connection of each edge, to fetch its provider's metadata before the first
            login.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._edges: dict[str, LiveEdge] = {}
        self._wanted: dict[str, frozenset[tuple[str, str]]] = {}
        self._of_owner: dict[str, dict[str, None]] = {}
        self._joined: dict[str, dict[int, Tunnel]] = {}
        self.prefetch: Callable[[Connection], None] = lambda connection: None

    def __iter__(self) -> Iterator[LiveEdge]:
        return iter(self._edges.values())

    def get(self, edge_id: str) -> LiveEdge | None:
        """Return the edge with this id; None when there is none."""
        return self._edges.get(edge_id)

    def by_name(self, owner: str, name: str) -> LiveEdge | None:
        """Return an owner's edge by its id, its host, or the first label of its host.

        Edges of other owners are not found.
        """
        wanted = name.lower()
        for edge_id in self._of_owner.get(owner, ()):
            edge = self._edges[edge_id]
            host = edge.host or ""
            if wanted in (edge.id, host, host.partition(".")[0]) and wanted:
                return edge
        return None

    def online(self, edge_id: str) -> int:
        """Return how many tunnels serve an edge now."""
        edge = self._edges.get(edge_id)
        endpoint = self._registry.find(edge.host) if edge is not None and edge.host is not None else None
        return len(endpoint.tunnels) if endpoint is not None else 0

    def joined_by(self, owner: str) -> int:
        """Return how many tunnels with labels an owner has, even if they serve no edge."""
        return len(self._joined.get(owner, ()))

    # Changes of the configuration

    def put(self, edge: LiveEdge) -> None:
        """Add or change an edge. Its rules apply at once to new requests and open connections."""
        moved = self._clear(edge)
        self._edges[edge.id] = edge
        self._wanted[edge.id] = frozenset(edge.labels)
        self._of_owner.setdefault(edge.owner, {})[edge.id] = None
        if edge.host is not None:
            moved.update(self._open(edge, edge.host))
        for tunnel in moved:
            tunnel.moved(tunnel.hosts)
        for connection in edge.policy.providers():
            self.prefetch(connection)

    def drop(self, edge_id: str) -> None:
        """Remove an edge: its host becomes unknown and its open connections end."""
        edge = self._edges.pop(edge_id, None)
        if edge is None:
            return
        del self._wanted[edge_id]
        del self._of_owner[edge.owner][edge_id]
        if not self._of_owner[edge.owner]:
            del self._of_owner[edge.owner]
        for tunnel in self._close(edge):
            tunnel.moved(tunnel.hosts)

    # Tunnels that come and go

    def join(self, tunnel: Tunnel) -> tuple[str, ...]:
        """Add a tunnel with labels. Return the hosts that it serves, which may be none until an edge is added.

        The tunnel replaces one with the same number of the same agent over an older link.
        """
        joined = self._joined.setdefault(tunnel.owner, {})
        older = [each for each in joined.values() if (each.agent, each.number) == (tunnel.agent, tunnel.number)]
        self._registry.add(tunnel)
        joined[tunnel.claim] = tunnel
        carried, all_labels = frozenset(tunnel.labels), self._wanted
        for edge_id in self._of_owner.get(tunnel.owner, ()):
            wanted = all_labels[edge_id]
            if not wanted or not wanted <= carried:
                continue
            if len(tunnel.hosts) >= MAX_SERVED:
                break
            edge = self._edges[edge_id]
            if edge.host is not None:
                endpoint = self._registry.find(edge.host)
                assert endpoint is not None  # an edge with a host always has an endpoint
                if len(endpoint.tunnels) >= MAX_SHARED:
                    continue
                self._registry.serve_edge(endpoint, (*endpoint.tunnels, tunnel))
                tunnel.hosts += (edge.host,)
        for each in older:
            self.leave(each)
        return tunnel.hosts

    def leave(self, tunnel: Tunnel) -> bool:
        """Remove a tunnel. Return False if it was already replaced, as its agent came back over another link."""
        joined = self._joined.get(tunnel.owner, {})
        if joined.pop(tunnel.claim, None) is None:
            return False
        if not joined:
            del self._joined[tunnel.owner]
        self._registry.remove(tunnel)
        for host in tunnel.hosts:
            endpoint = self._registry.find(host)
            if endpoint is not None:
                at = endpoint.tunnels.index(tunnel)
                self._registry.serve_edge(endpoint, endpoint.tunnels[:at] + endpoint.tunnels[at + 1 :])
        tunnel.hosts = ()
        return True

    # The inside

    def _clear(self, edge: LiveEdge) -> set[Tunnel]:
        """Make an edge's host free: close the edge's former host, and the endpoint at the new one.

        Return the affected tunnels.
        """
        moved: set[Tunnel] = set()
        former = self._edges.get(edge.id)
        if former is not None and (former.host, former.owner) != (edge.host, edge.owner):
            self.drop(former.id) if former.owner != edge.owner else moved.update(self._close(former))
        holder = self._registry.find(edge.host) if edge.host is not None else None
        if holder is not None and holder.edge not in ("", edge.id):
            other = self._edges[holder.edge]
            moved.update(self._close(other))
            self._edges[other.id] = replace(other, host=None)
        return moved

    def _open(self, edge: LiveEdge, host: str) -> Iterator[Tunnel]:
        """Open the edge's endpoint with its policy and tunnels. Return the tunnels whose hosts have changed."""
        endpoint = self._registry.keep_for_edge(host, edge.owner, edge.generation, edge.id)
        endpoint.policy = edge.policy
        endpoint.is_sticky = edge.sticky
        endpoint.label = f"{edge.owner}/{host.partition('.')[0]}"
        before = dict.fromkeys(endpoint.tunnels)
        joined = self._joined.get(edge.owner, {}).values()
        has_room = (each for each in joined if each in before or len(each.hosts) < MAX_SERVED)
        wanted = self._wanted[edge.id]
        matching = (each for each in has_room if wanted and wanted.issubset(each.labels))
        now = tuple(islice(matching, MAX_SHARED))
        self._registry.serve_edge(endpoint, now)
        for tunnel in now:
            if tunnel not in before:
                tunnel.hosts += (host,)
                yield tunnel
        for tunnel in before.keys() - set(now):
            yield _without(tunnel, host)

    def _close(self, edge: LiveEdge) -> tuple[Tunnel, ...]:
        """Close the endpoint of an edge. Return the tunnels that served it."""
        endpoint = self._registry.find(edge.host) if edge.host is not None else None
        if endpoint is None or endpoint.edge != edge.id:
            return ()
        tunnels = endpoint.tunnels
        self._registry.drop_edge(endpoint.host, edge.id)
        return tuple(_without(tunnel, endpoint.host) for tunnel in tunnels)


def _without(tunnel: Tunnel, host: str) -> Tunnel:
    """Remove a host from the hosts of a tunnel that no longer serves it."""
    tunnel.hosts = tuple(each for each in tunnel.hosts if each != host)
    return tunnel
