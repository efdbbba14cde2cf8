"""`tunnel http`: gives a local web app a public address, with access rules, until it is stopped."""

from typing import Any

import click

from tunnelctl.cli.command import Command, Decorator
from tunnelctl.cli.flag_values import TunnelFlags, flags_from
from tunnelctl.cli.flags import (
    CONNECTION,
    FAMILIAR_HTTP,
    INSPECT,
    LOGGING,
    OLDER_PROXY_PROTOCOL,
    PROXY_PROTOCOL,
    TUNNEL,
    UPSTREAM,
    older_name,
    option,
)
from tunnelctl.cli.policy_flags import ORDER, flags_in, texts_of, with_bare_values
from tunnelctl.cli.serving import serve

ADDRESS: tuple[Decorator, ...] = (
    option("--subdomain", "Name under the relay's domain.", "NAME"),
    option("--domain", "Whole host name instead.", "HOST"),
    option("--url", "Whole public address instead.", "URL"),
    option("--edge", "Join this edge, by id, host or name: its address and rules are kept at the relay.", "NAME"),
    click.option(
        "--pooling-enabled", is_flag=True, help="Share the address with your other tunnels that have this flag."
    ),
    *TUNNEL,
)
CHECK: Decorator = click.option(
    "--no-oidc-check", is_flag=True, help="Skip the check of the provider before the start."
)
SECTIONS: dict[str, tuple[Decorator, ...]] = {
    "Relay": CONNECTION,
    "Address": ADDRESS,
    "Login": (*flags_in("Login"), CHECK),
    "Other rules": flags_in("Other rules"),
    "Headers": flags_in("Headers"),
    "App": (UPSTREAM, PROXY_PROTOCOL, INSPECT),
    "Log": LOGGING,
    "-": (*FAMILIAR_HTTP, OLDER_PROXY_PROTOCOL),  # hidden: an empty section is not written
}
EXAMPLES = (
    ("tunnel http 3000", "The app on port 3000 gets an address, through a relay on this machine."),
    (
        "tunnel http 3000 --relay https://tun.example --authtoken env:TOKEN --subdomain demo",
        "At demo.tun.example, through a relay elsewhere.",
    ),
    ("tunnel http file:///srv/site", "The files of a directory get an address, without a web server."),
    (
        "tunnel http 3000 --oidc https://acme.okta.com --oidc-client-id ID --oidc-client-secret env:SECRET "
        "--oidc-allow-domain acme.com",
        "Only people who log in with an address at acme.com see it.",
    ),
)


class _HttpCommand(Command):
    """Records the order in which options were typed, which click does not keep, and accepts `--oidc-bearer` without a
    value.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = with_bare_values(self.with_plain_switches(args))
        _, _, order = self.make_parser(ctx).parse_args([*args])
        ctx.meta[ORDER] = [one.name for one in order]
        return super().parse_args(ctx, args)


@click.command(
    cls=_HttpCommand,
    sections=SECTIONS,
    examples=EXAMPLES,
    short_help="Give a local web service a public address.",
)
@click.argument("address", metavar="PORT|HOST:PORT|URL")
@click.pass_context
def http(ctx: click.Context, /, **given: Any) -> None:
    """Give the web service at PORT, HOST:PORT or URL a public address.

    URL is http:// or https://, file:///DIR for the files of a directory, or unix:/PATH for a service at a socket.

    Without rules anyone who has the address gets in. With --edge the address and its rules are the edge's. Ends on
    Ctrl-C; then requests in flight finish first.
    """
    flags = flags_from(
        TunnelFlags,
        ctx,
        domain=older_name(given, "domain", "hostname"),
        proxy_protocol=older_name(given, "proxy_protocol", "proxy_proto"),
        pooling=given["pooling_enabled"],
        policy=texts_of(given, ctx.meta[ORDER]),
    )
    serve("tunnel http", flags, given, checks_providers=not given["no_oidc_check"])
