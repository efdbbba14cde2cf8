"""A live endpoint: a public host, the policy that guards it, and the tunnels that serve it at this moment."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tunnelctl.link.link import StreamOwner
from tunnelctl.wire.errors import Code
from tunnelctl.wire.stream import Stream
from tunnelrelay.policy.rules import Policy

MAX_HELD = 256
"""Requests of one endpoint that may wait for its agent. Each holds a visitor's connection and what was read of it."""


class Carrier(Protocol):
    """What the ingress needs of a link (`tunnelctl.link.link.Link` is one)."""

    @property
    def can_open(self) -> bool:
        """Whether `open` will be taken."""

    @property
    def stream_count(self) -> int:
        """Streams open now."""

    def open(self, payload: bytes, *, owner: StreamOwner, fin: bool) -> Stream:
        """Open a stream."""

    def send_data(self, stream: Stream, data: bytes | memoryview, fin: bool = False) -> None:
        """Queue bytes."""

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """End our half."""

    def reset(self, stream: Stream, code: Code, reason: str = "") -> None:
        """Abort."""

    def consumed(self, stream: Stream, size: int) -> None:
        """Give credit back."""


@dataclass(slots=True, eq=False, kw_only=True)
class Tunnel:
    """One agent's offer to serve an endpoint, over one link.

    Attributes:
        number: The tunnel's number within its link.
        agent: Instance id of the agent.
        name: The agent's own name for it.
        peer: Where the agent connects from.
        claim: Number of the claim that made it.
        end: Tells the agent that another took its place: (where from, when as RFC 3339).
        lose: Tells the agent that the name belongs to another owner now.
    """

    link: Carrier
    number: int
    agent: str
    name: str
    peer: str
    claim: int
    end: Callable[[str, str], None]
    lose: Callable[[], None]


class Endpoint:
    """A name that is served, or was a moment ago.

    Attributes:
        host: Canonical, with the domain.
        owner: Whose it is.
        generation: How often the name has changed hands, and one; what was made for an older one is void.
        policy: None only for a name known from before a restart, whose agent has not come back yet.
        open_by: Open requests of each visitor's address; see `ingress.shares`.
        tunnels: Who serves it. Empty while its last link is lost.
        label: `owner/name`, for the access log.
    """

    __slots__ = ("_held", "generation", "host", "label", "open_by", "owner", "policy", "tunnels")

    def __init__(self, host: str, owner: str, generation: int) -> None:
        self.host = host
        self.owner = owner
        self.generation = generation
        self.policy: Policy | None = None
        self.tunnels: list[Tunnel] = []
        self.label = owner
        self.open_by: dict[str, int] = {}
        self._held: set[asyncio.Future[None]] = set()

    @property
    def held_count(self) -> int:
        """Requests waiting for an agent."""
        return len(self._held)

    def pick(self) -> Tunnel | None:
        """The tunnel with the fewest open streams that takes one more."""
        tunnels = self.tunnels
        if len(tunnels) == 1:
            return tunnels[0] if tunnels[0].link.can_open else None
        ready = [tunnel for tunnel in tunnels if tunnel.link.can_open]
        return min(ready, key=lambda tunnel: tunnel.link.stream_count, default=None)

    async def hold(self, seconds: float) -> bool:
        """Wait until somebody serves it. False when nobody came in time, or too many wait already."""
        if self.pick() is not None:
            return True
        if len(self._held) >= MAX_HELD:
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.add(future)
        try:
            async with asyncio.timeout(seconds):
                await future
            return True
        except TimeoutError:
            return self.pick() is not None
        finally:
            self._held.discard(future)

    def room_was_made(self) -> None:
        """An exchange has ended: one of those that found every link full goes on."""
        if self._held and self.pick() is not None:
            future = next((future for future in self._held if not future.done()), None)
            if future is not None:
                future.set_result(None)

    def wake(self) -> None:
        """Somebody serves it again: what was held goes on."""
        for future in self._held:
            if not future.done():
                future.set_result(None)
