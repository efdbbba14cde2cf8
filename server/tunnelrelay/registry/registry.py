"""The hosts served by this relay, and the claims of tunnels to them, in memory.

A name belongs to an owner, not to a connection. The same agent gets its name back silently over another link; another
agent of the same owner takes the name over, and the older agent is told (unless both use pooling); agents of other
owners are refused. Claims are numbered, so that the end of a link removes only its own claims. The store knows the
owners of names that are not served: callers ask it before they claim a name. Names of edges belong to `edges`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelrelay.address import tcp_port
from tunnelrelay.ids import new_id
from tunnelrelay.policy.limits import give_back
from tunnelrelay.policy.rules import Connection, Policy
from tunnelrelay.registry.endpoint import MAX_SHARED, Endpoint
from tunnelrelay.registry.tunnel import Health, Tunnel

log = EventLog("tunnelrelay.registry")

LOST_SECONDS = 600.0
"""Seconds for which a name whose link was lost still belongs to its owner; requests then get a 503 instead of a 404."""
AWAITED_SECONDS = 30.0
"""Seconds after the loss of a link during which its agent dials every 0.4 s, and so is likely to come back."""
MAX_LOST = 10_000
MAX_OWNERS_RULES = 4 * 1024 * 1024
"""Maximum bytes of the settings of all tunnels of one owner together, as JSON: enough for 64 tunnels with settings as
large as one message. Compiled, they take up to forty times as much. Edges have a limit of their own."""


BOUNDS = (
    DeclaredBound(
        name="names whose link was lost",
        limit=MAX_LOST,
        unit="names",
        per="relay",
        when_full="the one lost the longest ago is given up",
        worst_bytes=MAX_LOST * 1_200,
        holds=("Registry._lost",),
    ),
    DeclaredBound(
        name="settings of all tunnels, as JSON",
        limit=MAX_OWNERS_RULES,
        unit="bytes",
        per="owner",
        when_full="the bind is refused",
        worst_bytes=40 * MAX_OWNERS_RULES,
        holds=("Registry._rules",),
    ),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """The reason why a tunnel cannot have a name.

    Attributes:
        why: The name belongs to another `owner`, or to an `edge`; the `same` agent serves it with another tunnel; other
            agents of the owner `pool` there, or one serves it `alone`; in a pool, the new tunnel's `rules` differ from
            the others', or the pool is `full`; or the settings of all the owner's tunnels would be too `large`.
    """

    host: str
    why: Literal["owner", "edge", "same", "pool", "alone", "rules", "full", "large"] = "owner"


class Registry:
    """The endpoints and tunnels of one relay.

    Args:
        clock: Function that returns Unix time, for times that are displayed.
        monotonic: Function that returns monotonic seconds, for how long a name has been lost.

    Attributes:
        on_change: Called with an owner when one of the owner's tunnels came, left, began to drain, or changed its
            health.
    """

    def __init__(self, *, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._endpoints: dict[str, Endpoint] = {}
        self._tunnels: dict[str, Tunnel] = {}
        self._held: dict[str, int] = {}
        self._ports: dict[str, int] = {}
        self._requests_held: Counter[str] = Counter()
        self._rules: Counter[str] = Counter()
        self._lost: dict[str, float] = {}
        self._claims = 0
        self._began = monotonic()
        self.on_change: Callable[[str], None] = lambda owner: None

    def find(self, host: str) -> Endpoint | None:
        """Return the endpoint at a canonical host; None when no tunnel serves it, or did until recently."""
        return self._endpoints.get(host)

    def held_by(self, owner: str) -> int:
        """Return how many names an owner has, including those whose link was lost recently."""
        return self._held.get(owner, 0)

    def ports_of(self, owner: str) -> int:
        """Return how many TCP ports an owner has, including those whose link was lost recently."""
        return self._ports.get(owner, 0)

    @property
    def port_count(self) -> int:
        """Number of TCP ports of all owners, including those whose link was lost recently."""
        return sum(self._ports.values())

    def connection_of(self, host: str) -> Connection | None:
        """Return the OpenID connection that protects a host now; None without one."""
        endpoint = self._endpoints.get(host)
        return endpoint.policy.connection if endpoint is not None and endpoint.policy is not None else None

    def accepts_run_token(self, host: str) -> bool:
        """Return whether a host accepts the token of its agent's own run."""
        endpoint = self._endpoints.get(host)
        bearer = endpoint.policy.bearer if endpoint is not None and endpoint.policy is not None else None
        return bearer is not None and bool(bearer.run_token_sha256)

    def connections(self) -> Iterator[Connection]:
        """Iterate over the OpenID connections of all endpoints, including those whose agent is away for a moment."""
        for endpoint in self._endpoints.values():
            if endpoint.policy is not None and endpoint.policy.connection is not None:
                yield endpoint.policy.connection

    def owner_of(self, host: str) -> str:
        """Return the current owner of a host; "" when it has none."""
        endpoint = self._endpoints.get(host)
        return endpoint.owner if endpoint is not None else ""

    def is_awaited(self, host: str) -> bool:
        """Return whether the host's link was lost so recently that its agent is likely to come back."""
        lost_at = self._lost.get(host)
        return lost_at is not None and self._monotonic() - lost_at < AWAITED_SECONDS

    def generation_of(self, host: str) -> int:
        """Return 1 plus the number of times the host has changed owner; 0 when no tunnel serves it."""
        endpoint = self._endpoints.get(host)
        return endpoint.generation if endpoint is not None else 0

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._endpoints.values())

    @property
    def served_count(self) -> int:
        """Number of endpoints that a tunnel serves."""
        return sum(1 for endpoint in self._endpoints.values() if endpoint.tunnels)

    @property
    def held_count(self) -> int:
        """Number of requests that wait for an agent."""
        return sum(endpoint.held_count for endpoint in self._endpoints.values())

    @property
    def tunnel_count(self) -> int:
        """Number of connected tunnels."""
        return len(self._tunnels)

    @property
    def unhealthy_count(self) -> int:
        """Number of tunnels whose upstream does not respond."""
        return sum(1 for tunnel in self._tunnels.values() if not tunnel.health.is_good)

    def expect(self, host: str, owner: str, generation: int = 1) -> None:
        """Reserve a name that was served before the relay restarted, until its agent reconnects."""
        if host not in self._endpoints:
            self._add_endpoint(host, owner, generation)
            self._lose(host)

    # Tunnels

    def tunnels(self) -> Iterator[Tunnel]:
        """Return every connected tunnel, including those that serve nothing at the moment."""
        return iter(self._tunnels.values())

    def tunnel(self, tunnel_id: str) -> Tunnel | None:
        """Return the tunnel with this id; None when it is gone."""
        return self._tunnels.get(tunnel_id)

    def add(self, tunnel: Tunnel) -> None:
        """Register a tunnel that serves no endpoint yet."""
        self._claims += 1
        tunnel.claim = self._claims
        self._tunnels[tunnel.id] = tunnel
        self.on_change(tunnel.owner)

    def remove(self, tunnel: Tunnel) -> None:
        """Remove a tunnel whose link is closed or that was replaced. The caller must update its endpoints."""
        self._tunnels.pop(tunnel.id, None)
        self.on_change(tunnel.owner)

    def drain(self, tunnel_id: str) -> bool:
        """Give a tunnel no more requests; running ones continue. Return False when there is no such tunnel."""
        tunnel = self._tunnels.get(tunnel_id)
        if tunnel is None:
            return False
        tunnel.is_draining = True
        self.on_change(tunnel.owner)
        for host in tunnel.hosts:
            if (endpoint := self._endpoints.get(host)) is not None:
                endpoint.serve_by(endpoint.tunnels)
        return True

    def mark_unhealthy(self, tunnel: Tunnel, reason: str) -> None:
        """Record that a tunnel's upstream does not respond; the endpoint's other tunnels get its requests."""
        if tunnel.health.is_good:
            tunnel.health = Health(False, reason, self._clock())
            self.on_change(tunnel.owner)
            log.info("tunnel unhealthy", owner=tunnel.owner, name=tunnel.name, id=tunnel.id, reason=reason)

    def mark_healthy(self, tunnel: Tunnel) -> None:
        """Record that a tunnel's upstream responds again, and give waiting requests to it."""
        if not tunnel.health.is_good:
            tunnel.health = Health(True, since=self._clock())
            self.on_change(tunnel.owner)
            log.info("tunnel healthy again", owner=tunnel.owner, name=tunnel.name, id=tunnel.id)
            for host in tunnel.hosts:
                if (endpoint := self._endpoints.get(host)) is not None:
                    endpoint.room_was_made()

    # Names that agents claim

    def claim(self, tunnel: Tunnel, host: str, policy: Policy, generation: int = 1) -> Tunnel | Taken:
        """Let a tunnel serve a name from now on.

        Return the tunnel with its new claim, or the reason why the name is not free.
        """
        endpoint = self._endpoints.get(host)
        others = _others(endpoint, tunnel) if endpoint is not None else ()
        if endpoint is not None and (why := _in_the_way(endpoint, others, tunnel, policy)) is not None:
            return why
        kept = [each for each in others if tunnel.pooling]
        weight = policy.size * (len(kept) + 1)
        if self._rules[tunnel.owner] - (endpoint.weight if endpoint else 0) + weight > MAX_OWNERS_RULES:
            return Taken(host, "large")
        if endpoint is None:
            endpoint = self._add_endpoint(host, tunnel.owner, generation)
        self.add(tunnel)
        tunnel.hosts = (host,)
        older = [each for each in endpoint.tunnels if each not in kept]
        endpoint.policy = policy
        endpoint.label = tunnel.label
        self._lost.pop(host, None)
        endpoint.serve_by((*kept, tunnel))
        self._weigh(endpoint)
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        for each in older:
            self.remove(each)
            if each.agent != tunnel.agent:
                each.end(tunnel.peer, at)
        return tunnel

    def release(self, host: str, claim: int, *, on_purpose: bool) -> bool:
        """End a claim. Return False when another claim serves the name, which then stays as it is.

        Args:
            on_purpose: The agent gave the name up, so it is free at once (404). Otherwise its link was lost, and the
                name is kept for `LOST_SECONDS`.
        """
        endpoint = self._endpoints.get(host)
        tunnel = (
            next((each for each in endpoint.tunnels if each.claim == claim), None) if endpoint is not None else None
        )
        if endpoint is None or tunnel is None:
            return False
        self.remove(tunnel)
        endpoint.serve_by([each for each in endpoint.tunnels if each is not tunnel])
        self._weigh(endpoint)
        if endpoint.tunnels:
            return False
        if on_purpose:
            self._remove_endpoint(host)
            endpoint.wake()
        else:
            self._lose(host)
        return True

    def take_away(self, host: str, message: str = "", hint: str = "") -> None:
        """Stop serving a name that now belongs to another owner, and tell its agents why."""
        endpoint = self._remove_endpoint(host)
        self._lost.pop(host, None)
        for tunnel in endpoint.tunnels if endpoint is not None else ():
            self.remove(tunnel)
            tunnel.lose(message or f"{host} belongs to another owner now", hint)

    # Names of edges

    def keep_for_edge(self, host: str, owner: str, generation: int, edge: str) -> Endpoint:
        """Create the endpoint of an edge, which exists even without tunnels. Agents that served the name lose it."""
        known = self._endpoints.get(host)
        if known is not None and known.edge == edge and known.owner == owner:
            known.generation = generation
            return known
        if known is not None and known.edge:
            self.drop_edge(host, known.edge)
        elif known is not None:
            self.take_away(host, f"{host} is the name of an edge now", f"serve it with --edge {host.partition('.')[0]}")
        return self._add_endpoint(host, owner, generation, edge)

    def drop_edge(self, host: str, edge: str) -> None:
        """Remove an edge's endpoint: its host becomes unknown, and its open connections end."""
        endpoint = self._endpoints.get(host)
        if endpoint is not None and endpoint.edge == edge:
            endpoint.is_dropped = True
            self._remove_endpoint(host)
            endpoint.serve_by(())
            endpoint.wake()

    def serve_edge(self, endpoint: Endpoint, tunnels: tuple[Tunnel, ...]) -> None:
        """Set the tunnels that serve an edge's endpoint."""
        if endpoint.tunnels and not tunnels:
            endpoint.vacant_since = self._monotonic()
        endpoint.serve_by(tunnels)

    def patience(self, endpoint: Endpoint, hold_seconds: float) -> float:
        """Return the seconds that a request may wait for a tunnel of an endpoint without one; 0 for no wait.

        The endpoint of an edge exists even without tunnels. Its visitors wait only if it had one until recently, or if
        the relay has just started and agents are reconnecting.
        """
        if not endpoint.edge or endpoint.is_served:
            return hold_seconds
        since = max(self._began, endpoint.vacant_since if endpoint.vacant_since is not None else self._began)
        return max(0.0, since + hold_seconds - self._monotonic())

    # Upkeep

    def forget_stale(self) -> None:
        """Drop names whose link has been lost for more than `LOST_SECONDS`."""
        limit = self._monotonic() - LOST_SECONDS
        for host in [host for host, since in self._lost.items() if since <= limit]:
            self._drop(host)

    def _lose(self, host: str) -> None:
        while len(self._lost) >= MAX_LOST:
            self._drop(next(iter(self._lost)))
        self._lost[host] = self._monotonic()

    def _drop(self, host: str) -> None:
        del self._lost[host]
        self._remove_endpoint(host)

    def _add_endpoint(self, host: str, owner: str, generation: int, edge: str = "") -> Endpoint:
        endpoint_id = new_id("endpoint", self._clock())
        endpoint = self._endpoints[host] = Endpoint(
            host, owner, generation, endpoint_id=endpoint_id, edge=edge, owners_held=self._requests_held
        )
        self._held[owner] = self._held.get(owner, 0) + 1
        if tcp_port(host) is not None:
            self._ports[owner] = self._ports.get(owner, 0) + 1
        return endpoint

    def _weigh(self, endpoint: Endpoint) -> None:
        """Add the settings of this endpoint's tunnels to the owner's total. A lost endpoint counts as one tunnel."""
        size = endpoint.policy.size if endpoint.policy is not None else 0
        weight = size * max(1, len(endpoint.tunnels))
        self._rules[endpoint.owner] += weight - endpoint.weight
        endpoint.weight = weight

    def _remove_endpoint(self, host: str) -> Endpoint | None:
        endpoint = self._endpoints.pop(host, None)
        if endpoint is not None:
            give_back(self._rules, endpoint.owner, endpoint.weight)
            give_back(self._held, endpoint.owner)
            if tcp_port(host) is not None:
                give_back(self._ports, endpoint.owner)
        return endpoint


def _others(endpoint: Endpoint, tunnel: Tunnel) -> list[Tunnel]:
    """Return the endpoint's tunnels except this one, and except its former version over another link."""
    return [each for each in endpoint.tunnels if (each.agent, each.number) != (tunnel.agent, tunnel.number)]


def _in_the_way(endpoint: Endpoint, others: Collection[Tunnel], tunnel: Tunnel, policy: Policy) -> Taken | None:
    """Return why a tunnel cannot have this name; None when it can."""
    host = endpoint.host
    if endpoint.owner != tunnel.owner:
        return Taken(host)
    if endpoint.edge:
        return Taken(host, "edge")
    # A draining agent gives the name up soon, so it does not block other agents.
    running = [each for each in others if not each.is_draining]
    # Otherwise the rules of the agent's last tunnel would silently replace those of its first.
    if any(each.link is tunnel.link and not (each.pooling and tunnel.pooling) for each in running):
        return Taken(host, "same")
    strangers = [each for each in running if each.agent != tunnel.agent]
    if tunnel.pooling and any(not each.pooling for each in strangers):
        return Taken(host, "alone")
    if not tunnel.pooling and any(each.pooling for each in strangers):
        return Taken(host, "pool")
    # Tunnels that share a host must have equal rules, or the least strict ones would apply.
    if tunnel.pooling and others and policy != endpoint.policy:
        return Taken(host, "rules")
    if tunnel.pooling and len(others) >= MAX_SHARED:
        return Taken(host, "full")
    return None
