"""A live endpoint: a public host, the policy that guards it, and the tunnels that serve it at this moment."""

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
"""Requests of one endpoint that may wait for its agent. Each holds a visitor's connection and what was read of it."""
MAX_OWNERS_HELD = 1_024
"""Those of all endpoints of one owner, who may have a thousand names."""
MAX_SHARED = 256
"""Tunnels that serve one endpoint: each request looks at all of them, some 60 microseconds for so many."""


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
        owners_held: Requests that wait for agents, by owner; shared by all endpoints.

    Attributes:
        host: Canonical, with the domain.
        owner: Whose it is.
        generation: 1 plus the number of times the name has changed owner; sessions and logins of older ones are void.
        id: In the relay's API.
        edge: Id of the edge it belongs to; "" for a name that its agent asked for.
        policy: None only for a name from before a restart, whose agent has not come back yet.
        weight: Bytes of the settings that its tunnels brought, as `Registry` counts them for the owner.
        open_by: Open requests of each visitor's address; see `ingress.quotas`.
        tunnels: The tunnels that serve it. Empty while its last link is lost. Changed by `serve_by` only.
        only: Its one tunnel when there is no choice; None with several, none, or with sticky cookies. The hot path
            reads only
            this.
        is_sticky: A visitor stays with the tunnel that served it first.
        label: `owner/name`, for the access log.
        vacant_since: When its last tunnel left, by the registry's monotonic clock; None when it never had one.
        is_dropped: Its edge was removed; running exchanges end too.
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
        """Requests waiting for an agent."""
        return len(self._held)

    @property
    def is_served(self) -> bool:
        """Whether any tunnel is there that takes new requests, if perhaps not at this moment."""
        return any(not tunnel.is_draining for tunnel in self.tunnels)

    @property
    def is_pool(self) -> bool:
        """Whether several agents of one owner share this name, as all of them asked for it."""
        return bool(self.tunnels) and all(tunnel.pooling for tunnel in self.tunnels)

    def serve_by(self, tunnels: Collection[Tunnel]) -> None:
        """Set the tunnels that serve the endpoint. Call it also when one of them begins to drain."""
        self.tunnels = tuple(tunnels)
        running = list(islice((tunnel for tunnel in self.tunnels if not tunnel.is_draining), 2))
        self.only = running[0] if len(running) == 1 and not self.is_sticky else None
        if self._held and self.can_take():
            self.wake()

    def can_take(self, tried: Collection[Tunnel] = ()) -> bool:
        """Whether some tunnel but these takes one more request now."""
        return any(tunnel.link.can_open for tunnel in balance.in_service(self.tunnels, tried))

    def pick(self, mark: bytes = b"", tried: Collection[Tunnel] = ()) -> Tunnel | None:
        """The tunnel for one more request; None when none takes any now.

        Args:
            mark: The tunnel's mark in the visitor's cookie; b"" without one.
            tried: Tunnels that have failed this request already.
        """
        stuck = balance.stuck_to(self.tunnels, mark, tried) if mark and self.is_sticky else None
        return stuck or balance.choose(self.tunnels, tried)

    def named(self, proof: bytes) -> Tunnel | None:
        """The tunnel of the agent with this proof, for that agent's own probe."""
        return next((tunnel for tunnel in self.tunnels if tunnel.proof == proof and tunnel.link.can_open), None)

    async def hold(self, seconds: float, tried: Collection[Tunnel] = ()) -> bool:
        """Wait until a tunnel other than these serves it. False when none came in time, or too many wait already."""
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
        """Wake one request that found every link full, as an exchange has ended."""
        if self._held and self.can_take():
            future = next((future for future in self._held if not future.done()), None)
            if future is not None:
                future.set_result(None)

    def wake(self) -> None:
        """Wake all held requests, as a tunnel serves the endpoint again."""
        for future in self._held:
            if not future.done():
                future.set_result(None)
