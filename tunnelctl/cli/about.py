"""Commands about the program itself: `tunnel version`, `tunnel update` and `tunnel completion`."""

import os
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from tunnelctl import __version__
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.flags import NO_CONFIG, NO_LOG, with_options
from tunnelctl.cli.persona import Persona, persona_of

SHELLS = ("bash", "zsh", "fish")
INSTALLERS = {"pipx": "pipx upgrade tunnelctl", "uv": "uv tool upgrade tunnelctl"}
"""Commands that update the program, by the name of a folder above the Python interpreter."""

common_options = with_options(NO_CONFIG, *NO_LOG)


def version_line(persona: Persona) -> str:
    """Return the line that `--version` prints. Programs parse the text after the word "version"."""
    return f"{persona.program} version {persona.version}"


@click.command()
@common_options
@click.pass_context
def version(ctx: click.Context) -> None:
    """Print the version."""
    click.echo(version_line(persona_of(ctx)))


@click.command()
@click.option("--channel", hidden=True, expose_value=False, help="There is one channel.")
@common_options
def update() -> None:
    """Say how to update this program. It never updates itself."""
    click.echo(f"This is tunnelctl {__version__}. To update it, run: {update_command(Path(sys.prefix))}")


def update_command(prefix: Path) -> str:
    """Return the command that updates a program installed below `prefix`."""
    by_tool = [command for folder, command in INSTALLERS.items() if folder in prefix.parts]
    return by_tool[0] if by_tool else f"{sys.executable} -m pip install --upgrade tunnelctl"


@click.command()
@click.argument("shell", required=False, type=click.Choice(SHELLS), metavar="[bash|zsh|fish]")
@common_options
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print the code that completes commands and flags in a shell [default: the one that SHELL names].

    Put `eval "$(tunnel completion bash)"` into the shell's start-up file.
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(name) if name in SHELLS else None
    if kind is None:
        hint = f"give one of {', '.join(SHELLS)}: `tunnel completion bash`"
        raise Failure(Exit.USAGE, [f"SHELL names no shell that is known here ({name or 'it is empty'})"], hint)
    program = persona_of(ctx).program
    click.echo(kind(ctx.find_root().command, {}, program, f"_{program.upper()}_COMPLETE").source())
