"""`tunnel install-shim`, and the `ngrok` program that it installs, which runs this module.

The shim is a shell script that replaces itself by Python with `exec`: programs that control ngrok kill the process they
started, and a child process would survive.
"""

import os
import shlex
import sys
from pathlib import Path

import click

from tunnelctl.agent.configsave import replace_file
from tunnelctl.cli.exits import Exit, Failure, say
from tunnelctl.cli.flags import NO_CONFIG, NO_LOG, with_options
from tunnelctl.cli.persona import AS_NGROK, adopt_variables

MARK = "# Written by `tunnel install-shim`."
"""Line by which our script is recognised; ngrok's own program is never overwritten."""


@click.command("install-shim")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@with_options(NO_CONFIG, *NO_LOG)
def install_shim(folder: Path) -> None:
    """Put a program called ngrok into the folder DIR: this one, by ngrok's name.

    Under that name it reads ngrok's configuration file and variables, and says that it is ngrok version 3. Programs
    such as pyngrok find it in PATH, or where they are told to look.
    """
    path = folder / AS_NGROK.program
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or (path.exists() and not _is_ours(path)):
            hint = "move it away, or name another folder"
            raise Failure(Exit.USAGE, [f"{path}: there is another program of this name"], hint)
        replace_file(path, shim_text(sys.executable), mode=0o755)
    except OSError as error:
        raise Failure(Exit.FAILED, [f"cannot write {path}: {error.strerror}"], "name another folder") from error
    click.echo(f"Shim installed: {path}")
    if str(folder.resolve()) not in os.environ.get("PATH", "").split(os.pathsep):
        say("hint", f"{folder} is not in PATH: tell programs where it is, as PYNGROK_NGROK_PATH={path} tells pyngrok")


def shim_text(python: str) -> str:
    """Return the script. `-P` prevents modules in the current folder from replacing those of Python."""
    return f'#!/bin/sh\n{MARK}\nexec {shlex.quote(python)} -P -m {__name__} "$@"\n'


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return MARK.encode() in file.read(1000)


def main() -> None:
    """Run as ngrok, and exit with its code."""
    from tunnelctl.cli.main import run
    from tunnelctl.stdio import open_missing

    open_missing()
    adopt_variables()
    sys.exit(run(persona=AS_NGROK))


if __name__ == "__main__":
    main()
