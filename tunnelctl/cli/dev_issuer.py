"""The command `tunnel dev-issuer`: a small OpenID provider for tests, on this machine only."""

import asyncio
import errno
import socket

import click

from tunnelctl.cli.command import Command
from tunnelctl.cli.exits import Exit, Failure, plain, say
from tunnelctl.cli.flags import NO_CONFIG, NO_LOG

DEFAULT_PORT = 9400
UNSAFE = "this issuer is UNSAFE and for tests only: everyone on this machine can sign in as anyone"
EXAMPLES = (
    ("tunnel dev-issuer", "An issuer with one user, alice@example.com."),
    (
        "tunnel dev-issuer --user 'alice@example.com;groups=qa' --user 'bob@example.com;groups=guests'",
        "Two users. Claims stand behind the address; groups are separated by commas.",
    ),
)


@click.command(
    cls=Command,
    sections={"-": (NO_CONFIG, *NO_LOG)},
    examples=EXAMPLES,
    short_help="Run an OpenID provider for tests, on this machine.",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="USER",
    help="Who can be chosen: NAME or E-MAIL, then ;CLAIM=VALUE. May be given several times.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    metavar="PORT",
    help=f"Port on 127.0.0.1; 0 for a free one [default: {DEFAULT_PORT}].",
)
def dev_issuer(users: tuple[str, ...], port: int) -> None:
    """Run a small OpenID provider for tests: code flow with PKCE, and client credentials.

    It listens on loopback only, and sends codes to addresses of this machine only. There is no password: whoever opens
    its page chooses a user. Its URL is printed alone on stdout. Stop it with Ctrl-C.
    """
    from tunnelctl.devissuer.users import DEFAULT, UserInvalid, parse_user

    try:
        known = [parse_user(text) for text in users or (DEFAULT,)]
    except UserInvalid as error:
        raise Failure(Exit.USAGE, [f"--user: {error}"], "tunnel dev-issuer --help has examples") from error
    if len({user.sub for user in known}) != len(known):
        raise Failure(Exit.USAGE, ["--user: two users have the same name"], "give each another name, or another sub=")
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        taken = "another program listens there" if error.errno == errno.EADDRINUSE else str(error.strerror).lower()
        hint = "give another one with --port, or 0 for a free one"
        raise Failure(Exit.FAILED, [f"--port {port}: {taken}"], hint) from error

    from tunnelctl.devissuer.issuer import CLIENT_SECRET, DevIssuer
    from tunnelctl.localapi.server import ApiWatcher, LocalServer
    from tunnelctl.signals import stopped_by_signals

    def note(text: str) -> None:
        click.echo(f"unsafe dev issuer: {plain(text)}", err=True)

    issuer = DevIssuer(f"http://localhost:{listener.getsockname()[1]}", known, note=note)

    async def run() -> None:
        stop = asyncio.Event()
        with stopped_by_signals(stop.set):
            async with LocalServer(listener, issuer.answer, ApiWatcher()):
                say("warning", UNSAFE)
                click.echo(
                    f"Try it with: tunnel http 3000 --oidc {issuer.issuer} --oidc-client-id dev "
                    f"--oidc-client-secret {CLIENT_SECRET}",
                    err=True,
                )
                click.echo(issuer.issuer)
                await stop.wait()

    asyncio.run(run())
