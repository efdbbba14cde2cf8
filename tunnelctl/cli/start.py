"""`tunnel start`: the tunnels of the configuration file, over one link, until told to stop."""

from typing import Any

import click

from tunnelctl.cli.command import Command, Decorator
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.flag_values import StartFlags, typed_parameters
from tunnelctl.cli.flags import CONNECTION, FAMILIAR, LOGGING
from tunnelctl.cli.serving import serve

TUNNELS: tuple[Decorator, ...] = (
    click.option("--all", "everything", is_flag=True, help="Start all tunnels of the file."),
    click.option("--no-oidc-check", is_flag=True, help="Start even if no login can work, as seen from here."),
)
EXAMPLES = (
    ("tunnel start --all", "Start every tunnel of the file that `tunnel config check` names."),
    ("tunnel start web shop --config tunnels.yml", "Start two tunnels of another file."),
)


@click.command(
    cls=Command,
    sections={"Tunnels": TUNNELS, "Relay": CONNECTION, "Log": LOGGING, "-": FAMILIAR},
    examples=EXAMPLES,
    short_help="Start tunnels of the configuration file.",
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.pass_context
def start(ctx: click.Context, /, **given: Any) -> None:
    """Start the tunnels called NAME in the configuration file, or all of them.

    Ends on Ctrl-C; then requests in flight finish first.
    """
    if bool(given["names"]) == given["everything"]:
        raise Failure(
            Exit.USAGE, ["name the tunnels to start, or give --all"], "tunnel start --help lists what it takes"
        )
    typed = typed_parameters(ctx)
    flags = StartFlags(
        config_path=given["config_path"],
        relay=given["relay"],
        relay_ca=given["relay_ca"],
        proxy_url=given["proxy_url"],
        authtoken=given["authtoken"],
        names=given["names"],
        typed=typed,
        emptied=frozenset(name for name in typed if given[name] == ""),
    )
    serve("tunnel start", flags, given, checks_providers=not given["no_oidc_check"])
