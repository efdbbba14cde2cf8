"""Finds the API's address and key for `tunnel api`: from flags, else variables, else the configuration file, else the
relay's public information.
"""

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from tunnelctl.agent.address import DEFAULT_RELAY, AddressInvalid, parse_relay
from tunnelctl.agent.configfile import ConfigFiles, FileConfig
from tunnelctl.agent.yamlfile import FileInvalid
from tunnelctl.cli.command import Decorator
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.flag_values import typed_parameters
from tunnelctl.cli.flags import CONFIG, NO_LOG, RELAY, option
from tunnelctl.cli.settings import ON_THE_COMMAND_LINE
from tunnelctl.secret_source import SecretMissing, read_secret

if TYPE_CHECKING:
    from tunnelctl.cli.api_client import Api
    from tunnelctl.link.proxy import Proxy

ACCESS: tuple[Decorator, ...] = (
    option(
        "--api-key", "Key for the relay's API: env:NAME, file:PATH, -, or the key.", "KEY", is_secret=True, env=True
    ),
    option("--api-url", "Address of the API [default: as the relay says].", "URL", env=True),
    *RELAY,
    CONFIG,
    *NO_LOG,
)
"""The flags that every command of `tunnel api` accepts, also before the group's name."""
_NAMES = ("api_key", "api_url", "relay", "relay_ca", "proxy_url", "config")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAccess:
    """The values of the flags in `ACCESS`; "" and None for missing ones.

    Attributes:
        api_key: The API key, in one of the forms of a secret (`env:`, `file:`).
        is_typed: The key was given on the command line.
    """

    api_key: str = field(default="", repr=False)
    api_url: str = ""
    relay: str = ""
    relay_ca: str = ""
    proxy_url: str = field(default="", repr=False)
    config: ConfigFiles = field(default_factory=ConfigFiles)
    is_typed: bool = False


def keep_access(ctx: click.Context, given: dict[str, Any]) -> None:
    """Store the options that were given before the group's name."""
    ctx.meta[__name__] = (given, typed_parameters(ctx))


def access_of(ctx: click.Context, given: dict[str, Any]) -> ApiAccess:
    """Return the options given after the command's name, else those before it, else from the environment."""
    before, typed_before = ctx.meta.get(__name__, ({}, frozenset()))
    typed = typed_parameters(ctx)
    chosen = {name: given[name] if name in typed else before.get(name) or given[name] for name in _NAMES}
    return ApiAccess(**chosen, is_typed="api_key" in typed | typed_before)


def open_api(access: ApiAccess) -> "Api":
    """Return a client for the API, with the given or found address and key.

    Raises:
        Failure: There is no key, an address is invalid, or the relay has no API.
    """
    from tunnelctl.cli.api_client import Api, ApiAddressInvalid, ApiAway, base_of, find_base

    file = _file(access.config)
    key = _key(access.api_key or file.api_key, is_typed=access.is_typed)
    ca_file = os.path.expanduser(access.relay_ca or file.connect_cas) or None
    if ca_file is not None and not os.access(ca_file, os.R_OK):
        raise Failure(Exit.USAGE, [f"--relay-ca: cannot read {ca_file}"], "name a PEM file that this user can read")
    url = access.api_url or file.api_url
    try:
        if url:
            base = base_of(url)
        else:
            relay = parse_relay(access.relay or file.connect_url or DEFAULT_RELAY)
            base = find_base(relay, ca_file, _proxy(access, file, relay.url))
    except ApiAddressInvalid as error:
        raise Failure(Exit.USAGE, [f"--api-url: {error}"], "give it as https://api.tun.example") from None
    except AddressInvalid as error:
        raise Failure(Exit.USAGE, [f"--relay: {error}"], "give it as https://tun.example") from None
    except ApiAway as error:
        raise Failure(Exit.NO_RELAY, [str(error)], "name the relay with --relay, or its API with --api-url") from None
    return Api(base, key, ca_file=ca_file, proxy=_proxy(access, file, base))


def _proxy(access: ApiAccess, file: FileConfig, url: str) -> "Proxy | None":
    from tunnelctl.link.proxy import ProxyInvalid, choose_proxy

    given, where = access.proxy_url or file.proxy_url, "--proxy-url" if access.proxy_url else "proxy_url"
    try:
        text = read_secret(given, what=where, environ=os.environ, stdin=sys.stdin).value if given else ""
        return choose_proxy(url, os.environ, text, where)
    except (ProxyInvalid, SecretMissing) as error:
        raise Failure(Exit.USAGE, [str(error)], "give it as http://proxy.example:3128, env:NAME or file:PATH") from None


def _file(config: ConfigFiles) -> FileConfig:
    try:
        return config.load()
    except FileInvalid as error:
        raise Failure(Exit.USAGE, error.problems, "put the file right, or name another with --config") from error


def _key(text: str, *, is_typed: bool) -> str:
    if not text:
        hint = "give it with --api-key or TUNNELCTL_API_KEY, or save it with: tunnel config add-api-key KEY"
        raise Failure(Exit.USAGE, ["there is no API key"], hint)
    try:
        secret = read_secret(text, what="--api-key", environ=os.environ, stdin=sys.stdin)
    except SecretMissing as error:
        raise Failure(Exit.USAGE, [str(error)], "give it itself, or as env:NAME, file:PATH or -") from None
    if secret.is_literal and is_typed:
        warn_of_literal("--api-key")
    return secret.value


def warn_of_literal(flag: str) -> None:
    """Warn a person that others can see a secret on the command line. Programs are not warned."""
    from tunnelctl.cli.output_mode import can_draw

    if can_draw(sys.stderr):
        click.echo(f"warning: {ON_THE_COMMAND_LINE.format(flag)}", err=True)
