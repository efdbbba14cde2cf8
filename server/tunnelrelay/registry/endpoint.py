"""A live endpoint: a public host, the policy that protects it, and the tunnels that serve it now."""

import asyncio
from collections import Counter
from collections.abc import Collection
from itertools import islice

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.policy.limits import give_back
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry import balance
from tunnelrelay.registry.tunnel import Tunnel

MAX_HELD = 256
"""Maximum requests of one endpoint that wait for its agent. Each holds a visitor's connection and the bytes read from
it."""
MAX_OWNERS_HELD = 1_024
"""Maximum waiting requests of all endpoints of one owner, who may have a thousand names."""
MAX_SHARED = 256
"""Maximum tunnels that serve one endpoint: each request looks at all of them, which takes about 60 microseconds."""


BOUNDS = (
    DeclaredBound(
        name="requests that wait for an agent",
        limit=MAX_HELD,
        unit="requests",
        per="endpoint",
        when_full="503 with Retry-After",
        worst_bytes=MAX_HELD * 20_000,
        holds=("Endpoint._held",),
    ),
    DeclaredBound(
        name="requests that wait for agents",
        limit=MAX_OWNERS_HELD,
        unit="requests",
        per="owner",
        when_full="503 with Retry-After",
        worst_bytes=MAX_OWNERS_HELD * 20_000,
        holds=("Endpoint._owners_held",),
    ),
    DeclaredBound(
        name="tunnels that serve it",
        limit=MAX_SHARED,
        unit="tunnels",
        per="endpoint",
        when_full="the bind is refused",
        worst_bytes=MAX_SHARED * 16,
    ),
)


class Endpoint:
    """A host that is served, was served a moment ago, or belongs to an edge.

    Args:
        owners_held: Number of requests that wait for agents, by owner; shared by all endpoints.

    Attributes:
        host: Canonical host name, with the domain.
        owner: Owner of the host.
        generation: 1 plus the number of times the name has changed owner; sessions and logins with lower ones are
            invalid.
        id: Id of the endpoint in the relay's API.
        edge: Id of the edge it belongs to; "" for a name that an agent asked for.
        policy: Compiled access rules. None only for a name from before a restart, whose agent has not come back yet.
        weight: Bytes of the settings sent by its tunnels, which `Registry` limits per owner.
        open_by: Open requests by address of the visitor; see `ingress.quotas`.
        tunnels: The tunnels that serve it; empty while its last link is lost. Changed only by `serve_by`.
        only: The only tunnel, if there is exactly one and no sticky cookies are used; else None. The hot path reads
            only this attribute.
        is_sticky: Later requests of a visitor go to the tunnel that served the first one.
        label: `owner/name`, for the access log.
        vacant_since: Time at which its last tunnel left, by the registry's monotonic clock; None when it never had one.
        is_dropped: Its edge was removed, so that running exchanges must end too.
    """

    __slots__ = (
        "_held",
        "_owners_held",
        "edge",
        "generation",
        "host",
        "id",
        "is_dropped",
        "is_sticky",
        "label",
        "only",
        "open_by",
        "owner",
        "policy",
        "tunnels",
        "vacant_since",
        "weight",
    )

    def __init__(
        self,
        host: str,
        owner: str,
        generation: int,
        *,
        endpoint_id: str = "",
        edge: str = "",
        owners_held: Counter[str] | None = None,
    ) -> None:
        self.host = host
        self.owner = owner
        self.generation = generation
        self.id = endpoint_id
        self.edge = edge
        self.policy: Policy | None = None
        self.tunnels: tuple[Tunnel, ...] = ()
        self.only: Tunnel | None = None
        self.is_sticky = False
        self.label = owner
        self.open_by: dict[str, int] = {}
        self.vacant_since: float | None = None
        self.is_dropped = False
        self.weight = 0
        self._held: set[asyncio.Future[None]] = set()
        self._owners_held = Counter[str]() if owners_held is None else owners_held

    @property
    def held_count(self) -> int:
        """Number of requests that wait for an agent."""
        return len(self._held)

    @property
    def is_served(self) -> bool:
        """Whether a tunnel exists that accepts new requests, even if it has no room at the moment."""
        return any(not tunnel.is_draining for tunnel in self.tunnels)

    @property
    def is_pool(self) -> bool:
        """Whether agents of one owner share this name, because all of them asked for pooling."""
        return bool(self.tunnels) and all(tunnel.pooling for tunnel in self.tunnels)

    def serve_by(self, tunnels: Collection[Tunnel]) -> None:
        """Set the tunnels that serve the endpoint. Must also be called when one of them begins to drain."""
        self.tunnels = tuple(tunnels)
        running = list(islice((tunnel for tunnel in self.tunnels if not tunnel.is_draining), 2))
        self.only = running[0] if len(running) == 1 and not self.is_sticky else None
        if self._held and self.can_take():
            self.wake()

    def can_take(self, tried: Collection[Tunnel] = ()) -> bool:
        """Return whether a tunnel that has not been tried can accept a request now."""
        return any(tunnel.link.can_open for tunnel in balance.in_service(self.tunnels, tried))

    def pick(self, mark: bytes = b"", tried: Collection[Tunnel] = ()) -> Tunnel | None:
        """Return the tunnel for one more request; None when no tunnel can accept it now.

        Args:
            mark: The tunnel's mark in the visitor's cookie; b"" without one.
            tried: Tunnels that have already failed to serve this request.
        """
        stuck = balance.stuck_to(self.tunnels, mark, tried) if mark and self.is_sticky else None
        return stuck or balance.choose(self.tunnels, tried)

    def named(self, proof: bytes) -> Tunnel | None:
        """Return the tunnel of the agent with this proof, for the agent's check that it is reachable."""
        return next((tunnel for tunnel in self.tunnels if tunnel.proof == proof and tunnel.link.can_open), None)

    async def hold(self, seconds: float, tried: Collection[Tunnel] = ()) -> bool:
        """Wait until a tunnel that has not been tried can serve a request.

        Return False after the time, or if too many wait.
        """
        if self.can_take(tried):
            return True
        if seconds <= 0 or len(self._held) >= MAX_HELD or self._owners_held[self.owner] >= MAX_OWNERS_HELD:
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.add(future)
        self._owners_held[self.owner] += 1
        try:
            async with asyncio.timeout(seconds):
                await future
            return True
        except TimeoutError:
            return self.can_take(tried)
        finally:
            self._held.discard(future)
            give_back(self._owners_held, self.owner)

    def room_was_made(self) -> None:
        """Wake one request that waits because every link is full, as an exchange has ended."""
        if self._held and self.can_take():
            future = next((future for future in self._held if not future.done()), None)
            if future is not None:
                future.set_result(None)

    def wake(self) -> None:
        """Wake all held requests, as a tunnel serves the endpoint again."""
        for future in self._held:
            if not future.done():
                future.set_result(None)
