"""What an operator types: `tunnelrelay serve`, `token …` and so on. What the commands do is imported when needed.

Data goes to stdout, talk to stderr. Exit codes: 0 done or asked to stop, 1 failed, 2 usage or configuration.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

import tunnelctl
from tunnelrelay.config import SETTINGS, RelayConfig, load_config, load_data_dir, load_database, load_keys_file
from tunnelrelay.config_sources import ConfigError, flag_name

FAILED = 1
USAGE = 2

Command = Callable[..., None]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tunnelctl.__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """The relay of the tunnel: gives local apps public addresses that only the right people can open.

    \b
    Try it on this machine, without DNS, TLS or tokens:
      tunnelrelay serve
    \b
    For real (wildcard DNS for *.tun.example points here):
      tunnelrelay token create --owner ann
      tunnelrelay serve --domain tun.example --https :443 --http :80 --tls-cert chain.pem --tls-key key.pem
    """


def _config_option(command: Command) -> Command:
    return click.option(
        "--config",
        "config_file",
        metavar="FILE",
        envvar="TUNNELRELAY_CONFIG",
        help="TOML file with settings of the same names, as in `tls_cert`. Variable: TUNNELRELAY_CONFIG.",
    )(command)


def _setting_options(command: Command) -> Command:
    """One option for each setting. Click reads none of them: all mistakes are told together, whatever their source."""
    for name, known in reversed(SETTINGS.items()):
        command = click.option(
            flag_name(name), name, metavar=known.shape, multiple=known.is_list, help=_help(name), default=None
        )(command)
    return command


def _help(name: str) -> str:
    field = RelayConfig.__dataclass_fields__[name]
    default = field.default
    if name == "data_dir":
        return f"{SETTINGS[name].doc} [default: the platform's data directory, or systemd's state directory]"
    repeat = " May be given several times." if SETTINGS[name].is_list else ""
    shown = f"{default:g}" if isinstance(default, float) else default
    return f"{SETTINGS[name].doc}{repeat}" + (f" [default: {shown}]" if shown else "")


@cli.command()
@_config_option
@_setting_options
def serve(config_file: str | None, **flags: object) -> None:
    """Run the relay until SIGINT or SIGTERM.

    Every setting can be given as a flag, as a variable (`--tls-cert` is TUNNELRELAY_TLS_CERT) or in the file; flags win
    over variables, variables over the file. A relay that others can reach asks agents for a token, and does not start
    before one was made.
    """
    config: RelayConfig = _loaded(load_config, config_file, flags)
    if config.needs_tokens:
        from tunnelrelay.cli.store import Failure, Place
        from tunnelrelay.cli.tokens import demand_token

        try:
            demand_token(Place(config.data_dir, config.database))
        except Failure as failure:
            fail(str(failure), failure.hint)
    from tunnelrelay.process import run

    sys.exit(run(config))


@cli.group()
def token() -> None:
    """Make, list and revoke the tokens agents connect with.

    Works with and without a running relay; revoking ends the links of a running one at once.
    """


def _store_options(command: Command) -> Command:
    """What the commands that read or change what a relay keeps have in common."""
    return _place_options(click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command))


def _place_options(command: Command) -> Command:
    """Where a relay keeps what it keeps."""
    shape = SETTINGS["database"].shape
    command = click.option("--database", metavar=shape, help="The relay's database; as for `serve`.")(command)
    command = click.option("--data-dir", metavar="DIR", help="The relay's data directory; as for `serve`.")(command)
    return _config_option(command)


def _keys_options(command: Command) -> Command:
    """What the commands that read or change the keys have in common."""
    return _store_options(_keys_file_option(command))


def _keys_file_option(command: Command) -> Command:
    return click.option("--keys-file", metavar="FILE", help="Where the key ring lies; as for `serve`.")(command)


@token.command("create")
@click.option("--owner", metavar="NAME", default="default", show_default=True, help="Who the agent acts for.")
@click.option("--description", metavar="TEXT", default="", help="What it is for, for people.")
@click.option(
    "--acl", metavar="RULE", multiple=True, help="What it may bind, as in bind:pr-*. May be given several times."
)
@click.option("--expires", metavar="TIME", default="", help="How long it is good, as in 12h or 30d; for ever without.")
@_store_options
def token_create(owner: str, description: str, acl: tuple[str, ...], expires: str, **where: Any) -> None:
    """Make a token and print it: the only time it is shown.

    Names belong to owners: every agent with a token of the same owner may take over that owner's addresses.
    """
    from tunnelrelay.cli.tokens import create

    _run(create, where, owner, description, acl, expires)


@token.command("list")
@click.option("--owner", metavar="NAME", default=None, help="Only this owner's.")
@_store_options
def token_list(owner: str | None, **where: Any) -> None:
    """List tokens, without what opens the door."""
    from tunnelrelay.cli.tokens import show

    _run(show, where, owner)


@token.command("revoke")
@click.argument("tokens", nargs=-1, metavar="[ID|TOKEN]...")
@click.option("--owner", metavar="NAME", default=None, help="All tokens of this owner.")
@_store_options
def token_revoke(tokens: tuple[str, ...], owner: str | None, **where: Any) -> None:
    """Revoke tokens, by their id or by the token itself. Links that came with them end at once."""
    if bool(tokens) == (owner is not None):
        raise click.UsageError("give the ids of tokens, or --owner NAME")
    from tunnelrelay.cli.tokens import revoke

    _run(revoke, where, tokens, owner)


@cli.group()
def admin() -> None:
    """Make and list the administrators of the dashboard.

    Works with and without a running relay.
    """


@admin.command("create")
@click.option("--name", metavar="NAME", default="admin", show_default=True, help="What the administrator is called.")
@click.option("--owner", metavar="OWNER", default=None, help="Whose things they set up; by default the relay's own.")
@click.option("--email", metavar="EMAIL", default="", help="Their e-mail address, for people.")
@click.option("--link", "is_link", is_flag=True, help="Only a new link, for somebody who is there already.")
@_store_options
def admin_create(name: str, owner: str | None, email: str, is_link: bool, **where: Any) -> None:
    """Make an administrator, and print a link that signs them in once, within an hour."""
    from tunnelrelay.cli.admin import create

    flags = {name: where[name] for name in ("data_dir", "database")}
    _run(create, where, _loaded(load_config, where["config_file"], flags), name, owner, email, is_link)


@admin.command("list")
@_store_options
def admin_list(**where: Any) -> None:
    """List the administrators."""
    from tunnelrelay.cli.admin import show

    _run(show, where)


@cli.group()
def session() -> None:
    """See who is signed in where, and end that.

    Works with and without running relays; what a session had open is closed at once.
    """


@session.command("list")
@click.option("--host", metavar="HOST", default=None, help="Only at this endpoint.")
@click.option("--user", metavar="USER", default=None, help="Only this e-mail address, or id at the provider.")
@_store_options
def session_list(host: str | None, user: str | None, **where: Any) -> None:
    """List sessions, the most recently used first. An id opens nothing: it only names a session here."""
    from tunnelrelay.cli.sessions import show

    _run(show, where, host, user)


@session.command("revoke")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--host", metavar="HOST", default=None, help="All sessions at this endpoint.")
@click.option("--user", metavar="USER", default=None, help="All of this e-mail address, or id at the provider.")
@click.option("--all", "is_all", is_flag=True, help="All sessions there are.")
@_keys_options
def session_revoke(ids: tuple[str, ...], host: str | None, user: str | None, is_all: bool, **where: Any) -> None:
    """End sessions, by their id, or all of a host, of a user, or of a user at a host.

    Whoever was signed in signs in again, if the provider and the endpoint's rules still let them.
    """
    if (bool(ids), host is not None or user is not None, is_all).count(True) != 1:
        raise click.UsageError("give the ids of sessions, or --host HOST and --user USER, or --all")
    from tunnelrelay.cli.sessions import revoke

    _run(revoke, where, _keys_file(where), ids, host, user)


@cli.group()
def name() -> None:
    """See who holds which host name, and free one."""


@name.command("list")
@click.option("--owner", metavar="NAME", default=None, help="Only those this owner holds, or held last.")
@_store_options
def name_list(owner: str | None, **where: Any) -> None:
    """List every name that anybody ever held, and its generation: how often it has changed hands, and one."""
    from tunnelrelay.cli.names import show

    _run(show, where, owner)


@name.command("release")
@click.argument("name", metavar="NAME")
@_store_options
def name_release(name: str, **where: Any) -> None:
    """Free a name that nobody serves, though it still cools down: whoever asks next gets it."""
    from tunnelrelay.cli.names import release

    _run(release, where, name)


@cli.group()
def audit() -> None:
    """Look up what happened to logins, sessions, names and keys."""


@audit.command("list")
@click.option("--since", metavar="TIME", default="", help="Only of this last stretch of time, as in 15m, 1h or 7d.")
@click.option("--host", metavar="HOST", default=None, help="Only this endpoint's.")
@click.option("--kind", metavar="KIND", default=None, help="Only this kind of event.")
@click.option("--limit", metavar="N", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most.")
@_store_options
def audit_list(since: str, host: str | None, kind: str | None, limit: int, **where: Any) -> None:
    """List events, oldest first.

    People appear as digests: events of one person belong together, and name nobody.
    """
    from tunnelrelay.cli.audit import show

    _run(show, where, since, host, kind, limit)


@cli.group()
def keys() -> None:
    """List, renew and drop the keys that seal sessions and sign assertions.

    Relays read them again within seconds. New ones are also made by themselves: see `--key-rotation-seconds`.
    """


@keys.command("list")
@_keys_options
def keys_list(**where: Any) -> None:
    """List the keys, without what is secret."""
    from tunnelrelay.cli.keys import show

    _run(show, where, _keys_file(where))


@keys.command("rotate")
@_keys_options
def keys_rotate(**where: Any) -> None:
    """Make a new sealing key and a new signing key.

    The one seals a minute later, the other signs a day later: by then every relay, and every app, knows it.
    """
    from tunnelrelay.cli.keys import rotate

    _run(rotate, where, _keys_file(where))


@keys.command("drop", context_settings={"ignore_unknown_options": True})
@click.argument("kid", metavar="ID")
@_keys_options
def keys_drop(kid: str, **where: Any) -> None:
    """Take a key away before its time: nothing it sealed or signed is good any more. Never the newest."""
    from tunnelrelay.cli.keys import drop

    _run(drop, where, _keys_file(where), kid)


@cli.command()
@click.argument("file", metavar="FILE|-")
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
@_keys_file_option
@_place_options
def backup(file: str, force: bool, **where: Any) -> None:
    """Write everything the relay keeps, and its keys, to FILE, or to stdout. Relays may run meanwhile."""
    from tunnelrelay.cli.backup import backup

    _run(partial(backup, is_forced=force), where, _keys_file(where), file)


@cli.command()
@click.argument("file", metavar="FILE|-")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_keys_file_option
@_place_options
def restore(file: str, yes: bool, **where: Any) -> None:
    """Put a backup in the place of everything the relay keeps, whichever database either is of.

    Nothing is touched before all of it was found good. Relays may run meanwhile, and go by it at once.
    """
    from tunnelrelay.cli.backup import restore

    _run(partial(restore, is_sure=yes), where, _keys_file(where), file)


def _keys_file(where: dict[str, Any]) -> Path:
    flags = {name: where[name] for name in ("data_dir", "keys_file")}
    file: Path = _loaded(load_keys_file, where["config_file"], flags)
    return file


def fail(message: str, hint: str = "", code: int = FAILED) -> NoReturn:
    """Says what happened and what to do, and exits."""
    click.echo(f"error: {message}" + (f"\nhint: {hint}" if hint else ""), err=True)
    sys.exit(code)


def _run(action: Callable[..., None], where: dict[str, Any], *args: object) -> None:
    from tunnelrelay.cli.store import Failure, Place

    data_dir = _loaded(load_data_dir, where["config_file"], {"data_dir": where["data_dir"]})
    database = _loaded(load_database, where["config_file"], {"database": where["database"]})
    try:
        action(Place(data_dir, database), *args, **{name: where[name] for name in ("as_json",) if name in where})
    except Failure as failure:
        fail(str(failure), failure.hint, failure.code)


def _loaded(load: Callable[..., Any], config_file: str | None, flags: dict[str, object]) -> Any:
    """The configuration, or every mistake and exit code 2."""
    file = None if config_file is None else Path(config_file)
    try:
        return load(flags=flags, env=os.environ, file=file)
    except ConfigError as error:
        count = len(error.problems)
        lines = [f"error: the relay's configuration has {count} mistake{'s'[: count > 1]}"]
        for problem in error.problems:
            lines.append(f"  {problem.origin}: {problem.message}")
            lines += [f"    hint: {problem.hint}"] if problem.hint else []
        click.echo("\n".join(lines), err=True)
        sys.exit(USAGE)
