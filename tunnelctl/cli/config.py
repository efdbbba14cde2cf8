"""`tunnel config`: the agent's configuration file."""

import os
import sys
from pathlib import Path

import click

from tunnelctl.agent.address import DEFAULT_RELAY, AddressInvalid, parse_relay
from tunnelctl.agent.configfile import ConfigFiles, FileConfig, is_readable_by_others
from tunnelctl.agent.configsave import SavedKey, save_secret, write_private
from tunnelctl.agent.configupgrade import CURRENT, CannotUpgrade, upgraded
from tunnelctl.agent.yamlfile import FileInvalid, read_text
from tunnelctl.cli.command import Group
from tunnelctl.cli.exits import Exit, Failure, say
from tunnelctl.cli.flags import CONFIG, NO_LOG, with_options
from tunnelctl.cli.settings import refused_definitions
from tunnelctl.secret_source import SecretMissing, read_secret

common_options = with_options(CONFIG, *NO_LOG)
relay_option = click.option("--relay", default="", metavar="URL", help="Save this relay's address as well.")
FILE_HINT = "put the file right, or name another with --config"


@click.group(cls=Group)
def config() -> None:
    """Save a relay, an authtoken or an API key, check the configuration file."""


@config.command("add-relay")
@click.argument("url")
@common_options
def add_relay(url: str, config: ConfigFiles) -> None:
    """Save the address URL of the relay to connect to, as `https://tun.example`."""
    path = _save("connect_url", _relay_address("URL", url), config)
    click.echo(f"Relay saved to configuration file: {path}")


config.add_command(add_relay, "add-connect-url")


@config.command("add-authtoken")
@click.argument("token")
@relay_option
@common_options
def add_authtoken(token: str, relay: str, config: ConfigFiles) -> None:
    """Save the authtoken TOKEN, which a relay's operator gave out.

    TOKEN is the token itself, env:NAME, file:PATH, or - for standard input, which keeps it out of the shell's history.
    """
    address = _relay_address("--relay", relay) if relay else ""
    secret = _secret("TOKEN", token)
    if address:
        _save("connect_url", address, config)
    path = _save("authtoken", secret, config)
    click.echo(f"Authtoken saved to configuration file: {path}")


@config.command("add-api-key")
@click.argument("key")
@relay_option
@common_options
def add_api_key(key: str, relay: str, config: ConfigFiles) -> None:
    """Save the API key KEY for `tunnel api`, as the relay's dashboard gives it out.

    KEY is the key itself, env:NAME, file:PATH, or - for standard input, which keeps it out of the shell's history.
    """
    address = _relay_address("--relay", relay) if relay else ""
    secret = _secret("KEY", key)
    if address:
        _save("connect_url", address, config)
    path = _save("api_key", secret, config)
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


def _save(key: SavedKey, value: str, config: ConfigFiles) -> Path:
    """Save the value and return the file's path."""
    path = _one(config)
    try:
        save_secret(path, key, value)
    except FileInvalid as error:
        raise Failure(Exit.USAGE, error.problems, FILE_HINT) from error
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _one(config: ConfigFiles) -> Path:
    """Return the file to write to."""
    if len(config.to_write) > 1:
        raise Failure(Exit.USAGE, ["--config: names several files to write in"], "name one")
    return config.to_write[0]


def _unwritable(path: Path, error: OSError) -> Failure:
    return Failure(Exit.FAILED, [f"cannot write {path}: {error.strerror}"], "name another file with --config")


@config.command()
@click.argument("version", default=CURRENT, type=int, metavar="[VERSION]")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--relocate", is_flag=True, help="Take the file over from where an older ngrok kept it.")
@common_options
def upgrade(version: int, dry_run: bool, relocate: bool, config: ConfigFiles) -> None:
    """Write the configuration file anew in the schema of VERSION [default: 3].

    What it says stays the same, with its comments. The file as it was is kept beside it.
    """
    path = _one(config)
    older = config.older if relocate and not config.named else ()
    source = next((one for one in older if one.exists() and not path.exists()), path)
    try:
        text = read_text(source)
        if text is None:
            raise FileInvalid([f"{source}: there is no such file"])
        upgrade = upgraded(text, source, to=version)
        if not dry_run and (upgrade.changes or source != path):
            if source == path:
                write_private(path.with_name(f"{path.name}.v{upgrade.before}.bak"), text)
            write_private(path, upgrade.text)
    except (FileInvalid, CannotUpgrade) as error:
        problems = error.problems if isinstance(error, FileInvalid) else [str(error)]
        raise Failure(Exit.USAGE, problems, FILE_HINT) from error
    except OSError as error:
        raise _unwritable(path, error) from error
    if source != path:
        click.echo(f"Configuration file {'would be ' if dry_run else ''}copied from {source} to {path}")
    if not upgrade.changes:
        click.echo(f"Configuration file is up to date: {path}")
    else:
        click.echo(f"Configuration file {'would be ' if dry_run else ''}upgraded to version {CURRENT}: {path}")
    for change in upgrade.changes:
        click.echo(f"  {change}")


@config.command()
@common_options
def check(config: ConfigFiles) -> None:
    """Say whether the configuration file can be used, and which relay it leads to."""
    try:
        found = config.load()
        if not found.exists:
            raise FileInvalid([f"{found.path}: there is no such file"])
    except FileInvalid as error:
        are_there = all(path.exists() for path in config.paths)
        hint = FILE_HINT if are_there else "`tunnel config add-authtoken TOKEN` makes one; --config names another"
        raise Failure(Exit.USAGE, error.problems, hint) from error
    for warning in found.warnings:
        say("warning", warning)
    refused = refused_definitions(found, os.environ)
    for problem in refused:
        say("warning", problem)
    if refused:
        say("hint", "`tunnel start` leaves these tunnels out and starts the others")
    for path in config.paths:
        if (found.authtoken or found.api_key) and is_readable_by_others(path):
            say("warning", f"other users of this machine can read {path}")
            say("hint", f"chmod 600 {path}")
        click.echo(f"Valid configuration file at {path}")
    click.echo(_relay_line(found), err=True)


def _relay_line(found: FileConfig) -> str:
    """Return the relay that the agent connects to, with the source of its address."""
    variable = os.environ.get("TUNNELCTL_RELAY", "")
    for url, origin in ((variable, "TUNNELCTL_RELAY"), (found.connect_url, "connect_url")):
        if url:
            return f"Relay: {url} ({origin})"
    return f"Relay: {DEFAULT_RELAY} (the default; `tunnel config add-relay URL` saves another)"
