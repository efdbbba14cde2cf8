"""The `tunnel` command. Nothing is imported before it is needed: `tunnel --version` takes what Python takes."""

import importlib
import sys
from collections.abc import Sequence

import click

from tunnelctl import __version__
from tunnelctl.cli.command import Group
from tunnelctl.stdio import open_missing

COMMANDS = {
    "http": ("tunnelctl.cli.http:http", "Give a local web service a public address."),
    "tcp": ("tunnelctl.cli.tcp:tcp", "Give a local TCP service a port of the relay."),
    "tunnel": ("tunnelctl.cli.tunnel_command:tunnel", "Serve an edge that is set up at the relay."),
    "start": ("tunnelctl.cli.start:start", "Start tunnels of the configuration file."),
    "oidc": ("tunnelctl.cli.oidc:oidc", "Look at an OpenID provider as a login would."),
    "api": ("tunnelctl.cli.api:api", "Set up edges and everything else at the relay."),
    "config": ("tunnelctl.cli.config:config", "Save a relay, authtoken or API key, check the configuration file."),
    "version": ("tunnelctl.cli.main:version", "Print the version."),
}
"""Where each command is, and its line in the help, so that listing them imports none."""


START = (
    (
        "tunnel http 3000",
        "Give the app on port 3000 an address, through a relay on this machine (`tunnelrelay serve`).",
    ),
    (
        "tunnel config add-authtoken TOKEN --relay https://tun.example",
        "Save a relay elsewhere, with the token that its operator gave out. Then `tunnel http 3000` uses it.",
    ),
    (
        "tunnel http 3000 --oidc https://acme.okta.com --oidc-client-id ID --oidc-client-secret env:SECRET",
        "Let in only people who log in there; `tunnel http --help` shows all rules.",
    ),
)


class LazyGroup(Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    start=START,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-v", "--version", prog_name="tunnel", message="%(prog)s version %(version)s")
@click.pass_context
def tunnel(ctx: click.Context) -> None:
    """Give a local service a public address that only the right people can open."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"tunnel version {__version__}")


def main() -> None:
    """Run the command and exit the process with its code."""
    open_missing()
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (see `exits.Exit`)."""
    from tunnelctl.cli.ngrok import NGROK
    from tunnelctl.cli.program import run_program

    return run_program(tunnel, "tunnel", arguments, foreign=NGROK)
