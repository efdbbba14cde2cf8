"""The values of the flags of `tunnel http`, `tunnel tunnel` and `tunnel start`, before `settings` checks them."""

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import click

from tunnelctl.agent.configfile import ConfigFiles
from tunnelctl.agent.tunnelfile import FileTunnel
from tunnelctl.policy.parse import PolicyTexts


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFlags:
    """The flags about the relay that all commands with tunnels have; "" and None for flags that were not given.

    Attributes:
        config: The configuration files.
        proxy_url: Proxy; in one of the forms of a secret (see `secret_source`), as it may contain a password.
        authtoken: The authtoken, in one of the forms of a secret.
        typed: Names of the parameters given on the command line itself.
        emptied: Parameters in `typed` with an empty value, as from `--oidc=$UNSET`, which may be a lost restriction.
    """

    config: ConfigFiles = field(default_factory=ConfigFiles)
    relay: str = ""
    relay_ca: str = ""
    proxy_url: str = field(default="", repr=False)
    authtoken: str = field(default="", repr=False)
    typed: frozenset[str] = frozenset()
    emptied: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelFlags(LinkFlags):
    """The flags of `tunnel http`, `tunnel tcp` or `tunnel tunnel`, or their equivalents from a tunnel in the file.

    Attributes:
        is_tcp: The tunnel is a TCP tunnel.
        remote_addr: The relay's TCP port, with or without the relay's domain in front.
        schemes: Requested schemes of the public address: `https`, `http` or both; empty for the relay's.
        proxy_protocol: Version of the PROXY header; "" for none.
        inspect: Capture the tunnel's exchanges.
        policy: Texts of the rules, with secrets in their forms (`env:`, `file:`).
    """

    address: str
    is_tcp: bool = False
    remote_addr: str = ""
    subdomain: str = ""
    domain: str = ""
    url: str = ""
    schemes: tuple[str, ...] = ()
    edge: str = ""
    labels: tuple[str, ...] = ()
    pooling: bool = False
    weight: int | None = None
    name: str = ""
    description: str = ""
    metadata: str = ""
    upstream_tls_verify: bool | None = None
    proxy_protocol: str = ""
    inspect: bool = True
    policy: PolicyTexts = field(default_factory=PolicyTexts)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFlags(LinkFlags):
    """The flags of `tunnel start`.

    Attributes:
        names: Tunnels of the file to start; empty for all.
        none: Start no tunnel.
    """

    names: tuple[str, ...] = ()
    none: bool = False


F = TypeVar("F", bound=LinkFlags)

MAY_BE_EMPTY = frozenset({"url", "description", "metadata", "proxy_protocol", "proxy_proto"})
"""Flags whose value may be empty without being a mistake."""


def flags_from(kind: type[F], context: click.Context, **own: Any) -> F:
    """Return the flags of a command: each from the parameter with its name, or from `own`."""
    typed = typed_parameters(context)
    taken = {one.name: context.params[one.name] for one in fields(kind) if one.name in context.params}
    emptied = frozenset(name for name in typed - MAY_BE_EMPTY if context.params[name] == "")
    return kind(**taken | own, typed=typed, emptied=emptied)


def flags_of(tunnel: FileTunnel) -> TunnelFlags:
    """Return the flags that are equivalent to a tunnel in the file."""
    left_out = ("addr", "problems", "where")
    same = {one.name: getattr(tunnel, one.name) for one in fields(tunnel) if one.name not in left_out}
    return TunnelFlags(address=tunnel.addr, **same)


def typed_parameters(context: click.Context) -> frozenset[str]:
    """Return the names of the parameters given on the command line, not by the environment."""
    return frozenset(
        name for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    )
