"""`tunnel config`: the agent's configuration file."""

import os
import sys
from pathlib import Path

import click

from tunnelctl.agent.configfile import default_path, is_readable_by_others, load
from tunnelctl.agent.configsave import SecretKey, save_secret
from tunnelctl.agent.secretforms import SecretMissing, read_secret
from tunnelctl.agent.yamlfile import FileInvalid
from tunnelctl.cli.exits import Exit, Failure

config_option = click.option(
    "--config",
    "config_path",
    metavar="FILE",
    envvar="TUNNELCTL_CONFIG",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file instead of the default one.",
)


@click.group()
def config() -> None:
    """Save an authtoken or API key, check the configuration file."""


@config.command("add-authtoken")
@click.argument("token")
@config_option
def add_authtoken(token: str, config_path: Path | None) -> None:
    """Save the authtoken TOKEN, which a relay's operator gave out.

    TOKEN is the token itself, env:NAME, file:PATH, or - for standard input, which keeps it out of the shell's history.
    """
    path = _save("authtoken", "TOKEN", token, config_path)
    click.echo(f"Authtoken saved to configuration file: {path}")


@config.command("add-api-key")
@click.argument("key")
@config_option
def add_api_key(key: str, config_path: Path | None) -> None:
    """Save the API key KEY for `tunnel api`, as the relay's dashboard gives it out.

    KEY is the key itself, env:NAME, file:PATH, or - for standard input, which keeps it out of the shell's history.
    """
    path = _save("api_key", "KEY", key, config_path)
    click.echo(f"API key saved to configuration file: {path}")


def _save(key: SecretKey, what: str, text: str, config_path: Path | None) -> Path:
    """Where the secret that the text names was saved."""
    path = config_path or default_path(os.environ)
    try:
        save_secret(path, key, read_secret(text, what=what, environ=os.environ, stdin=sys.stdin).value)
    except SecretMissing as error:
        raise Failure(Exit.USAGE, [str(error)]) from error
    except FileInvalid as error:
        raise Failure(Exit.USAGE, error.problems, "put the file right, or name another with --config") from error
    except OSError as error:
        raise Failure(Exit.FAILED, [f"cannot write {path}: {error.strerror}"]) from error
    return path


@config.command()
@config_option
def check(config_path: Path | None) -> None:
    """Say whether the configuration file can be used."""
    path = config_path or default_path(os.environ)
    try:
        found = load(path, must_exist=True)
    except FileInvalid as error:
        raise Failure(Exit.USAGE, error.problems, "`tunnel config add-authtoken` makes a file that is valid") from error
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if (found.authtoken or found.api_key) and is_readable_by_others(path):
        click.echo(f"warning: other users of this machine can read {path}", err=True)
        click.echo(f"hint: chmod 600 {path}", err=True)
    click.echo(f"Valid configuration file at {path}")
