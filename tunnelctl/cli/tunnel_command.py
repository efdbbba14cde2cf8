"""`tunnel tunnel`: serves the edges that require these labels with a local web app, until it is stopped."""

from typing import Any

import click

from tunnelctl.cli.command import Command
from tunnelctl.cli.flag_values import TunnelFlags, flags_from
from tunnelctl.cli.flags import (
    CONNECTION,
    FAMILIAR,
    INSPECT,
    LOGGING,
    OLDER_PROXY_PROTOCOL,
    PROXY_PROTOCOL,
    TUNNEL,
    UPSTREAM,
    older_name,
)
from tunnelctl.cli.serving import serve

LABEL = click.option(
    "--label",
    "labels",
    multiple=True,
    required=True,
    metavar="NAME=VALUE",
    help="Join the edges whose tunnel group asks for it, as in edge=edghts_2abc. Repeatable.",
)


SECTIONS = {
    "Edge": (LABEL,),
    "Relay": CONNECTION,
    "Tunnel": TUNNEL,
    "App": (UPSTREAM, PROXY_PROTOCOL, INSPECT),
    "Log": LOGGING,
    "-": (*FAMILIAR, OLDER_PROXY_PROTOCOL),  # hidden: an empty section is not written
}
EXAMPLES = (
    ("tunnel tunnel --label edge=edghts_2abc 3000", "Serve the edge of this id, which the relay's dashboard shows."),
    ("tunnel tunnel --label app=shop --label stage=live 3000", "Serve every edge that asks for these labels."),
)


@click.command(
    cls=Command,
    sections=SECTIONS,
    examples=EXAMPLES,
    short_help="Serve an edge that is set up at the relay.",
)
@click.argument("address", metavar="PORT|HOST:PORT|URL")
@click.pass_context
def tunnel(ctx: click.Context, /, **given: Any) -> None:
    """Serve the edges that look for these labels with the web service at PORT, HOST:PORT or URL.

    Address and rules are the edges' own, kept at the relay. Several such tunnels share their requests. Ends on Ctrl-C;
    then requests in flight finish first.
    """
    flags = flags_from(TunnelFlags, ctx, proxy_protocol=older_name(given, "proxy_protocol", "proxy_proto"))
    serve("tunnel tunnel", flags, given)
