"""`tunnel http`: give a local web service a public address, guarded as asked, until told to stop."""

from pathlib import Path
from typing import Any, cast

import click

from tunnelctl.agent.flagvalues import pairs_of
from tunnelctl.agent.options import JWT_AUDIENCE, JWT_CLAIM, JWT_ISSUER, RuleOptions
from tunnelctl.cli.command import Command, Decorator
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.flag_values import TunnelFlags, typed_parameters
from tunnelctl.cli.flags import CONNECTION, FAMILIAR_HTTP, LOGGING, TUNNEL, UPSTREAM, many, option
from tunnelctl.cli.serving import serve

JWT_OPTIONS = {"jwt_issuer": JWT_ISSUER, "jwt_audience": JWT_AUDIENCE, "jwt_claim": JWT_CLAIM}
JWT_ORDER = f"{__name__}.jwt_order"
"""Where a click context keeps the names of those that were typed, in their order and as often as they were."""

ADDRESS: tuple[Decorator, ...] = (
    option("--subdomain", "Name under the relay's domain.", "NAME"),
    option("--domain", "Whole host name instead.", "HOST"),
    option("--url", "Whole public address instead.", "URL"),
    option("--edge", "Join this edge, by id, host or name: its address and rules are kept at the relay.", "NAME"),
    click.option("--pooling-enabled", is_flag=True, help="Share the address with your other tunnels that say so too."),
    *TUNNEL,
)
LOGIN: tuple[Decorator, ...] = (
    option(
        "--oidc",
        "Visitors log in at this OpenID provider, or at one the relay knows by name.",
        "ISSUER|@NAME",
        env=True,
    ),
    option("--oidc-client-id", "Client id at the provider.", "ID", env=True),
    option(
        "--oidc-client-secret", "Client secret: env:NAME, file:PATH, -, or itself.", "SECRET", is_secret=True, env=True
    ),
    many("--oidc-scope", "oidc_scope", "Scope to ask for besides openid, profile and email.", "SCOPE"),
    many("--oidc-allow-email", "oidc_allow_email", "Let in this verified e-mail address.", "EMAIL"),
    many("--oidc-allow-domain", "oidc_allow_domain", "Let in verified e-mail addresses at this domain.", "DOMAIN"),
    many("--oidc-allow-group", "oidc_allow_group", "Let in members of this group.", "GROUP"),
    many("--oidc-allow-claim", "oidc_allow_claim", "Let in visitors whose claim has this value.", "NAME=VALUE"),
    option("--oidc-idle-session-duration", "A login unused for this long ends [default: 1h].", "DURATION"),
    option("--oidc-max-session-duration", "A login this old ends [default: 8h].", "DURATION"),
    option(
        "--oidc-userinfo-refresh-interval", "Ask the provider again this often; 0 for never [default: 15m].", "DURATION"
    ),
    option(
        "--oidc-refresh-error", "Visitors while the provider cannot be asked again [default: keep].", "keep|login|502"
    ),
    many("--oidc-request-param", "oidc_request_param", "Parameter for the provider's login page.", "NAME=VALUE"),
    many("--oidc-require-acr", "oidc_require_acr", "How the login must be made, as the provider calls it.", "ACR"),
    option("--oidc-groups-claim", "Claim that lists groups [default: groups].", "NAME"),
    option(
        "--oidc-email-verified", "When an e-mail address counts as verified [default: claim].", "claim|text|assumed"
    ),
    option("--oidc-callback", "Where the provider sends visitors back to [default: relay].", "relay|shared|host"),
    many("--oidc-cross-site", "oidc_cross_site", "Sites whose pages may use a visitor's login.", "allow:ORIGIN"),
    click.option("--no-oidc-check", is_flag=True, help="Start even if no login can work, as seen from here."),
    click.option("--oidc-allow-cors-preflight", is_flag=True, help="Let CORS preflights pass without a login."),
)
OTHER_RULES: tuple[Decorator, ...] = (
    many("--oidc-bearer", "oidc_bearer", "Take tokens for this audience too [default: the client id].", "[=AUDIENCE]"),
    many(JWT_ISSUER, "jwt_issuer", "Programs show a token of this issuer, with or without --oidc.", "ISSUER"),
    many(JWT_AUDIENCE, "jwt_audience", "Whom tokens of the issuer before it must be made for.", "AUDIENCE"),
    many(JWT_CLAIM, "jwt_claim", "What tokens of the issuer before it must say.", "NAME=VALUE"),
    many(
        "--basic-auth",
        "basic_auth",
        "Visitors give this user and password: env:NAME, file:PATH, or itself.",
        "USER:PASS",
    ),
    many("--cidr-allow", "cidr_allow", "Let in visitors from this network only.", "NET"),
    many("--cidr-deny", "cidr_deny", "Keep out visitors from this network.", "NET"),
)
HEADERS: tuple[Decorator, ...] = (
    option("--host-header", "Host the service sees: rewrite (its own), preserve, or a value.", "rewrite|VALUE"),
    many("--request-header-add", "request_add", "Header to add to requests.", "'N: V'"),
    many("--request-header-remove", "request_remove", "Header to remove from requests.", "N"),
    many("--response-header-add", "response_add", "Header to add to responses.", "'N: V'"),
    many("--response-header-remove", "response_remove", "Header to remove from responses.", "N"),
)
SECTIONS: dict[str, tuple[Decorator, ...]] = {
    "Relay": CONNECTION,
    "Address": ADDRESS,
    "Login": LOGIN,
    "Other rules": OTHER_RULES,
    "Headers": HEADERS,
    "App": (UPSTREAM,),
    "Log": LOGGING,
    "-": FAMILIAR_HTTP,  # hidden: a section without a line is not written
}
EXAMPLES = (
    ("tunnel http 3000", "The app on port 3000 gets an address, through a relay on this machine."),
    (
        "tunnel http 3000 --relay https://tun.example --authtoken env:TOKEN --subdomain demo",
        "At demo.tun.example, through a relay elsewhere.",
    ),
    (
        "tunnel http 3000 --oidc https://acme.okta.com --oidc-client-id ID --oidc-client-secret env:SECRET "
        "--oidc-allow-domain acme.com",
        "Only people who log in with an address at acme.com see it.",
    ),
)


class _HttpCommand(Command):
    """Reads what click alone would not.

    `--oidc-bearer` without a value is one with an empty value: click would take the port for it. And of options that
    belong to the one before them it keeps the order, which click forgets: it gathers the values of each by itself.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = self.with_plain_switches(args)
        end = args.index("--") if "--" in args else len(args)
        args = [f"{arg}=" if arg == "--oidc-bearer" and at < end else arg for at, arg in enumerate(args)]
        _, _, order = self.make_parser(ctx).parse_args([*args])
        ctx.meta[JWT_ORDER] = [one.name for one in order if one.name in JWT_OPTIONS]
        return super().parse_args(ctx, args)


def _jwt_in_order(ctx: click.Context, given: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The `--jwt-…` options with their values, as they were typed."""
    order = ctx.meta[JWT_ORDER]
    assert len(order) == sum(len(given[name]) for name in JWT_OPTIONS)  # a rule that got lost would let others in
    values = {name: iter(given[name]) for name in JWT_OPTIONS}
    return tuple((JWT_OPTIONS[name], next(values[name])) for name in order)


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

    Without rules anyone who has the address gets in. With --edge the address and its rules are the edge's. Ends on
    Ctrl-C; then requests in flight finish first.
    """
    flags = _flags(given, typed_parameters(ctx), _jwt_in_order(ctx, given))
    serve("tunnel http", flags, given, checks_providers=not given["no_oidc_check"])


def _flags(given: dict[str, Any], typed: frozenset[str], jwt: tuple[tuple[str, str], ...]) -> TunnelFlags:
    return TunnelFlags(
        address=given["address"],
        config_path=cast("Path | None", given["config_path"]),
        relay=given["relay"],
        relay_ca=given["relay_ca"],
        proxy_url=given["proxy_url"],
        authtoken=given["authtoken"],
        subdomain=given["subdomain"],
        domain=_domain(given),
        url=given["url"],
        name=given["name"],
        metadata=given["metadata"],
        edge=given["edge"],
        pooling=given["pooling_enabled"],
        weight=given["weight"],
        upstream_tls_verify=given["upstream_tls_verify"],
        oidc_client_secret=given["oidc_client_secret"],
        rules=RuleOptions(
            oidc=given["oidc"],
            oidc_client_id=given["oidc_client_id"],
            oidc_scope=given["oidc_scope"],
            oidc_allow_email=given["oidc_allow_email"],
            oidc_allow_domain=given["oidc_allow_domain"],
            oidc_allow_group=given["oidc_allow_group"],
            oidc_allow_claim=given["oidc_allow_claim"],
            oidc_idle=given["oidc_idle_session_duration"],
            oidc_max=given["oidc_max_session_duration"],
            oidc_recheck=given["oidc_userinfo_refresh_interval"],
            oidc_recheck_error=given["oidc_refresh_error"],
            oidc_groups_claim=given["oidc_groups_claim"],
            oidc_email_verified=given["oidc_email_verified"],
            oidc_request_param=given["oidc_request_param"],
            oidc_require_acr=given["oidc_require_acr"],
            oidc_callback=given["oidc_callback"],
            oidc_cross_site=given["oidc_cross_site"],
            oidc_allow_preflight=given["oidc_allow_cors_preflight"],
            oidc_bearer=given["oidc_bearer"],
            jwt=jwt,
            basic_auth=tuple(pair for text in given["basic_auth"] for pair in pairs_of(text)),
            cidr_allow=given["cidr_allow"],
            cidr_deny=given["cidr_deny"],
            host_header=given["host_header"],
            request_add=given["request_add"],
            request_remove=given["request_remove"],
            response_add=given["response_add"],
            response_remove=given["response_remove"],
        ),
        typed=typed,
        emptied=frozenset(name for name in typed - {"url", "metadata"} if given[name] == ""),
    )


def _domain(given: dict[str, Any]) -> str:
    """The host by either name of the flag."""
    if given["domain"] and given["hostname"]:
        raise Failure(Exit.USAGE, ["--domain and --hostname are two names of one flag"], "give it once, as --domain")
    return str(given["domain"] or given["hostname"])
