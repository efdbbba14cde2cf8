"""The command line of `tunnelrelay`: `serve`, `token …` and so on. The code of a command is imported when it runs.

Data goes to stdout, talk to stderr. Exit codes: 0 done or asked to stop, 1 failed, 2 usage or configuration.
"""

from functools import partial
from typing import Any

import click

import tunnelctl
from tunnelctl.cli.command import Group
from tunnelrelay.cli.options import ARCHIVED, STORED, WITH_KEYS, keys_file, loaded, run, setting_sections
from tunnelrelay.config.config import RelayConfig, load_config

SERVE_EXAMPLES = (
    ("tunnelrelay serve", "A relay for this machine alone, without DNS, TLS or tokens."),
    (
        "tunnelrelay serve --domain tun.example --https :443 --http :80 --tls-cert chain.pem --tls-key key.pem",
        "A public one; DNS for tun.example and *.tun.example points here.",
    ),
    (
        "tunnelrelay serve --public-url 'https://*.tun.example' --http 127.0.0.1:8080 --trusted-proxy 127.0.0.1",
        "Behind a proxy on this machine that ends TLS.",
    ),
)
START_EXAMPLES = (
    ("tunnelrelay serve", "Try it on this machine; then `tunnel http 3000` in another terminal."),
    ("tunnelrelay token create --owner ann", "For real: a token for each person whose agents may connect."),
    (
        "tunnelrelay serve --domain tun.example --https :443 --http :80 --tls-cert chain.pem --tls-key key.pem",
        "And the relay; DNS for tun.example and *.tun.example points here.",
    ),
)


@click.group(
    cls=Group,
    start=START_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(tunnelctl.__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """The relay of the tunnel: gives local apps public addresses that only the right people can open."""


@cli.command(sections=setting_sections(), examples=SERVE_EXAMPLES)
def serve(config_file: str | None, **flags: object) -> None:
    """Run the relay until SIGINT or SIGTERM.

    Every setting can be given as a flag, as a variable (`--tls-cert` is TUNNELRELAY_TLS_CERT) or in the file; flags win
    over variables, variables over the file. A relay that others can reach asks agents for a token. As long as there is
    no administrator, every start prints a link that makes the first one.
    """
    config: RelayConfig = loaded(load_config, config_file, flags)
    from tunnelrelay.app.process import run_relay

    click.get_current_context().exit(run_relay(config))


@cli.group()
def token() -> None:
    """Make, list and revoke the tokens agents connect with.

    Works with and without a running relay; revoking ends the links of a running one at once.
    """


@token.command("create", sections=STORED)
@click.option("--owner", metavar="NAME", default="default", show_default=True, help="Who the agent acts for.")
@click.option("--description", metavar="TEXT", default="", help="What it is for, for people.")
@click.option(
    "--acl", metavar="RULE", multiple=True, help="What it may bind, as in bind:pr-*. May be given several times."
)
@click.option(
    "--expires", metavar="TIME", default="", help="How long it is valid, as in 12h or 30d [default: for ever]."
)
def token_create(owner: str, description: str, acl: tuple[str, ...], expires: str, **where: Any) -> None:
    """Make a token and print it: the only time it is shown.

    Names belong to owners: every agent with a token of the same owner may take over that owner's addresses.
    """
    from tunnelrelay.cli.tokens import create

    run(create, where, owner, description, acl, expires)


@token.command("list", sections=STORED)
@click.option("--owner", metavar="NAME", default=None, help="Only tokens of this owner.")
def token_list(owner: str | None, **where: Any) -> None:
    """List tokens, without their secrets."""
    from tunnelrelay.cli.tokens import show

    run(show, where, owner)


@token.command("revoke", sections=STORED)
@click.argument("tokens", nargs=-1, metavar="[ID|TOKEN]...")
@click.option("--owner", metavar="NAME", default=None, help="All tokens of this owner.")
def token_revoke(tokens: tuple[str, ...], owner: str | None, **where: Any) -> None:
    """Revoke tokens, by their id or by the token itself. Links that use them end at once."""
    if bool(tokens) == (owner is not None):
        raise click.UsageError("give the ids of tokens, or --owner NAME")
    from tunnelrelay.cli.tokens import revoke

    run(revoke, where, tokens, owner)


@cli.group()
def admin() -> None:
    """Make and list the administrators of the dashboard, and make keys for the API.

    Works with and without a running relay.
    """


@admin.command("create", sections=STORED)
@click.option("--name", metavar="NAME", default="admin", show_default=True, help="What the administrator is called.")
@click.option("--owner", metavar="OWNER", default=None, help="Owner of what they set up; by default the relay's own.")
@click.option("--email", metavar="EMAIL", default="", help="Their e-mail address, for people.")
@click.option("--link", "is_link", is_flag=True, help="Only make a new link, for an existing user.")
def admin_create(name: str, owner: str | None, email: str, is_link: bool, **where: Any) -> None:
    """Make an administrator, and print a link that signs them in once, within an hour."""
    from tunnelrelay.cli.admin import create

    flags = {name: where[name] for name in ("data_dir", "database")}
    run(create, where, loaded(load_config, where["config_file"], flags), name, owner, email, is_link)


@admin.command("key", sections=STORED)
@click.option("--name", metavar="NAME", default="admin", show_default=True, help="Whom it acts for; any user.")
@click.option(
    "--scope",
    "scopes",
    metavar="SCOPE",
    multiple=True,
    help="What it may do, as in edges:write. May be given several times; everything without.",
)
@click.option("--description", metavar="TEXT", default="", help="What it is for, for people.")
@click.option(
    "--expires", metavar="TIME", default="", help="How long it is valid, as in 12h or 30d [default: for ever]."
)
def admin_key(name: str, scopes: tuple[str, ...], description: str, expires: str, **where: Any) -> None:
    """Make a key for the API and print it: the only time it is shown."""
    from tunnelrelay.cli.admin import make_key

    run(make_key, where, name, scopes, description, expires)


@admin.command("list", sections=STORED)
def admin_list(**where: Any) -> None:
    """List the administrators."""
    from tunnelrelay.cli.admin import show

    run(show, where)


@cli.group()
def session() -> None:
    """List visitors' sessions, and end them.

    Works with and without running relays; open connections of an ended session are closed at once.
    """


@session.command("list", sections=STORED)
@click.option("--host", metavar="HOST", default=None, help="Only at this endpoint.")
@click.option(
    "--user",
    metavar="USER",
    default=None,
    help="Only of this e-mail address, or id at the provider.",
)
def session_list(host: str | None, user: str | None, **where: Any) -> None:
    """List sessions, the most recently used first. A session's id is no credential."""
    from tunnelrelay.cli.sessions import show

    run(show, where, host, user)


@session.command("revoke", sections=WITH_KEYS)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--host", metavar="HOST", default=None, help="All sessions at this endpoint.")
@click.option(
    "--user",
    metavar="USER",
    default=None,
    help="All sessions of this e-mail address, or id at the provider.",
)
@click.option("--all", "is_all", is_flag=True, help="All sessions.")
def session_revoke(ids: tuple[str, ...], host: str | None, user: str | None, is_all: bool, **where: Any) -> None:
    """End sessions, by their id, or all of a host, of a user, or of a user at a host.

    These visitors can sign in again, if the provider and the endpoint's rules still let them.
    """
    if (bool(ids), host is not None or user is not None, is_all).count(True) != 1:
        raise click.UsageError("give the ids of sessions, or --host HOST and --user USER, or --all")
    from tunnelrelay.cli.sessions import revoke

    run(revoke, where, keys_file(where), ids, host, user)


@cli.group()
def name() -> None:
    """List host names with their owners, and end the cool-down of one."""


@name.command("list", sections=STORED)
@click.option("--owner", metavar="NAME", default=None, help="Only those this owner holds, or held last.")
def name_list(owner: str | None, **where: Any) -> None:
    """List every name that had a holder, with its generation: 1 plus the number of changes of owner."""
    from tunnelrelay.cli.names import show

    run(show, where, owner)


@name.command("release", sections=STORED)
@click.argument("name", metavar="NAME")
def name_release(name: str, **where: Any) -> None:
    """End the cool-down of a name that no tunnel serves: the next owner who asks for it gets it."""
    from tunnelrelay.cli.names import release

    run(release, where, name)


@cli.group()
def audit() -> None:
    """Look up what happened to logins, sessions, names and keys."""


@audit.command("list", sections=STORED)
@click.option("--since", metavar="TIME", default="", help="Only events of the last 15m, 1h, 7d and the like.")
@click.option("--host", metavar="HOST", default=None, help="Only events of this endpoint.")
@click.option("--kind", metavar="KIND", default=None, help="Only this kind of event.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Most events to list.",
)
def audit_list(since: str, host: str | None, kind: str | None, limit: int, **where: Any) -> None:
    """List events, oldest first.

    People appear as digests, by which events of one person can be matched without a name.
    """
    from tunnelrelay.cli.audit import show

    run(show, where, since, host, kind, limit)


@cli.group()
def keys() -> None:
    """List, renew and drop the keys that seal sessions and sign assertions.

    Relays use changed keys within seconds. They also make new ones by themselves: see `--key-rotation-seconds`.
    """


@keys.command("list", sections=WITH_KEYS)
def keys_list(**where: Any) -> None:
    """List the keys, without their secrets."""
    from tunnelrelay.cli.keys import show

    run(show, where, keys_file(where))


@keys.command("rotate", sections=WITH_KEYS)
def keys_rotate(**where: Any) -> None:
    """Make a new sealing key and a new signing key.

    The sealing key is used a minute later, the signing key a day later, when every relay and every app knows it.
    """
    from tunnelrelay.cli.keys import rotate

    run(rotate, where, keys_file(where))


@keys.command("drop", context_settings={"ignore_unknown_options": True}, sections=WITH_KEYS)
@click.argument("kid", metavar="ID")
def keys_drop(kid: str, **where: Any) -> None:
    """Drop a key early: nothing that it sealed or signed is valid any more. The newest cannot be dropped."""
    from tunnelrelay.cli.keys import drop

    run(drop, where, keys_file(where), kid)


@cli.command(sections=ARCHIVED)
@click.argument("file", metavar="FILE|-")
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
def backup(file: str, force: bool, **where: Any) -> None:
    """Write everything the relay keeps, and its keys, to FILE, or to stdout. Relays may run meanwhile."""
    from tunnelrelay.cli.backup import backup

    run(partial(backup, is_forced=force), where, keys_file(where), file)


@cli.command(sections=ARCHIVED)
@click.argument("file", metavar="FILE|-")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def restore(file: str, yes: bool, **where: Any) -> None:
    """Replace everything the relay keeps by a backup, also of another kind of database.

    Nothing is changed before the whole backup was checked. Relays may run meanwhile, and use the new data at once.
    """
    from tunnelrelay.cli.backup import restore

    run(partial(restore, is_sure=yes), where, keys_file(where), file)
