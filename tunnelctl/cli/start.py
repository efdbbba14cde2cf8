"""`tunnel start`: runs tunnels of the configuration file, or none at first, over one link, until it is stopped."""

from typing import Any

import click

from tunnelctl.cli.command import Command, Decorator
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.flag_values import StartFlags, flags_from
from tunnelctl.cli.flags import CONNECTION, FAMILIAR, LOGGING
from tunnelctl.cli.serving import serve

TUNNELS: tuple[Decorator, ...] = (
    click.option("--all", "everything", is_flag=True, help="Start all tunnels of the file."),
    click.option("--none", is_flag=True, help="Start without tunnels, and stay connected."),
    click.option("--no-oidc-check", is_flag=True, help="Skip the check of the provider before the start."),
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
    """Start the tunnels called NAME in the configuration file, or all of them, or none.

    A tunnel that the relay refuses, or that is taken over, ends alone. Ends on Ctrl-C, when requests in flight have
    finished, or with the last of its tunnels.
    """
    if sum(map(bool, (given["names"], given["everything"], given["none"]))) != 1:
        problem = "name the tunnels to start, or give --all or --none"
        raise Failure(Exit.USAGE, [problem], "tunnel start --help lists what it takes")
    serve("tunnel start", flags_from(StartFlags, ctx), given, checks_providers=not given["no_oidc_check"])
