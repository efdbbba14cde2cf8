"""The settings of an agent and its tunnels, as values. The command line and `configfile` create them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunnelctl.agent.address import RelayAddress, UpstreamAddress
from tunnelctl.agent.job_identity import JobIdentity
from tunnelctl.agent.proxy_header import ProxyVersion
from tunnelctl.link.proxy import Proxy
from tunnelctl.policy.describe import describe
from tunnelctl.policy.fields import FLAGS
from tunnelctl.wire.messages import PolicySpec

COMMAND_LINE = "command_line"
"""Name of a tunnel that was given no name; ngrok uses the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelConfig:
    """The settings of a tunnel to offer.

    Attributes:
        name: The agent's own name for the tunnel.
        upstream: Address of the local service.
        subdomain: Label under the relay's domain.
        host: A full host name instead of `subdomain`; with neither, the relay chooses. For a TCP tunnel `tcp://`, or
            `tcp://[HOST]:PORT`.
        scheme, port: Requested scheme and port of the public address; "" and None for any.
        policy: The access rules that the relay enforces on the endpoint.
        labels: (name, value) pairs: serve the edges that require them, whose rules are configured at the relay, instead
            of claiming an address.
        edge: Id, host or name of a single edge to serve instead.
        pooling: Share the address with other agents of the same owner that serve it too.
        weight: Share of a pooled address's requests, relative to the other agents' weights; 1 to 100.
        description: Free text of the owner, shown by the inspector and the local API. It does not reach the relay.
        metadata: Free text of the owner, returned by the relay's API.
        verify_upstream: Whether an https service must have a certificate that this machine trusts. None: only if the
            service is on another machine, as self-signed certificates are common on this one and no third machine is in
            between.
        proxy_protocol: Version of the PROXY header at the start of connections to the local service; 0 for none.
        inspect: Capture the tunnel's exchanges, for the inspector and for replays, and ask the relay who sent each.
            Those of a TCP tunnel are never captured.
        run_token_sha256: SHA-256, in hex, of the token of this run (`Bind.run_token_sha256`); "" for none.
        names: Names of the policy's settings as the user knows them: flags, or keys of the configuration file.
    """

    upstream: UpstreamAddress
    name: str = COMMAND_LINE
    subdomain: str | None = None
    host: str | None = None
    scheme: str = ""
    port: int | None = None
    policy: PolicySpec = field(default_factory=PolicySpec)
    labels: tuple[tuple[str, str], ...] = ()
    edge: str = ""
    pooling: bool = False
    weight: int = 1
    description: str = ""
    metadata: str = ""
    verify_upstream: bool | None = None
    proxy_protocol: ProxyVersion = 0
    inspect: bool = True
    run_token_sha256: str = ""
    names: Mapping[str, str] = field(default_factory=lambda: FLAGS, repr=False)

    @property
    def is_joined(self) -> bool:
        """Whether the tunnel serves edges instead of an address of its own."""
        return bool(self.labels or self.edge)

    @property
    def is_tcp(self) -> bool:
        """Whether the tunnel serves a TCP port of the relay instead of a web address."""
        return self.upstream.scheme == "tcp"

    @property
    def who_may_visit(self) -> str:
        """The visitors who may use the tunnel, as one sentence without a full stop."""
        if self.edge:
            return f"whom the rules of the edge {self.edge} let in; they are kept at the relay"
        if self.labels:
            return "whom each edge's rules let in; they are kept at the relay"
        return describe(self.policy)

    def why_no_address(self, owner: str) -> str:
        """Return why the tunnel has no address, and so no visitors, as one sentence without a full stop.

        Args:
            owner: Owner of the agent, which can only serve edges of this owner.
        """
        if self.edge:
            return f"the edge {self.edge} has no address yet; visitors come as soon as it has one"
        labels = ", ".join(f"{name}={value}" for name, value in self.labels)
        return f"no edge of owner {owner} asks for the labels {labels} yet; visitors come as soon as one does"

    @property
    def is_shared(self) -> bool:
        """Whether other tunnels may serve the same address."""
        return self.is_joined or self.pooling


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """The settings of an agent.

    Attributes:
        relay: Address of the relay.
        relay_from: Flag, variable or key that gave the address; "" for the default address.
        tunnels: Tunnels to offer from the start, each with a name of its own. When all have ended by themselves, the
            agent ends too; without any it keeps running.
        token: The authtoken; "" for a relay on this machine that requires none, or with `job`.
        job: The CI job whose ID tokens are sent instead of an authtoken; None for none.
        proxy: Proxy to the relay; None for a direct connection.
        relay_ca: PEM file of certificate authorities to trust for the relay, instead of the system's.
        dial_seconds: Maximum seconds for connecting and the handshake. Short, as a SYN that was lost while a relay
            restarted must not delay the next try.
        greeting_seconds: Maximum seconds from the handshake until the relay has accepted every tunnel, and for each
            tunnel that is added later.
        drain_seconds: Maximum seconds for exchanges in progress to finish, after the agent is asked to stop or their
            tunnel has ended.
        retire_seconds: Maximum seconds for exchanges in progress to finish on a link whose relay drains.
    """

    relay: RelayAddress
    relay_from: str = ""
    tunnels: tuple[TunnelConfig, ...]
    token: str = field(default="", repr=False)
    job: JobIdentity | None = None
    relay_ca: str | None = None
    proxy: Proxy | None = None
    dial_seconds: float = 5.0
    greeting_seconds: float = 10.0
    drain_seconds: float = 10.0
    retire_seconds: float = 300.0
