"""Which program the agent's command line is: `tunnel`, or `ngrok` where `tunnel install-shim` has put one."""

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

import click
import platformdirs

from tunnelctl import __version__
from tunnelctl.agent.configfile import FILE_NAME

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
        folder, file_name: Of the configuration file, in the platform's place.
        older_files: Where older releases kept it, below the home directory. It is read while there is none in the new
            place, and `config upgrade --relocate` moves it.
    """

    program: str
    version: str
    folder: str
    file_name: str
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
        return Path(platformdirs.user_config_path(self.folder)) / self.file_name


TUNNEL = Persona(program="tunnel", version=__version__, folder="tunnelctl", file_name=FILE_NAME)
AS_NGROK = Persona(
    program="ngrok",
    version=NGROK_VERSION,
    folder="ngrok",
    file_name="ngrok.yml",
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
