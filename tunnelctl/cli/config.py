"""`tunnel config`: the agent's configuration file."""

import os
import sys
from pathlib import Path

import click

from tunnelctl.agent.address import DEFAULT_RELAY, AddressInvalid, parse_relay
from tunnelctl.agent.configfile import FileConfig, default_path, is_readable_by_others, load
from tunnelctl.agent.configsave import SavedKey, save_secret
from tunnelctl.agent.yamlfile import FileInvalid
from tunnelctl.cli.command import Group
from tunnelctl.cli.exits import Exit, Failure, say
from tunnelctl.cli.settings import refused_definitions
from tunnelctl.secret_source import SecretMissing, read_secret

config_option = click.option(
    "--config",
    "config_path",
    metavar="FILE",
    envvar="TUNNELCTL_CONFIG",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file instead of the default one.",
)


relay_option = click.option("--relay", default="", metavar="URL", help="Save this relay's address as well.")
FILE_HINT = "put the file right, or name another with --config"


@click.group(cls=Group)
def config() -> None:
    """Save a relay, an authtoken or an API key, check the configuration file."""


@config.command("add-relay")
@click.argument("url")
@config_option
def add_relay(url: str, config_path: Path | None) -> None:
    """Save the address URL of the relay to connect to, as `https://tun.example`."""
    path = _save("connect_url", _relay_address("URL", url), config_path)
    click.echo(f"Relay saved to configuration file: {path}")


config.add_command(add_relay, "add-connect-url")


@config.command("add-authtoken")
@click.argument("token")
@relay_option
@config_option
def add_authtoken(token: str, relay: str, config_path: Path | None) -> None:
    """Save the authtoken TOKEN, which a relay's operator gave out.

    TOKEN is the token itself, env:NAME, file:PATH, or - for standard input, which keeps it out of the shell's history.
    """
    address = _relay_address("--relay", relay) if relay else ""
    secret = _secret("TOKEN", token)
    if address:
        _save("connect_url", address, config_path)
    path = _save("authtoken", secret, config_path)
    click.echo(f"Authtoken saved to configuration file: {path}")


@config.command("add-api-key")
@click.argument("key")
@relay_option
@config_option
def add_api_key(key: str, relay: str, config_path: Path | None) -> None:
    """Save the API key KEY for `tunnel api`, as the relay's dashboard gives it out.

    KEY is the key itself, env:NAME, file:PATH, or - for standard input, which keeps it out of the shell's history.
    """
    address = _relay_address("--relay", relay) if relay else ""
    secret = _secret("KEY", key)
    if address:
        _save("connect_url", address, config_path)
    path = _save("api_key", secret, config_path)
    click.echo(f"API key saved to configuration file: {path}")


def _relay_address(what: str, url: str) -> str:
    try:
        return parse_relay(url).url
    except AddressInvalid as error:
        raise Failure(Exit.USAGE, [f"{what}: {error}"], "give it as https://tun.example") from error


def _secret(what: str, text: str) -> str:
    try:
        return read_secret(text, what=what, environ=os.environ, stdin=sys.stdin).value
    except SecretMissing as error:
        hint = f"give {what} itself, env:NAME, file:PATH, or - for standard input"
        raise Failure(Exit.USAGE, [str(error)], hint) from error


def _save(key: SavedKey, value: str, config_path: Path | None) -> Path:
    """Save the value. Returns the file's path."""
    path = config_path or default_path(os.environ)
    try:
        save_secret(path, key, value)
    except FileInvalid as error:
        raise Failure(Exit.USAGE, error.problems, FILE_HINT) from error
    except OSError as error:
        raise Failure(
            Exit.FAILED, [f"cannot write {path}: {error.strerror}"], "name another file with --config"
        ) from error
    return path


@config.command()
@config_option
def check(config_path: Path | None) -> None:
    """Say whether the configuration file can be used, and which relay it leads to."""
    path = config_path or default_path(os.environ)
    try:
        found = load(path, must_exist=True)
    except FileInvalid as error:
        hint = FILE_HINT if path.exists() else "`tunnel config add-authtoken TOKEN` makes one; --config names another"
        raise Failure(Exit.USAGE, error.problems, hint) from error
    for warning in found.warnings:
        say("warning", warning)
    refused = refused_definitions(found, os.environ)
    for problem in refused:
        say("warning", problem)
    if refused:
        say("hint", "`tunnel start` leaves these tunnels out and starts the others")
    if (found.authtoken or found.api_key) and is_readable_by_others(path):
        say("warning", f"other users of this machine can read {path}")
        say("hint", f"chmod 600 {path}")
    click.echo(f"Valid configuration file at {path}")
    click.echo(_relay_line(found), err=True)


def _relay_line(found: FileConfig) -> str:
    """The relay that the agent connects to, and the source of its address."""
    variable = os.environ.get("TUNNELCTL_RELAY", "")
    for url, origin in ((variable, "TUNNELCTL_RELAY"), (found.connect_url, "connect_url")):
        if url:
            return f"Relay: {url} ({origin})"
    return f"Relay: {DEFAULT_RELAY} (the default; `tunnel config add-relay URL` saves another)"
