"""The flags that several commands share, and helpers to declare flags."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunnelctl.agent.unsupported import INSTEAD
from tunnelctl.cli.command import Decorator
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.log_formats import LEVELS, STYLES
from tunnelctl.cli.persona import persona_of

if TYPE_CHECKING:
    from tunnelctl.agent.configfile import ConfigFiles

BEFORE = f"{__name__}.before"
"""Key in a click context under which flags before the command's name are stored."""


def option(name: str, help_text: str, metavar: str, *, is_secret: bool = False, env: bool = False) -> Decorator:
    """Return the declaration of a flag with one value."""
    variable = f"TUNNELCTL_{name.removeprefix('--').upper().replace('-', '_')}" if env else None
    return click.option(name, default="", metavar=metavar, help=help_text, envvar=variable, show_envvar=not is_secret)


def with_options(*options: Decorator) -> Decorator:
    """Return a decorator that adds these flags to a command, in this order."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for one in reversed(options):
            command = one(command)
        return command

    return decorated


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Store the value of a flag that was given before the command's name."""
    if param.name is not None and _is_typed(ctx, param):
        ctx.meta.setdefault(BEFORE, {})[param.name] = value
    return value


def _config_files(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> "ConfigFiles":
    """Return the files that the flag names, before or after the command's name; without the flag, those in its
    environment variable.
    """
    before = ctx.meta.get(BEFORE, {}).get(param.name, ())
    texts = (*before, *(values if _is_typed(ctx, param) or not before else ()))
    names = [name.strip() for text in texts for name in text.split(",")]
    if not all(names):
        raise click.BadParameter("its value is empty", ctx, param)
    from tunnelctl.agent.configfile import ConfigFiles

    named, persona = tuple(Path(name).expanduser() for name in names), persona_of(ctx)
    return ConfigFiles(named, persona.config_file, persona.older_config_files)


def _or_before(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Return the value of a flag given after the command's name; else the value given before that name."""
    return value if _is_typed(ctx, param) else ctx.meta.get(BEFORE, {}).get(param.name, value)


def _is_typed(ctx: click.Context, param: click.Parameter) -> bool:
    return getattr(ctx.get_parameter_source(param.name or ""), "name", "") == "COMMANDLINE"


class _FileNames(click.types.StringParamType):
    """Names of files. In a variable they are separated by commas, as a blank may be part of a name."""

    envvar_list_splitter = ","


def _config(callback: Callable[..., Any], **more: Any) -> Decorator:
    return click.option(
        "--config",
        multiple=True,
        type=_FileNames(),
        metavar="FILE",
        callback=callback,
        help="Configuration file instead of the default one. Repeatable: the later file wins.",
        **more,
    )


def _logging(callback: Callable[..., Any], *, env: bool = True, **more: Any) -> tuple[Decorator, ...]:
    def flag(name: str, help_text: str, **own: Any) -> Decorator:
        variable = f"TUNNELCTL_{name[2:].upper().replace('-', '_')}" if env else None
        return click.option(name, help=help_text, callback=callback, envvar=variable, show_envvar=env, **own, **more)

    return (
        flag("--log", "Where the log goes: stdout, stderr, a file, or false for none.", default="", metavar="WHERE"),
        flag(
            "--log-format",
            "How records look [default: term, which off a terminal is logfmt].",
            type=click.Choice(STYLES),
        ),
        flag("--log-level", "The lowest level to write [default: info].", type=click.Choice(list(LEVELS))),
    )


CONFIG = _config(_config_files, envvar="TUNNELCTL_CONFIG", show_envvar=True)
LOGGING = _logging(_or_before)
NO_LOG = _logging(lambda ctx, param, value: None, env=False, hidden=True, expose_value=False)
"""The log flags of commands that write no log: accepted without effect, as programs pass them to every command."""
NO_CONFIG = _config(lambda ctx, param, values: None, hidden=True, expose_value=False)
"""The flag for the configuration file of commands that read none: accepted without effect."""
BEFORE_THE_COMMAND = (
    _config(_keep, expose_value=False),
    *_logging(_keep, env=False, expose_value=False),
)
"""The flags that may also be given before the command's name."""
RELAY: tuple[Decorator, ...] = (
    option("--relay", "Relay to connect to [default: http://127.0.0.1:8080].", "URL", env=True),
    option("--relay-ca", "PEM file of the authorities to trust for the relay.", "FILE", env=True),
    option("--proxy-url", "HTTP proxy on the way to the relay [default: from HTTPS_PROXY].", "URL", env=True),
)
CONNECTION: tuple[Decorator, ...] = (
    *RELAY,
    option(
        "--authtoken",
        "Credential for the relay: env:NAME, file:PATH, -, or the token; `oidc` for a CI job's own ID token.",
        "T",
        is_secret=True,
        env=True,
    ),
    CONFIG,
)
TUNNEL: tuple[Decorator, ...] = (
    option("--name", "Name of the tunnel in the log [default: command_line].", "NAME"),
    option("--description", "Text about the tunnel, for the inspector and the local API.", "TEXT"),
    option("--metadata", "Text about the tunnel, for the relay's API.", "TEXT"),
    click.option(
        "--weight",
        type=click.IntRange(1, 100),
        metavar="1-100",
        help="Its share of the requests, relative to other tunnels of the same address [default: 1].",
    ),
)
INSPECT: Decorator = click.option(
    "--inspect/--no-inspect",
    default=True,
    help="Keep requests and responses in memory, to see and replay them [default: yes].",
)
UPSTREAM: Decorator = click.option(
    "--upstream-tls-verify/--no-upstream-tls-verify",
    default=None,
    help="Verify the certificate of an https service [default: unless it is on this machine].",
)


PROXY_PROTOCOL: Decorator = click.option(
    "--upstream-proxy-protocol",
    "proxy_protocol",
    default="",
    metavar="1|2",
    help="Begin connections to the service with the PROXY protocol's header, which tells the visitor's address.",
)


def _public_alone(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value not in ("", "public"):
        hint = "every tunnel is public: say who gets in, with --oidc, --jwt-issuer or --cidr-allow"
        raise Failure(Exit.USAGE, [f"--binding {value} is not implemented here: it is ngrok's"], hint)
    return value


def _http1_alone(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value not in ("", "http1"):
        raise Failure(Exit.USAGE, [f"{param.opts[0]} {value} is not implemented here"], INSTEAD["upstream_protocol"])
    return value


def older_name(given: dict[str, Any], today: str, older: str) -> str:
    """Return the value of a flag that also has an older name from ngrok.

    Args:
        today, older: Parameter names of the two flags, as in `given`.
    """
    if given[today] and given[older]:
        flags = f"{_flag_of(today)} and {_flag_of(older)}"
        raise Failure(Exit.USAGE, [f"{flags} are two names of one flag"], f"give it once, as {_flag_of(today)}")
    return str(given[today] or given[older])


def _flag_of(parameter: str) -> str:
    return "--upstream-proxy-protocol" if parameter == "proxy_protocol" else f"--{parameter.replace('_', '-')}"


def _split(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.strip() for value in values for part in value.split(","))


FAMILIAR: tuple[Decorator, ...] = (
    click.option("--binding", hidden=True, expose_value=False, default="", callback=_public_alone),
    click.option("--region", hidden=True, expose_value=False, help="The relay is where it is."),
)
"""Flags of ngrok that are accepted without effect, so that its command lines work unchanged."""
OLDER_PROXY_PROTOCOL: Decorator = click.option(
    "--proxy-proto", hidden=True, default="", metavar="1|2", help="The older name of --upstream-proxy-protocol."
)
FAMILIAR_HTTP: tuple[Decorator, ...] = (
    *FAMILIAR,
    click.option("--upstream-protocol", hidden=True, expose_value=False, default="", callback=_http1_alone),
    click.option("--app-protocol", hidden=True, expose_value=False, default="", callback=_http1_alone),
    click.option("--scheme", "schemes", hidden=True, multiple=True, metavar="https|http", callback=_split),
    click.option("--hostname", hidden=True, default="", metavar="HOST", help="The older name of --domain."),
)
