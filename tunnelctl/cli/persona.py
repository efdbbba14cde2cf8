"""The name under which the agent's command line runs: `tunnel`, or `ngrok` if `tunnel install-shim` installed it."""

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

import click

from tunnelctl import __version__

NGROK_VERSION = "3.39.10"
"""The release of ngrok's agent whose commands, log and API are imitated. Programs expect a version that begins with
3."""
NGROK_VARIABLES = {
    "NGROK_AUTHTOKEN": "TUNNELCTL_AUTHTOKEN",
    "NGROK_API_KEY": "TUNNELCTL_API_KEY",
    "NGROK_CONFIG": "TUNNELCTL_CONFIG",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """The properties of the command line that depend on the name under which it runs, `tunnel` or `ngrok`.

    Attributes:
        program: Program name in help and in `--version`.
        config_place: Folder and name of the configuration file, in the platform's directory; empty for the agent's own.
        older_files: Paths of the configuration file in older releases, below the home directory. One is read if there
            is no file at the new path, and `config upgrade --relocate` moves it.
    """

    program: str
    version: str
    config_place: tuple[str, ...] = ()
    older_files: tuple[str, ...] = ()

    @property
    def older_config_files(self) -> tuple[Path, ...]:
        """The paths at which older releases kept the configuration file."""
        return tuple(Path.home() / name for name in self.older_files)

    @property
    def is_ngrok(self) -> bool:
        """Whether errors are written in ngrok's form."""
        return self.program == "ngrok"

    @property
    def config_file(self) -> Path:
        """The path of the default configuration file."""
        from tunnelctl.agent.configfile import default_path

        return default_path(*self.config_place)


TUNNEL = Persona(program="tunnel", version=__version__)
AS_NGROK = Persona(
    program="ngrok",
    version=NGROK_VERSION,
    config_place=("ngrok", "ngrok.yml"),
    older_files=(".ngrok2/ngrok.yml",),
)


def persona_of(ctx: click.Context) -> Persona:
    """Return the persona under which a command runs."""
    return ctx.find_object(Persona) or TUNNEL


def adopt_variables(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set our environment variables from ngrok's, unless they are set."""
    for theirs, ours in NGROK_VARIABLES.items():
        if value := environ.get(theirs):
            environ.setdefault(ours, value)
