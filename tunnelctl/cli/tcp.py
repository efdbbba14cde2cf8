"""`tunnel tcp`: gives a local TCP service a port of the relay, until it is stopped."""

from typing import Any

import click
from click.exceptions import NoSuchOption

from tunnelctl.cli.command import Command, Decorator
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.flag_values import TunnelFlags, flags_from
from tunnelctl.cli.flags import (
    CONNECTION,
    FAMILIAR,
    LOGGING,
    OLDER_PROXY_PROTOCOL,
    PROXY_PROTOCOL,
    TUNNEL,
    older_name,
    option,
)
from tunnelctl.cli.policy_flags import flags_for, texts_of
from tunnelctl.cli.serving import serve
from tunnelctl.cli.settings import TCP_HINT
from tunnelctl.policy.check import OF_CONNECTIONS
from tunnelctl.policy.fields import FIELDS

ADDRESS: tuple[Decorator, ...] = (
    option("--remote-addr", "Port of the relay [default: one that is free].", "[HOST:]PORT"),
    click.option("--pooling-enabled", is_flag=True, help="Share the port with your other tunnels that say so too."),
    option("--url", "The same as tcp://[HOST:PORT], as ngrok has it.", "URL"),
    *TUNNEL,
)
SECTIONS: dict[str, tuple[Decorator, ...]] = {
    "Relay": CONNECTION,
    "Address": ADDRESS,
    "Rules": flags_for(OF_CONNECTIONS),
    "App": (PROXY_PROTOCOL,),
    "Log": LOGGING,
    "-": (*FAMILIAR, OLDER_PROXY_PROTOCOL),  # hidden: an empty section is not written
}
EXAMPLES = (
    ("tunnel tcp 22", "The SSH server of this machine gets a port of the relay."),
    (
        "tunnel tcp 5432 --remote-addr 20432 --cidr-allow 203.0.113.0/24",
        "The database gets this port, and only that network reaches it.",
    ),
)
OF_REQUESTS = frozenset(row.flag for row in FIELDS if row.path not in OF_CONNECTIONS)


class _TcpCommand(Command):
    """The class of `tunnel tcp`, which explains why it has no such flag if a flag of `tunnel http` is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except NoSuchOption as error:
            if error.option_name in OF_REQUESTS:
                raise Failure(Exit.USAGE, [f"{error.option_name}: not for tcp"], TCP_HINT) from error
            raise


@click.command(
    cls=_TcpCommand,
    sections=SECTIONS,
    examples=EXAMPLES,
    short_help="Give a local TCP service a port of the relay.",
)
@click.argument("address", metavar="PORT|HOST:PORT|unix:PATH")
@click.pass_context
def tcp(ctx: click.Context, /, **given: Any) -> None:
    """Give the TCP service at PORT, HOST:PORT or a unix socket a port of the relay.

    Bytes pass as they are: the service asks for passwords and keys itself. Without --cidr-allow anyone can connect.
    Ends on Ctrl-C, and open connections with it.
    """
    flags = flags_from(
        TunnelFlags,
        ctx,
        is_tcp=True,
        url="",
        remote_addr=older_name(given, "remote_addr", "url"),
        proxy_protocol=older_name(given, "proxy_protocol", "proxy_proto"),
        pooling=given["pooling_enabled"],
        policy=texts_of(given, (), OF_CONNECTIONS),
    )
    serve("tunnel tcp", flags, given)
