"""Edges on the running relay: durable endpoints whose rules come from the store, and the tunnels that join them.

An edge's endpoint is in the registry for as long as the edge has a host. A tunnel serves every edge of its own owner
all of whose labels it carries, those included that are set up later. What an edge is made of is `services`'s business;
here it is a compiled policy, a host and labels. Everything is synchronous: a change is whole before anybody sees it.
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
"""Edges one tunnel serves, the first that match. An owner can have a thousand with the same labels, and as many tunnels
that carry them: each that came or went would stop the relay for a moment, and none could be told of all."""


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
    """An edge as visitors meet it.

    Attributes:
        id: As in the store.
        owner: Whose it is; only this owner's tunnels join.
        host: Where it answers, canonical; None for nowhere.
        generation: How often the host has changed hands, and one, as the store has it.
        policy: What guards it.
        labels: A tunnel that carries all of them serves it; empty for none (never for every tunnel).
        sticky: A visitor stays with the tunnel that served it first.
    """

    id: str
    owner: str
    host: str | None
    policy: Policy
    generation: int = 1
    labels: Pairs = ()
    sticky: bool = False


class EdgeTable:
    """The edges that this relay serves, and the tunnels that join them.

    Attributes:
        warm: Told of every OpenID connection of an edge, so that the first login does not wait for discovery.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._edges: dict[str, LiveEdge] = {}
        self._wanted: dict[str, frozenset[tuple[str, str]]] = {}
        self._of_owner: dict[str, dict[str, None]] = {}
        self._joined: dict[str, dict[int, Tunnel]] = {}
        self.warm: Callable[[Connection], None] = lambda connection: None

    def __iter__(self) -> Iterator[LiveEdge]:
        return iter(self._edges.values())

    def get(self, edge_id: str) -> LiveEdge | None:
        """The edge with this id."""
        return self._edges.get(edge_id)

    def by_name(self, owner: str, name: str) -> LiveEdge | None:
        """An owner's edge by its id, its host, or the first label of that. Another owner's is as unknown as none."""
        wanted = name.lower()
        for edge_id in self._of_owner.get(owner, ()):
            edge = self._edges[edge_id]
            host = edge.host or ""
            if wanted in (edge.id, host, host.partition(".")[0]) and wanted:
                return edge
        return None

    def online(self, edge_id: str) -> int:
        """How many tunnels serve an edge now."""
        edge = self._edges.get(edge_id)
        endpoint = self._registry.find(edge.host) if edge is not None and edge.host is not None else None
        return len(endpoint.tunnels) if endpoint is not None else 0

    def joined_by(self, owner: str) -> int:
        """How many tunnels of an owner are there to join edges, whether they serve any or not."""
        return len(self._joined.get(owner, ()))

    # What people change

    def put(self, edge: LiveEdge) -> None:
        """Add or change an edge. Its rules apply to the next request and to open connections."""
        moved = self._clear(edge)
        self._edges[edge.id] = edge
        self._wanted[edge.id] = frozenset(edge.labels)
        self._of_owner.setdefault(edge.owner, {})[edge.id] = None
        if edge.host is not None:
            moved.update(self._open(edge, edge.host))
        for tunnel in moved:
            tunnel.moved(tunnel.hosts)
        for connection in edge.policy.providers():
            self.warm(connection)

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

    # What tunnels do

    def join(self, tunnel: Tunnel) -> tuple[str, ...]:
        """A tunnel with labels is there. Returns the hosts it serves; none is fine, an edge may come later.

        The same agent's tunnel of this number, over an older link, makes place for it.
        """
        mine = self._joined.setdefault(tunnel.owner, {})
        older = [each for each in mine.values() if (each.agent, each.number) == (tunnel.agent, tunnel.number)]
        self._registry.add(tunnel)
        mine[tunnel.claim] = tunnel
        carried, all_wanted = frozenset(tunnel.labels), self._wanted
        for edge_id in self._of_owner.get(tunnel.owner, ()):
            wanted = all_wanted[edge_id]
            if not wanted or not wanted <= carried:
                continue
            if len(tunnel.hosts) >= MAX_SERVED:
                break
            edge = self._edges[edge_id]
            if edge.host is not None:
                endpoint = self._registry.find(edge.host)
                assert endpoint is not None  # an edge with a host has its endpoint for as long
                if len(endpoint.tunnels) >= MAX_SHARED:
                    continue
                self._registry.serve_edge(endpoint, (*endpoint.tunnels, tunnel))
                tunnel.hosts += (edge.host,)
        for each in older:
            self.leave(each)
        return tunnel.hosts

    def leave(self, tunnel: Tunnel) -> bool:
        """Remove a tunnel. False when it was not here, as its agent came back over another link."""
        mine = self._joined.get(tunnel.owner, {})
        if mine.pop(tunnel.claim, None) is None:
            return False
        if not mine:
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
        """Makes place for an edge's host: its former one is closed, and so is the holder of the new one.

        Returns whom it concerns.
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
        """The edge's endpoint, guarded and served as it says. Gives those for whom that is news."""
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
        """Take the host from an edge. Returns the tunnels that served it."""
        endpoint = self._registry.find(edge.host) if edge.host is not None else None
        if endpoint is None or endpoint.edge != edge.id:
            return ()
        tunnels = endpoint.tunnels
        self._registry.drop_edge(endpoint.host, edge.id)
        return tuple(_without(tunnel, endpoint.host) for tunnel in tunnels)


def _without(tunnel: Tunnel, host: str) -> Tunnel:
    """Take a host from a tunnel, which no longer serves it."""
    tunnel.hosts = tuple(each for each in tunnel.hosts if each != host)
    return tunnel
