"""Which program the agent's command line is: `tunnel`, or `ngrok` where `tunnel install-shim` has put one."""

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

import click

from tunnelctl import __version__

NGROK_VERSION = "3.39.10"
"""The release of ngrok's agent whose commands, log and API are followed. Programs want it to begin with 3."""
NGROK_VARIABLES = {
    "NGROK_AUTHTOKEN": "TUNNELCTL_AUTHTOKEN",
    "NGROK_API_KEY": "TUNNELCTL_API_KEY",
    "NGROK_CONFIG": "TUNNELCTL_CONFIG",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """What differs between the names.

    Attributes:
        program: In help and in `--version`.
        config_place: Folder and name of the configuration file, in the platform's place; empty for the agent's own.
        older_files: Where older releases kept it, below the home directory. It is read while there is none in the new
            place, and `config upgrade --relocate` moves it.
    """

    program: str
    version: str
    config_place: tuple[str, ...] = ()
    older_files: tuple[str, ...] = ()

    @property
    def older_config_files(self) -> tuple[Path, ...]:
        """Where older releases kept the configuration file."""
        return tuple(Path.home() / name for name in self.older_files)

    @property
    def is_ngrok(self) -> bool:
        """Whether errors are written as ngrok writes them."""
        return self.program == "ngrok"

    @property
    def config_file(self) -> Path:
        """The default configuration file."""
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
    """Which program a command belongs to."""
    return ctx.find_object(Persona) or TUNNEL


def adopt_variables(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set our variables from ngrok's, unless they are set."""
    for theirs, ours in NGROK_VARIABLES.items():
        if value := environ.get(theirs):
            environ.setdefault(ours, value)
