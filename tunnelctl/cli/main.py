"""The `tunnel` command. Modules are imported only when needed, so that `tunnel --version` is as fast as Python
itself.
"""

import importlib
import sys
from collections.abc import Sequence

import click

from tunnelctl.cli.about import version_line
from tunnelctl.cli.command import Group
from tunnelctl.cli.flags import BEFORE_THE_COMMAND, with_options
from tunnelctl.cli.persona import TUNNEL, Persona, persona_of
from tunnelctl.stdio import open_missing

COMMANDS = {
    "http": ("tunnelctl.cli.http:http", "Give a local web service a public address."),
    "exec": ("tunnelctl.cli.exec:exec_", "Run a command while a local web service has a public address."),
    "tcp": ("tunnelctl.cli.tcp:tcp", "Give a local TCP service a port of the relay."),
    "tunnel": ("tunnelctl.cli.tunnel_command:tunnel", "Serve an edge that is set up at the relay."),
    "start": ("tunnelctl.cli.start:start", "Start tunnels of the configuration file."),
    "requests": ("tunnelctl.cli.requests:requests", "List the requests that visitors sent."),
    "replay": ("tunnelctl.cli.requests:replay", "Send a request of a visitor's once more."),
    "oidc": ("tunnelctl.cli.oidc:oidc", "Look at an OpenID provider as a login would."),
    "dev-issuer": ("tunnelctl.cli.dev_issuer:dev_issuer", "Run an OpenID provider for tests, on this machine."),
    "diagnose": ("tunnelctl.cli.diagnose:diagnose", "Say what stands in the way of a tunnel."),
    "api": ("tunnelctl.cli.api:api", "Set up edges and everything else at the relay."),
    "config": ("tunnelctl.cli.config:config", "Save a relay, authtoken or API key, check the configuration file."),
    "authtoken": ("tunnelctl.cli.config:add_authtoken", "Save an authtoken, as `tunnel config add-authtoken` does."),
    "install-shim": ("tunnelctl.cli.shim:install_shim", "Put an `ngrok` into a folder, for programs that drive ngrok."),
    "completion": ("tunnelctl.cli.about:completion", "Print the code that completes commands in a shell."),
    "update": ("tunnelctl.cli.about:update", "Say how to update this program."),
    "version": ("tunnelctl.cli.about:version", "Print the version."),
}
"""Module of each command and its line in the help, so that listing the commands imports none of them."""


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
        """Return the names of the commands, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands in the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])


def _print_version(ctx: click.Context, param: click.Parameter, is_asked: bool) -> None:
    if is_asked and not ctx.resilient_parsing:
        click.echo(version_line(persona_of(ctx)))
        ctx.exit()


@click.group(
    cls=LazyGroup,
    start=START,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@with_options(*BEFORE_THE_COMMAND)
@click.option(
    "-v",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def tunnel(ctx: click.Context) -> None:
    """Give a local service a public address that only the right people can open."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run the command and exit the process with its code."""
    open_missing()
    sys.exit(run())


def run(arguments: Sequence[str] | None = None, persona: Persona = TUNNEL) -> int:
    """Run the command and return its exit code (see `exits.Exit`).

    Args:
        arguments: Arguments without the program's name; None for those of the process.
        persona: The program's name and behaviour: `tunnel` or `ngrok`.
    """
    from tunnelctl.cli.ngrok import NGROK
    from tunnelctl.cli.program import run_program

    words = with_two_dashes(sys.argv[1:] if arguments is None else arguments)
    return run_program(tunnel, persona.program, words, foreign=NGROK, obj=persona)


def with_two_dashes(arguments: Sequence[str]) -> list[str]:
    """Replace `-config` by `--config`, as programs written for ngrok 1 and 2 use one dash."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [
        f"-{word}" if at < end and word.partition("=")[0] == "-config" else word for at, word in enumerate(arguments)
    ]
