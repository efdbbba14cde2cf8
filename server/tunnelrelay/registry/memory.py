"""The live names of a single relay, in memory.

A name belongs to an owner, not to a connection: the same agent takes its name back silently, another agent of the same
owner takes it over and the older one is told, another owner is refused. Every claim has a number, and cleaning up
after a link removes only what that very claim made. Who owns a name that is not here, and in which generation, only the
store knows: whoever claims such a name has asked it before.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from tunnelrelay.policy.rules import Connection, Policy
from tunnelrelay.registry.endpoint import Carrier, Endpoint, Tunnel

LOST_SECONDS = 600.0
"""How long a name whose link was lost stays with its owner and answers 503 instead of 404."""
MAX_LOST = 10_000


@dataclass(frozen=True, slots=True)
class Taken:
    """The name belongs to another owner."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A wish to serve a name.

    Attributes:
        generation: Of the name, as the store has it. See `Endpoint`.
    """

    owner: str
    host: str
    agent: str
    name: str
    peer: str
    link: Carrier
    number: int
    policy: Policy
    end: Callable[[str, str], None]
    lose: Callable[[], None]
    generation: int = 1


class Registry:
    """See the module.

    Args:
        clock: Unix time, for what people read.
        monotonic: Seconds, for how long a name has been lost.
    """

    def __init__(self, *, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._endpoints: dict[str, Endpoint] = {}
        self._held: dict[str, int] = {}
        self._lost: dict[str, float] = {}
        self._claims = 0

    def find(self, host: str) -> Endpoint | None:
        """The endpoint at a canonical host; None when nobody serves it or did a moment ago."""
        return self._endpoints.get(host)

    def held_by(self, owner: str) -> int:
        """How many names an owner has, those whose link was lost a moment ago too."""
        return self._held.get(owner, 0)

    def connection_of(self, host: str) -> Connection | None:
        """The OpenID connection that guards a host now."""
        endpoint = self._endpoints.get(host)
        return endpoint.policy.connection if endpoint is not None and endpoint.policy is not None else None

    def connections(self) -> Iterator[Connection]:
        """The OpenID connection of every endpoint that has one, those included whose agent is away for a moment."""
        for endpoint in self._endpoints.values():
            if endpoint.policy is not None and endpoint.policy.connection is not None:
                yield endpoint.policy.connection

    def owner_of(self, host: str) -> str:
        """Whose a host is now, "" when nobody's."""
        endpoint = self._endpoints.get(host)
        return endpoint.owner if endpoint is not None else ""

    def generation_of(self, host: str) -> int:
        """How often a host has changed hands, and one; 0 when nobody serves it."""
        endpoint = self._endpoints.get(host)
        return endpoint.generation if endpoint is not None else 0

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._endpoints.values())

    @property
    def served_count(self) -> int:
        """Endpoints that somebody serves."""
        return len(self._endpoints) - len(self._lost)

    @property
    def held_count(self) -> int:
        """Requests waiting for an agent."""
        return sum(endpoint.held_count for endpoint in self._endpoints.values())

    def expect(self, host: str, owner: str, generation: int = 1) -> None:
        """A name that was served before the relay restarted: its agent is on its way back."""
        if host not in self._endpoints:
            self._add(host, owner, generation)
            self._lose(host)

    def claim(self, claim: Claim) -> Tunnel | Taken:
        """Serve a name from now on."""
        endpoint = self._endpoints.get(claim.host)
        if endpoint is not None and endpoint.owner != claim.owner:
            return Taken(claim.host)
        if endpoint is None:
            endpoint = self._add(claim.host, claim.owner, claim.generation)
        self._claims += 1
        tunnel = Tunnel(
            link=claim.link,
            number=claim.number,
            agent=claim.agent,
            name=claim.name,
            peer=claim.peer,
            claim=self._claims,
            end=claim.end,
            lose=claim.lose,
        )
        older, endpoint.tunnels = endpoint.tunnels, [tunnel]
        endpoint.policy = claim.policy
        endpoint.label = f"{claim.owner}/{claim.name}"
        self._lost.pop(claim.host, None)
        endpoint.wake()
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        for each in older:
            if each.agent != claim.agent:
                each.end(claim.peer, at)
        return tunnel

    def release(self, host: str, claim: int, *, on_purpose: bool) -> bool:
        """A claim is over. False when a newer one has taken its place: then nothing is changed.

        Args:
            on_purpose: The agent said so: the name is free (404). Else its link was lost, and it is kept for a while.
        """
        endpoint = self._endpoints.get(host)
        if endpoint is None or all(tunnel.claim != claim for tunnel in endpoint.tunnels):
            return False
        endpoint.tunnels = [tunnel for tunnel in endpoint.tunnels if tunnel.claim != claim]
        if endpoint.tunnels:
            return False
        if on_purpose:
            self._remove(host)
        else:
            self._lose(host)
        return True

    def take_away(self, host: str) -> None:
        """The store says that a name served here belongs to another owner: nobody serves it here any more."""
        endpoint = self._remove(host)
        self._lost.pop(host, None)
        for tunnel in endpoint.tunnels if endpoint is not None else ():
            tunnel.lose()

    def forget_stale(self) -> None:
        """Drop names that have been lost for too long."""
        limit = self._monotonic() - LOST_SECONDS
        for host in [host for host, since in self._lost.items() if since <= limit]:
            self._drop(host)

    def _lose(self, host: str) -> None:
        while len(self._lost) >= MAX_LOST:
            self._drop(next(iter(self._lost)))
        self._lost[host] = self._monotonic()

    def _drop(self, host: str) -> None:
        del self._lost[host]
        self._remove(host)

    def _add(self, host: str, owner: str, generation: int) -> Endpoint:
        endpoint = self._endpoints[host] = Endpoint(host, owner, generation)
        self._held[owner] = self._held.get(owner, 0) + 1
        return endpoint

    def _remove(self, host: str) -> Endpoint | None:
        endpoint = self._endpoints.pop(host, None)
        if endpoint is not None:
            self._held[endpoint.owner] -= 1
            if not self._held[endpoint.owner]:
                del self._held[endpoint.owner]
        return endpoint
