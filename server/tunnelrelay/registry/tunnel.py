"""A live tunnel: what one agent offers to serve over one link.

It serves one name, or all edges that its labels match.
"""

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
"""Maximum weight of a tunnel: ngrok's value, and more than the machines of one owner differ in capacity."""


class TunnelLink(Protocol):
    """The methods of a link that the ingress uses; `tunnelctl.link.link.Link` has them."""

    @property
    def can_open(self) -> bool:
        """Whether `open` would succeed."""

    @property
    def stream_count(self) -> int:
        """Number of open streams."""

    def open(self, payload: bytes, *, owner: StreamOwner, fin: bool) -> Stream:
        """Open a stream whose events go to `owner`."""

    def send_about(self, stream: Stream, payload: bytes) -> None:
        """Send the agent a description of the visitor whose stream was just opened."""

    def send_data(self, stream: Stream, data: bytes | memoryview, fin: bool = False) -> None:
        """Queue body bytes on the stream."""

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """End our half of the stream."""

    def reset(self, stream: Stream, code: Code, reason: str = "") -> None:
        """Abort the stream."""

    def consumed(self, stream: Stream, size: int) -> None:
        """Return credit to the peer for bytes that were passed on."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the tunnel's upstream accepts connections, as far as is known.

    Attributes:
        reason: Why it does not: `upstream_unreachable` or `no_answer`; "" when it does.
        since: Unix time of the last change; 0 when it never changed.
    """

    is_good: bool
    reason: str = ""
    since: float = 0.0


HEALTHY = Health(True)
"""The health of a new tunnel, until a request or a probe shows otherwise."""


@dataclass(slots=True, eq=False, kw_only=True)
class Tunnel:
    """A connected tunnel: what one agent offers to serve over one link.

    Attributes:
        id: Id in the relay's API; each claim gets a new one.
        link, number: The link it is reached over, and its number within the link.
        owner: Owner of the agent.
        agent: Instance id of the agent. Never shown, as it allows to take names over.
        name: The agent's own name for the tunnel.
        peer: Address that the agent connects from.
        end: Tells the agent that another agent took its place; arguments are that agent's address and the time as RFC
            3339.
        lose: Tells the agent that it may no longer serve the name; arguments are message and hint.
        moved: Tells the agent which hosts the tunnel serves now; only for tunnels that serve edges.
        recompile: Compiles its rules again, if they use a named provider, whose settings may have changed. Raises
            `PolicyInvalid`.
        mark: Value of the sticky cookie for this tunnel: a keyed digest that stays the same when the agent comes back.
        labels: Labels of a tunnel that serves edges; empty for a tunnel that asked for a name.
        pooling: The tunnel shares its name with other tunnels that have `pooling` too.
        weight: Its share of the requests, relative to the other tunnels' weights.
        inspect: The agent is told about the visitor of each request.
        metadata, upstream: Text of the owner, and the URL of the local service, for display.
        session: Id of the agent session that it belongs to.
        credential: Id of the token or trust rule of that session; "" without one.
        job: The CI job that the agent runs in, for the access log; "" when it sent an authtoken.
        started_at: Unix time at which the tunnel started.
        claim: Number of the claim that created it, given by the registry.
        hosts: Hosts that it serves now, set by the registry.
        requests, errors: Number of exchanges it was given, and of those that failed on its side.
        open: Number of exchanges in progress.
        credit: State of the weighted round robin; see `balance`.
        health: Whether its upstream accepts connections.
        proof: Digest that identifies its agent without revealing the instance id (`tunnelctl.agent.ready.proof`).
        is_draining: It gets no new requests; running ones continue.
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
    inspect: bool = False
    metadata: str = ""
    upstream: str = ""
    session: str = ""
    credential: str = ""
    job: str = ""
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
