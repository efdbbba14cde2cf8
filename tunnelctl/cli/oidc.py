"""`tunnel oidc check`: checks an OpenID provider in the same way as a login uses it, and gives advice."""

import json
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from tunnelctl.agent.address import AddressInvalid, parse_relay
from tunnelctl.cli.command import Group
from tunnelctl.cli.exits import Exit, Failure, plain
from tunnelctl.cli.findings import plain_findings, show_findings
from tunnelctl.cli.flag_values import typed_parameters
from tunnelctl.cli.flags import NO_CONFIG, NO_LOG, with_options
from tunnelctl.cli.output_mode import can_draw
from tunnelctl.cli.settings import ON_THE_COMMAND_LINE
from tunnelctl.oidc.ports import port_rule_in
from tunnelctl.policy.fields import BY_PATH
from tunnelctl.secret_source import SecretMissing, read_secret

if TYPE_CHECKING:
    from tunnelctl.agent.preflight import Client
    from tunnelctl.oidc.findings import Finding
    from tunnelctl.wire.messages import JwtSpec, OidcSpec

PEM_HINT = "name a PEM file of certificates that this user can read"
ABOUT_LOGINS = frozenset({"code_flow", "metadata"})
"""Topics of errors that usually do not matter for tokens alone: a CI system publishes its keys but no login."""
LOGIN_OPTIONS = ("client_id", "client_secret", "redirect_uri")


@click.group(cls=Group)
def oidc() -> None:
    """Look at OpenID providers."""


@oidc.command()
@click.argument("issuer")
@click.option(
    "--client-id",
    default="",
    metavar="ID",
    envvar=BY_PATH["oidc.client_id"].variable,
    help="Check this client too.",
)
@click.option(
    "--client-secret",
    default="",
    metavar="SECRET",
    envvar=BY_PATH["oidc.client_secret"].variable,
    help="Check its secret too: env:NAME, file:PATH, -, or the secret.",
)
@click.option("--redirect-uri", default="", metavar="URI", help="Redirect URI to check with the provider.")
@click.option(
    "--relay",
    default="",
    metavar="URL",
    envvar="TUNNELCTL_RELAY",
    help="Relay to ask for the redirect URI and the allowed ports.",
)
@click.option(
    "--relay-ca",
    default="",
    metavar="FILE",
    envvar="TUNNELCTL_RELAY_CA",
    help="PEM file of the authorities to trust for the relay.",
)
@click.option(
    "--issuer-ca",
    default="",
    metavar="FILE",
    envvar="TUNNELCTL_ISSUER_CA",
    help="PEM file of private authorities to trust for the provider, beside the system's.",
)
@click.option("--for-tokens", is_flag=True, help="People do not log in there; programs show its tokens (--jwt-issuer).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_options(NO_CONFIG, *NO_LOG)
@click.pass_context
def check(
    ctx: click.Context,
    /,
    issuer: str,
    client_id: str,
    client_secret: str,
    redirect_uri: str,
    relay: str,
    relay_ca: str,
    issuer_ca: str,
    for_tokens: bool,
    as_json: bool,
) -> None:
    """Say whether people could log in at ISSUER, or its tokens be taken, and if not, what to do.

    Reads the provider's discovery document and keys by the relay's own rules. With a client id and a redirect URI it
    asks the login page whether it knows both, with a secret the token endpoint whether it takes it. No user is logged
    in by it. Exits with 0, or with 1 when there is an error.
    """
    if redirect_uri and not _is_address(redirect_uri):
        raise Failure(
            Exit.USAGE,
            [f"--redirect-uri: {redirect_uri!r} is not an address like https://idp.tun.example/…"],
            "`tunnel http` prints it",
        )
    typed = typed_parameters(ctx)
    if for_tokens and (given := [f"--{name.replace('_', '-')}" for name in LOGIN_OPTIONS if name in typed]):
        raise Failure(
            Exit.USAGE,
            [f"--for-tokens: not together with {', '.join(given)}, which is about logins"],
            "leave one of them out",
        )
    secret = "" if for_tokens else _secret(client_id, client_secret, is_typed="client_secret" in typed)
    info = _ask_relay(relay, relay_ca) if relay else None
    uri = redirect_uri or (_redirect_uri(relay, info) if info is not None and client_id and not for_tokens else "")
    from tunnelctl.agent.preflight import Client, run_check

    client = Client(id=client_id, secret=secret, redirect_uri=uri) if client_id and not for_tokens else None
    ports = port_rule_in(info) if info is not None else None
    findings = run_check(issuer, client, for_tokens=for_tokens, ports=ports, ca_file=_authorities(issuer_ca))
    if as_json:
        click.echo(as_document(issuer, findings))
    else:
        show_findings(issuer, findings, purpose="its tokens" if for_tokens else "a login")
        if hint := _hint(client, findings, for_tokens=for_tokens):
            click.echo(f"hint: {hint}", err=True)
    if any(finding.level == "error" for finding in findings):
        ctx.exit(Exit.FAILED)


def _hint(client: "Client | None", findings: "Sequence[Finding]", *, for_tokens: bool) -> str:
    """Return a hint at flags that check more, or at the issuer that was probably meant; "" for none."""
    errors = {finding.topic for finding in findings if finding.level == "error"}
    if errors and errors <= ABOUT_LOGINS and not for_tokens:
        return "if only programs' tokens come from there (--jwt-issuer), ask with --for-tokens"
    if client is not None and not client.redirect_uri:
        return "with --redirect-uri (`tunnel http` prints it) the login page is asked too"
    return ""


def as_document(issuer: str, findings: "Sequence[Finding]") -> str:
    """Return the findings as JSON for scripts."""
    return json.dumps(
        {
            "issuer": issuer,
            "ok": not any(finding.level == "error" for finding in findings),
            "findings": plain_findings(findings),
        },
        indent=2,
    )


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.netloc) and text.isascii() and text.isprintable()


def _secret(client_id: str, text: str, *, is_typed: bool) -> str:
    if not text:
        return ""
    if not client_id:
        raise Failure(Exit.USAGE, ["--client-secret: needs --client-id"], "add --client-id ID")
    try:
        secret = read_secret(text, what="--client-secret", environ=os.environ, stdin=sys.stdin)
    except SecretMissing as error:
        raise Failure(Exit.USAGE, [str(error)], "give it itself, or as env:NAME, file:PATH or -") from error
    if secret.is_literal and is_typed and can_draw(sys.stderr):
        click.echo(f"warning: {ON_THE_COMMAND_LINE.format('--client-secret')}", err=True)
    return secret.value


def _authorities(path: str) -> str:
    """Return the file of `--issuer-ca`, after checking that it contains certificates."""
    if not path:
        return ""
    path = os.path.expanduser(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise Failure(Exit.USAGE, [f"--issuer-ca: {path} holds no certificate in PEM form"], PEM_HINT) from error
    except OSError as error:
        raise Failure(Exit.USAGE, [f"--issuer-ca: cannot read {path}: {error.strerror}"], PEM_HINT) from error
    return path


def _ask_relay(relay: str, ca_file: str) -> "Mapping[str, Any] | None":
    """Return the relay's public information; None when it gives none."""
    from tunnelctl.agent.preflight import RelaySilent, run_information_of

    try:
        return run_information_of(parse_relay(relay).url, ca_file or None)
    except AddressInvalid as error:
        raise Failure(Exit.USAGE, [f"--relay: {error}"], "give it as https://tun.example") from error
    except RelaySilent as error:
        _warn_of(relay, f"tells neither its redirect URI nor the ports it calls: {error}")
        return None


def _redirect_uri(relay: str, info: "Mapping[str, Any]") -> str:
    from tunnelctl.agent.preflight import RelaySilent, redirect_uri_in

    try:
        return redirect_uri_in(info)
    except RelaySilent as error:
        _warn_of(relay, f"does not tell its redirect URI: {error}")
        return ""


def _warn_of(relay: str, what: str) -> None:
    click.echo(f"warning: the relay at {relay} {plain(what)}", err=True)


def checked_before_start(logins: "Sequence[OidcSpec]", tokens: "Sequence[JwtSpec]" = ()) -> tuple[str, ...]:
    """Return warnings about the providers with which visitors will log in, and about the issuers of programs' tokens.

    Raises:
        Failure: A provider with which no login can work, or an issuer whose tokens can never be valid.
    """
    from tunnelctl.agent.preflight import run_checks

    of_logins, of_tokens = run_checks([one.issuer for one in logins], [one.issuer for one in tokens])
    info = [
        (f"--oidc {one.issuer}", finding)
        for one in logins
        for finding in of_logins[one.issuer]
        if _matters(finding, one)
    ]
    info += [
        (f"--jwt-issuer {issuer}", finding)
        for issuer, findings in of_tokens.items()
        for finding in findings
        if finding.level == "error"
    ]
    info = list(dict.fromkeys(info))
    mistakes = [(flag, one) for flag, one in info if one.is_a_mistake]
    if mistakes:
        rest = "`tunnel oidc check` tells more; --no-oidc-check starts all the same"
        hint = "; ".join([*dict.fromkeys(one.fix for _, one in mistakes if one.fix), rest])
        raise Failure(Exit.USAGE, [f"{flag}: {one.found}" for flag, one in mistakes], hint)
    return tuple(f"{flag}: {one.found}{f' ({one.fix})' if one.fix else ''}" for flag, one in info if one.level != "ok")


def _matters(finding: "Finding", login: "OidcSpec") -> bool:
    """Return whether a warning matters for the settings of this login."""
    if finding.topic == "email_verified":
        return bool(login.allow_emails or login.allow_domains) and login.email_verified == "claim"
    return True
