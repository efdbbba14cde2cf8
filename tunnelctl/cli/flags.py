"""The flags that more than one command takes, and how a flag is declared."""

from collections.abc import Callable
from typing import Any

import click

from tunnelctl.cli.command import Decorator
from tunnelctl.cli.config import config_option
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.log_formats import LEVELS, STYLES


def option(name: str, help_text: str, metavar: str, *, is_secret: bool = False, env: bool = False) -> Decorator:
    """A flag with one value."""
    variable = f"TUNNELCTL_{name.removeprefix('--').upper().replace('-', '_')}" if env else None
    return click.option(name, default="", metavar=metavar, help=help_text, envvar=variable, show_envvar=not is_secret)


def with_options(*options: Decorator) -> Decorator:
    """The command with these flags, in this order."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for one in reversed(options):
            command = one(command)
        return command

    return decorated


RELAY: tuple[Decorator, ...] = (
    option("--relay", "Relay to connect to [default: http://127.0.0.1:8080].", "URL", env=True),
    option("--relay-ca", "PEM file of the authorities to trust for the relay.", "FILE", env=True),
    option("--proxy-url", "HTTP proxy on the way to the relay [default: from HTTPS_PROXY].", "URL", env=True),
)
CONNECTION: tuple[Decorator, ...] = (
    *RELAY,
    option(
        "--authtoken", "Credential for the relay: env:NAME, file:PATH, -, or the token.", "T", is_secret=True, env=True
    ),
    config_option,
)
TUNNEL: tuple[Decorator, ...] = (
    option("--name", "Name of the tunnel in the log [default: command_line].", "NAME"),
    option("--metadata", "Text about the tunnel, for the relay's API.", "TEXT"),
    click.option(
        "--weight",
        type=click.IntRange(1, 100),
        metavar="1-100",
        help="Its share of the requests, relative to other tunnels of the same address [default: 1].",
    ),
)
UPSTREAM: Decorator = click.option(
    "--upstream-tls-verify/--no-upstream-tls-verify",
    default=None,
    help="Verify the certificate of an https service [default: unless it is on this machine].",
)
LOGGING: tuple[Decorator, ...] = (
    option("--log", "Where the log goes: stdout, stderr, a file, or false for none.", "WHERE", env=True),
    click.option(
        "--log-format",
        type=click.Choice(STYLES),
        envvar="TUNNELCTL_LOG_FORMAT",
        show_envvar=True,
        help="How records look [default: term, which off a terminal is logfmt].",
    ),
    click.option(
        "--log-level",
        type=click.Choice(list(LEVELS)),
        envvar="TUNNELCTL_LOG_LEVEL",
        show_envvar=True,
        help="The lowest level to write [default: info].",
    ),
)


def _public_alone(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value not in ("", "public"):
        hint = "every tunnel is public: say who gets in, with --oidc, --jwt-issuer or --cidr-allow"
        raise Failure(Exit.USAGE, [f"--binding {value} is not implemented here: it is ngrok's"], hint)
    return value


def _https_alone(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    schemes = {scheme.strip() for value in values for scheme in value.split(",")}
    if schemes - {"https"}:
        hint = "leave it out: the relay decides, and one with https sends http:// on to it"
        raise Failure(Exit.USAGE, [f"--scheme {','.join(sorted(schemes))} is not implemented here"], hint)
    return values


FAMILIAR: tuple[Decorator, ...] = (
    click.option("--region", hidden=True, expose_value=False, help="The relay is where it is."),
    click.option("--inspect/--no-inspect", hidden=True, expose_value=False, help="There is no inspector."),
    click.option("--description", hidden=True, expose_value=False, help="No effect; --metadata reaches the relay."),
)
"""Flags of ngrok's that say nothing which could matter here, so that its command lines run as they are."""
FAMILIAR_HTTP: tuple[Decorator, ...] = (
    *FAMILIAR,
    click.option("--binding", hidden=True, expose_value=False, default="", callback=_public_alone),
    click.option("--scheme", hidden=True, expose_value=False, multiple=True, callback=_https_alone),
    click.option("--hostname", hidden=True, default="", metavar="HOST", help="The older name of --domain."),
)
