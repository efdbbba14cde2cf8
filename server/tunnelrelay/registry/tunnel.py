"""A live tunnel: one agent's offer to serve, over one link. It serves one name, or all edges its labels match."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tunnelctl.link.link import StreamOwner
from tunnelctl.wire.errors import Code
from tunnelctl.wire.stream import Stream
from tunnelrelay.policy.rules import Policy

Pairs = tuple[tuple[str, str], ...]
MAX_WEIGHT = 100
"""The range of weights, 1 to this: ngrok's, and far more than anybody's machines differ."""


class TunnelLink(Protocol):
    """A link, as the ingress uses it; `tunnelctl.link.link.Link` implements it."""

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
        """Abort the stream."""

    def consumed(self, stream: Stream, size: int) -> None:
        """Give credit back for bytes that were passed on."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the tunnel's upstream takes connections, as far as is known.

    Attributes:
        reason: Why it does not: `upstream_unreachable` or `no_answer`; "" when it does.
        since: Unix time of the last change; 0 when it never changed.
    """

    is_good: bool
    reason: str = ""
    since: float = 0.0


HEALTHY = Health(True)
"""Believed of every tunnel until a request or a probe says otherwise."""


@dataclass(slots=True, eq=False, kw_only=True)
class Tunnel:
    """One agent's offer to serve, over one link.

    Attributes:
        id: In the relay's API; another one for every claim.
        link, number: Where it is reached: the tunnel's number within the link.
        owner: The agent's owner.
        agent: Instance id of the agent. Never shown, as it can take names over.
        name: The agent's own name for it.
        peer: Where the agent connects from.
        end: Tells the agent that another took its place: (where from, when as RFC 3339).
        lose: Tells the agent that it may not serve the name any more: (message, hint).
        moved: Tells the agent which hosts it serves now; only for what joined edges.
        recompile: Its rules as they are now; only where they name a provider, which may change. Raises `PolicyInvalid`.
        mark: Its value in the cookie that keeps a visitor with it: a keyed digest, the same when the agent comes back.
        labels: The labels of a tunnel that joins edges. Empty for a tunnel that asked for a name of its own.
        pooling: It shares its name with other tunnels that have `pooling` too.
        weight: Its share of the requests, relative to the others' weights.
        metadata, upstream: The owner's own words, and the local service, for people.
        session: Id of the agent session it belongs to.
        credential: Id of the token that session came with; "" without one.
        started_at: Unix time.
        claim: Number of the claim that made it; the registry gives it.
        hosts: What it serves now; the registry keeps it.
        requests, errors: Exchanges it was given, and those that failed on its side.
        open: Exchanges it has now.
        credit: State of the round robin; see `balance`.
        health: See `Health`.
        proof: Digest that identifies its agent without the instance id (`tunnelctl.agent.ready.proof`).
        is_draining: It gets no new requests; those it has go on.
        label: `owner/name`, for the access log.
    """

    id: str
    link: TunnelLink
    number: int
    owner: str
    agent: str
    name: str
    peer: str
    end: Callable[[str, str], None]
    lose: Callable[[str, str], None]
    moved: Callable[[tuple[str, ...]], None] = lambda hosts: None
    recompile: Callable[[], Policy] | None = None
    mark: bytes = b""
    labels: Pairs = ()
    pooling: bool = False
    weight: int = 1
    metadata: str = ""
    upstream: str = ""
    session: str = ""
    credential: str = ""
    started_at: float = 0.0
    claim: int = 0
    hosts: tuple[str, ...] = ()
    requests: int = 0
    errors: int = 0
    open: int = 0
    credit: int = 0
    health: Health = HEALTHY
    is_draining: bool = False
    proof: bytes = field(init=False)
    label: str = field(init=False)

    def __post_init__(self) -> None:
        self.proof = hashlib.sha256(b"tunnel ready " + self.agent.encode()).hexdigest().encode()
        self.label = f"{self.owner}/{self.name}"
