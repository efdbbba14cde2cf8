"""`tunnel http`: give a local web service a public address, guarded as asked, until told to stop."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import click

from tunnelctl.agent.options import JWT_AUDIENCE, JWT_CLAIM, JWT_ISSUER, RuleOptions
from tunnelctl.cli.config import config_option
from tunnelctl.cli.exits import Exit, Failure, failure_of
from tunnelctl.cli.records import LEVELS, STYLES, Style
from tunnelctl.cli.settings import HttpFlags, Settings, SettingsInvalid, resolve, typed_parameters

JWT_OPTIONS = {"jwt_issuer": JWT_ISSUER, "jwt_audience": JWT_AUDIENCE, "jwt_claim": JWT_CLAIM}
JWT_ORDER = f"{__name__}.jwt_order"
"""Where a click context keeps the names of those that were typed, in their order and as often as they were."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _option(name: str, help_text: str, metavar: str, *, is_secret: bool = False, env: bool = False) -> Decorator:
    """A flag with one value."""
    variable = f"TUNNELCTL_{name.removeprefix('--').upper().replace('-', '_')}" if env else None
    return click.option(name, default="", metavar=metavar, help=help_text, envvar=variable, show_envvar=not is_secret)


def _many(name: str, parameter: str, help_text: str, metavar: str) -> Decorator:
    """A flag that may be given again and again."""
    return click.option(name, parameter, multiple=True, metavar=metavar, help=f"{help_text} Repeatable.")


OPTIONS: tuple[Decorator, ...] = (
    _option("--relay", "Relay to connect to [default: http://127.0.0.1:8080].", "URL", env=True),
    _option("--relay-ca", "PEM file of the authorities to trust for the relay.", "FILE", env=True),
    _option(
        "--authtoken", "Credential for the relay: env:NAME, file:PATH, -, or itself.", "T", is_secret=True, env=True
    ),
    config_option,
    _option("--subdomain", "Name under the relay's domain.", "NAME"),
    _option("--domain", "Whole host name instead.", "HOST"),
    _option("--url", "Whole public address instead.", "URL"),
    _option("--name", "Name of the tunnel in the log [default: command_line].", "NAME"),
    _option("--oidc", "Visitors log in at this OpenID provider.", "ISSUER", env=True),
    _option("--oidc-client-id", "Client id at the provider.", "ID", env=True),
    _option(
        "--oidc-client-secret", "Client secret: env:NAME, file:PATH, -, or itself.", "SECRET", is_secret=True, env=True
    ),
    _many("--oidc-scope", "oidc_scope", "Scope to ask for besides openid, profile and email.", "SCOPE"),
    _many("--oidc-allow-email", "oidc_allow_email", "Let in this verified e-mail address.", "EMAIL"),
    _many("--oidc-allow-domain", "oidc_allow_domain", "Let in verified e-mail addresses at this domain.", "DOMAIN"),
    _many("--oidc-allow-group", "oidc_allow_group", "Let in members of this group.", "GROUP"),
    _many("--oidc-allow-claim", "oidc_allow_claim", "Let in whose claim has this value.", "NAME=VALUE"),
    _option("--oidc-idle-session-duration", "A login unused for this long ends [default: 1h].", "DURATION"),
    _option("--oidc-max-session-duration", "A login this old ends [default: 8h].", "DURATION"),
    _option(
        "--oidc-userinfo-refresh-interval", "Ask the provider again this often; 0 for never [default: 15m].", "DURATION"
    ),
    _option(
        "--oidc-refresh-error", "Visitors while the provider cannot be asked again [default: keep].", "keep|login|502"
    ),
    _many("--oidc-request-param", "oidc_request_param", "Parameter for the provider's login page.", "NAME=VALUE"),
    _many("--oidc-require-acr", "oidc_require_acr", "How the login must be made, as the provider calls it.", "ACR"),
    _option("--oidc-groups-claim", "Claim that lists groups [default: groups].", "NAME"),
    _option(
        "--oidc-email-verified", "When an e-mail address counts as verified [default: claim].", "claim|text|assumed"
    ),
    _option("--oidc-callback", "Where the provider sends visitors back to [default: relay].", "relay|shared|host"),
    _many("--oidc-cross-site", "oidc_cross_site", "Sites whose pages may use a visitor's login.", "allow:ORIGIN"),
    click.option("--no-oidc-check", is_flag=True, help="Start even if no login can work, as seen from here."),
    click.option("--oidc-allow-cors-preflight", is_flag=True, help="Let CORS preflights pass without a login."),
    _many("--oidc-bearer", "oidc_bearer", "Take tokens for this audience too [default: the client id].", "[=AUDIENCE]"),
    _many(JWT_ISSUER, "jwt_issuer", "Programs show a token of this issuer, with or without --oidc.", "ISSUER"),
    _many(JWT_AUDIENCE, "jwt_audience", "Whom tokens of the issuer before it must be made for.", "AUDIENCE"),
    _many(JWT_CLAIM, "jwt_claim", "What tokens of the issuer before it must say.", "NAME=VALUE"),
    _many(
        "--basic-auth",
        "basic_auth",
        "Visitors give this user and password: env:NAME, file:PATH, or itself.",
        "USER:PASS",
    ),
    _many("--cidr-allow", "cidr_allow", "Let in visitors from this network only.", "NET"),
    _many("--cidr-deny", "cidr_deny", "Keep out visitors from this network.", "NET"),
    _option("--host-header", "Host the service sees: rewrite (its own), preserve, or a value.", "rewrite|VALUE"),
    _many("--request-header-add", "request_add", "Header to add to requests.", "'N: V'"),
    _many("--request-header-remove", "request_remove", "Header to remove from requests.", "N"),
    _many("--response-header-add", "response_add", "Header to add to responses.", "'N: V'"),
    _many("--response-header-remove", "response_remove", "Header to remove from responses.", "N"),
    click.option(
        "--upstream-tls-verify/--no-upstream-tls-verify",
        default=None,
        help="Verify the certificate of an https service [default: unless it is on this machine].",
    ),
    _option("--log", "Where the log goes: stdout, stderr, a file, or false for none.", "WHERE", env=True),
    click.option(
        "--log-format",
        type=click.Choice(STYLES),
        envvar="TUNNELCTL_LOG_FORMAT",
        show_envvar=True,
        help="How records look [default: term, which off a terminal is logfmt].",
    ),
    click.option(
        "--log-level",
        type=click.Choice(list(LEVELS)),
        envvar="TUNNELCTL_LOG_LEVEL",
        show_envvar=True,
        help="The lightest records to write [default: info].",
    ),
)


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


class _HttpCommand(click.Command):
    """Reads what click alone would not.

    `--oidc-bearer` without a value is one with an empty value: click would take the port for it. And of options that
    belong to the one before them it keeps the order, which click forgets: it gathers the values of each by itself.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
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


@click.command(cls=_HttpCommand, short_help="Give a local web service a public address.")
@click.argument("address", metavar="PORT|HOST:PORT|URL")
@_with_options
@click.pass_context
def http(ctx: click.Context, /, **given: Any) -> None:
    """Give the web service at PORT, HOST:PORT or URL a public address.

    Without rules anyone who has the address gets in. Ends on Ctrl-C; then requests in flight finish first.
    """
    settings = _settings(ctx, given)
    style, level = _log_form(given, settings)
    logins = [tunnel.policy.oidc for tunnel in settings.agent.tunnels if tunnel.policy.oidc]
    tokens = [spec for tunnel in settings.agent.tunnels for spec in tunnel.policy.jwt]
    if (logins or tokens) and not given["no_oidc_check"]:
        from tunnelctl.cli.oidc import checked_before_start

        settings = replace(settings, notices=(*settings.notices, *checked_before_start(logins, tokens)))
    from tunnelctl.cli.run import run_agent
    from tunnelctl.cli.view import can_draw, choose_view, opened

    view = choose_view(given["log"] or settings.file.log, settings.file.console_ui, is_terminal=can_draw(sys.stdout))
    if can_draw(sys.stderr) and not view.screen:
        for notice in settings.notices:
            click.echo(f"warning: {notice}", err=True)
    with opened(view, settings.agent, style=style, level=level, notices=settings.notices) as watcher:
        outcome = run_agent(settings.agent, watcher)
    failure = failure_of(outcome, settings.agent.relay.url)
    if failure is not None:
        raise failure


def _settings(ctx: click.Context, given: dict[str, Any]) -> Settings:
    flags = _flags(given, typed_parameters(ctx), _jwt_in_order(ctx, given))
    try:
        return resolve(flags, environ=os.environ, stdin=sys.stdin)
    except SettingsInvalid as error:
        raise Failure(Exit.USAGE, error.problems, "tunnel http --help lists what it takes") from error


def _flags(given: dict[str, Any], typed: frozenset[str], jwt: tuple[tuple[str, str], ...]) -> HttpFlags:
    return HttpFlags(
        address=given["address"],
        config_path=cast("Path | None", given["config_path"]),
        relay=given["relay"],
        relay_ca=given["relay_ca"],
        authtoken=given["authtoken"],
        subdomain=given["subdomain"],
        domain=given["domain"],
        url=given["url"],
        name=given["name"],
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
            basic_auth=given["basic_auth"],
            cidr_allow=given["cidr_allow"],
            cidr_deny=given["cidr_deny"],
            host_header=given["host_header"],
            request_add=given["request_add"],
            request_remove=given["request_remove"],
            response_add=given["response_add"],
            response_remove=given["response_remove"],
        ),
        typed=typed,
        emptied=frozenset(name for name in typed - {"url"} if given[name] == ""),
    )


def _log_form(given: dict[str, Any], settings: Settings) -> tuple[Style, str]:
    """Format and level, from the flag or the file."""
    style = given["log_format"] or settings.file.log_format or "term"
    level = given["log_level"] or settings.file.log_level or "info"
    problems = [
        f"{settings.file.path}: {key} is one of {', '.join(choices)}"
        for key, value, choices in (("log_format", style, STYLES), ("log_level", level, tuple(LEVELS)))
        if value not in choices
    ]
    if problems:
        raise Failure(Exit.USAGE, problems)
    return cast(Style, style), level
