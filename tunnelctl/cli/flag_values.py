"""The unchecked values of the flags of `tunnel http`, `tunnel tunnel` and `tunnel start`. `settings` checks them."""

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import click

from tunnelctl.agent.configfile import ConfigFiles
from tunnelctl.agent.tunnelfile import FileTunnel
from tunnelctl.policy.parse import PolicyTexts


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFlags:
    """The flags about the relay that every such command has; "" and None where a flag was not given.

    Attributes:
        config: The configuration files.
        proxy_url: May hold a password: form of a secret, see `secret_source`.
        authtoken: Form of a secret too.
        typed: Names of the parameters that stood on the command line itself.
        emptied: Those of them with an empty value, as from `--oidc=$UNSET`: perhaps a lost restriction.
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
    """The flags of `tunnel http`, `tunnel tcp` or `tunnel tunnel`, or the same from a tunnel of the file.

    Attributes:
        is_tcp: It is a tcp tunnel.
        remote_addr: Its port at the relay, with the relay's domain in front or without.
        schemes: Of the public address: `https`, `http` or both; empty for whatever the relay has.
        proxy_protocol: Version of the PROXY header, "" for none.
        inspect: Capture its exchanges.
        policy: With forms of secrets, not the secrets.
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
    metadata: str = ""
    upstream_tls_verify: bool | None = None
    proxy_protocol: str = ""
    inspect: bool = True
    policy: PolicyTexts = field(default_factory=PolicyTexts)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFlags(LinkFlags):
    """The flags of `tunnel start`.

    Attributes:
        names: Tunnels of the file; empty for all of them.
        none: No tunnel at all.
    """

    names: tuple[str, ...] = ()
    none: bool = False


F = TypeVar("F", bound=LinkFlags)

MAY_BE_EMPTY = frozenset({"url", "metadata", "proxy_protocol", "proxy_proto"})
"""Flags whose empty value says nothing wrong."""


def flags_from(kind: type[F], context: click.Context, **own: Any) -> F:
    """The flags of a command: each from the parameter of its name, or as given in `own`."""
    typed = typed_parameters(context)
    taken = {one.name: context.params[one.name] for one in fields(kind) if one.name in context.params}
    emptied = frozenset(name for name in typed - MAY_BE_EMPTY if context.params[name] == "")
    return kind(**taken | own, typed=typed, emptied=emptied)


def flags_of(tunnel: FileTunnel) -> TunnelFlags:
    """The flags with the same meaning as a tunnel of the file."""
    left_out = ("addr", "problems", "where")
    same = {one.name: getattr(tunnel, one.name) for one in fields(tunnel) if one.name not in left_out}
    return TunnelFlags(address=tunnel.addr, **same)


def typed_parameters(context: click.Context) -> frozenset[str]:
    """Names of the parameters that stood on the command line, and not in the environment."""
    return frozenset(
        name for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    )
