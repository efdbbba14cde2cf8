"""What a command that serves was asked for, as values, before anybody has judged it. What it makes is in `settings`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunnelctl.agent.tunnelfile import FileTunnel
from tunnelctl.policy.parse import PolicyTexts


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFlags:
    """What any command that serves was given about the relay; "" and None for what it was not.

    Attributes:
        proxy_url: May hold a password: form of a secret, see `secret_source`.
        authtoken: Form of a secret too.
        typed: Names of the parameters that stood on the command line itself.
        emptied: Those of them that were given the empty value, as `--oidc=$UNSET` is: a restriction may be meant.
    """

    config_path: Path | None = None
    relay: str = ""
    relay_ca: str = ""
    proxy_url: str = field(default="", repr=False)
    authtoken: str = field(default="", repr=False)
    typed: frozenset[str] = frozenset()
    emptied: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelFlags(LinkFlags):
    """What `tunnel http` or `tunnel tunnel` was given, or the file says of a tunnel.

    Attributes:
        policy: With forms of secrets, not the secrets.
    """

    address: str
    subdomain: str = ""
    domain: str = ""
    url: str = ""
    edge: str = ""
    labels: tuple[str, ...] = ()
    pooling: bool = False
    weight: int | None = None
    name: str = ""
    metadata: str = ""
    upstream_tls_verify: bool | None = None
    policy: PolicyTexts = field(default_factory=PolicyTexts)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFlags(LinkFlags):
    """What `tunnel start` was given.

    Attributes:
        names: Tunnels of the file; empty for all of them.
    """

    names: tuple[str, ...] = ()


def flags_of(tunnel: FileTunnel) -> TunnelFlags:
    """The flags that would say the same as the file."""
    return TunnelFlags(
        address=tunnel.addr,
        subdomain=tunnel.subdomain,
        domain=tunnel.domain,
        url=tunnel.url,
        edge=tunnel.edge,
        labels=tunnel.labels,
        pooling=tunnel.pooling,
        weight=tunnel.weight,
        name=tunnel.name,
        metadata=tunnel.metadata,
        policy=tunnel.policy,
    )


def typed_parameters(context: Any) -> frozenset[str]:
    """Names of the parameters that stood on the command line, and not in the environment."""
    return frozenset(
        name for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    )
