"""`tunnel diagnose`: finds what prevents this machine from having a working tunnel, and gives advice."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunnelctl import __version__
from tunnelctl.agent.configsave import write_private
from tunnelctl.cli.command import Command
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.findings import plain_findings, show_findings
from tunnelctl.cli.flag_values import StartFlags, flags_from
from tunnelctl.cli.flags import CONNECTION, NO_LOG
from tunnelctl.cli.settings import LOGIN_VARIABLE, Settings, SettingsInvalid, resolve
from tunnelctl.policy.named import is_named

if TYPE_CHECKING:
    from tunnelctl.oidc.findings import Finding

REPORT = click.option(
    "--write-report", "-w", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write JSON as well."
)
IPV6 = click.option("--ipv6", "-6", is_flag=True, help="Require that the relay answers over IPv6 too.")
REGION = click.option("--region", "-r", hidden=True, expose_value=False, help="The relay is where it is.")
EXAMPLES = (
    ("tunnel diagnose", "Look at the relay of the configuration file, and at the providers of its tunnels."),
    ("tunnel diagnose --relay https://tun.example --authtoken env:TOKEN", "Look at another relay."),
)


@click.command(
    cls=Command,
    sections={"Relay": CONNECTION, "-": (REGION, *NO_LOG)},
    examples=EXAMPLES,
    short_help="Say what stands in the way of a tunnel.",
)
@REPORT
@IPV6
@click.pass_context
def diagnose(ctx: click.Context, /, write_report: Path | None, ipv6: bool, **given: Any) -> None:
    """Say what stands in the way of a tunnel, and what to do.

    Looks at the proxy, DNS, TLS, the relay and the authtoken, the clock, names under the relay's domain with their
    certificate, and the OpenID providers of the file. Nothing is published. Exits with 0, or with 1 when there is an
    error.
    """
    settings = _settings(flags_from(StartFlags, ctx, none=True))
    from tunnelctl.agent.diagnose import Subject
    from tunnelctl.agent.diagnose import diagnose as findings_about

    agent = settings.agent
    subject = Subject(
        relay=agent.relay,
        token=agent.token,
        job=agent.job,
        ca_file=agent.relay_ca,
        proxy=agent.proxy,
        issuers=_issuers(settings),
        ipv6=ipv6,
    )
    findings = asyncio.run(findings_about(subject))
    if write_report is not None:
        _write(write_report, agent.relay.url, findings)
    show_findings(agent.relay.url, findings, purpose="a tunnel")
    if any(one.level == "error" for one in findings):
        ctx.exit(Exit.FAILED)


def _settings(flags: StartFlags) -> Settings:
    environ = {name: value for name, value in os.environ.items() if name != LOGIN_VARIABLE}
    try:
        return resolve(flags, environ=environ, stdin=sys.stdin)
    except SettingsInvalid as error:
        hint = error.hint or "tunnel diagnose --help lists what it takes"
        raise Failure(Exit.USAGE, error.problems, hint) from error


def _issuers(settings: Settings) -> tuple[str, ...]:
    """Return the providers that the file's tunnels and the environment name.

    Named providers are left out, as the relay checks them.
    """
    texts = [text for tunnel in settings.file.tunnels for text in tunnel.policy.of("oidc.issuer")]
    texts += [text for text in (os.environ.get(LOGIN_VARIABLE, ""),) if text]
    return tuple(text for text in dict.fromkeys(texts) if not is_named(text))


def _write(path: Path, relay: str, findings: "Sequence[Finding]") -> None:
    document = {
        "version": __version__,
        "relay": relay,
        "ok": not any(one.level == "error" for one in findings),
        "findings": plain_findings(findings),
    }
    try:
        write_private(path, json.dumps(document, indent=2) + "\n")
    except OSError as error:
        raise Failure(Exit.FAILED, [f"cannot write {path}: {error.strerror}"], "name another file") from error
