"""Checks all steps between this machine and a working tunnel, for `tunnel diagnose`. Each finding says what to do.

It checks what the agent uses: the proxy, the relay's public information, a link with the authtoken (without publishing
anything), names under the relay's domain and the certificate for them, and the providers with which visitors log in.
"""

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tunnelctl.agent.address import RelayAddress
from tunnelctl.agent.job_identity import JobIdentity, JobTokenAway, NoJobToken
from tunnelctl.agent.preflight import check_provider, relay_information
from tunnelctl.link.dial import NAME_CODES, DialFailed, certificate_hint, dial, tls_context
from tunnelctl.link.proxy import Proxy, ProxyFailed, connect
from tunnelctl.link.tcp import reason
from tunnelctl.oidc.findings import Answered, Finding, error, ok, warning
from tunnelctl.oidc.judge_answer import clock_skew, read_document
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import ReceivedMessage
from tunnelctl.wire.stream import Stream

STEP_SECONDS = 8.0
"""Maximum seconds of one check."""
MAX_SKEW = 30
"""Maximum seconds between this machine's clock and the relay's. With a larger difference certificates and tokens are
refused, or are accepted for too long."""
RENEW = "ask the relay's operator for a certificate that is for the domain and for *.DOMAIN"
LOOK = "look whether the relay runs, and whether a firewall is in between"

Resolve = Callable[[str, int], Awaitable[set[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The relay, credentials and providers to check.

    Attributes:
        token: The authtoken; "" for none.
        job: The CI job whose ID token is sent instead; None for none.
        issuers: Providers with which visitors log in.
        ipv6: The relay must be reachable over IPv6.
    """

    relay: RelayAddress
    token: str = field(default="", repr=False)
    job: JobIdentity | None = None
    ca_file: str | None = None
    proxy: Proxy | None = None
    issuers: tuple[str, ...] = ()
    ipv6: bool = False


async def diagnose(
    subject: Subject, *, resolve: Resolve | None = None, clock: Callable[[], float] = time.time
) -> list[Finding]:
    """Run all checks and return the findings, in the order in which a tunnel needs the steps.

    Args:
        resolve: Function from name and port to addresses, which raises OSError; None for the system's resolver.
        clock: Function that returns Unix time.
    """
    resolve = resolve or _resolve
    findings = [_proxy(subject), *await _relay_name(subject, resolve)]
    if subject.ipv6:
        findings.append(await _over_ipv6(subject, resolve))
    answer = await relay_information(subject.relay.url, subject.ca_file, subject.proxy)
    linked = await _link(subject)
    findings += linked
    if all(one.level != "error" for one in linked):
        document, unread = read_document(answer, "relay's information", fix="is --relay the address of a tunnelrelay?")
        findings += [replace(one, topic="relay") for one in unread]
        if isinstance(answer, Answered):
            findings.append(_clock(answer, clock()))
        if document is not None:
            findings += await _domain(subject, document, resolve)
    return [*findings, *await _providers(subject.issuers)]


def _proxy(subject: Subject) -> Finding:
    if subject.proxy is None:
        return ok("proxy", "the relay is reached without a proxy")
    return ok("proxy", f"the relay is reached through the proxy {subject.proxy.url}")


async def _relay_name(subject: Subject, resolve: Resolve) -> list[Finding]:
    """Check whether the relay's own name resolves. With a proxy it is resolved by the proxy and not checked."""
    host = subject.relay.host
    if subject.proxy is not None:
        return []
    try:
        found = await resolve(host, subject.relay.port)
    except OSError as problem:
        fix = "look for a slip in --relay, and at this machine's DNS"
        return [error("dns", f"the relay's name {host} does not resolve: {reason(problem)}", fix=fix)]
    return [ok("dns", f"the relay's name {host} is {', '.join(sorted(found))}")]


async def _over_ipv6(subject: Subject, resolve: Resolve) -> Finding:
    """Check whether the relay responds at an IPv6 address."""
    relay = subject.relay
    if subject.proxy is not None:
        return ok("ipv6", "the proxy connects to the relay, over IPv6 or not: this machine does not")
    try:
        found = sorted(address for address in await resolve(relay.host, relay.port) if ":" in address)
    except OSError:
        found = []
    if not found:
        fix = f"add an AAAA record for {relay.host}, or leave out --ipv6"
        return error("ipv6", f"the relay's name {relay.host} has no IPv6 address", fix=fix)
    tls = tls_context(subject.ca_file) if relay.scheme == "https" else None
    try:
        async with asyncio.timeout(STEP_SECONDS):
            transport, _ = await connect(
                asyncio.Protocol, found[0], relay.port, tls=tls, server_name=relay.host, proxy=None
            )
    except OSError as problem:  # TimeoutError is one
        fix = "look whether this machine has an IPv6 address and a route, and whether the relay listens at [::]"
        return error("ipv6", f"the relay does not answer at {found[0]}: {reason(problem)}", fix=fix)
    transport.abort()
    return ok("ipv6", f"the relay answers at {found[0]}")


async def _link(subject: Subject) -> list[Finding]:
    """Check whether the relay accepts a link with this authtoken, or with this CI job's ID token."""
    try:
        token = subject.token if subject.job is None else await subject.job.token(subject.relay.url)
    except NoJobToken as problem:
        return [error("authtoken", str(problem), fix=problem.hint)]
    except JobTokenAway as problem:
        return [error("authtoken", str(problem), fix="try again; if it stays so, look at GitHub's status page")]
    began = time.perf_counter()
    try:
        link = await dial(
            subject.relay.url,
            user=_Guest(),
            token=token or None,
            ca_file=subject.ca_file,
            timeout=STEP_SECONDS,
            proxy=subject.proxy,
        )
    except DialFailed as failure:
        return [error(_topic(failure), failure.message, fix=failure.hint or LOOK)]
    took = (time.perf_counter() - began) * 1000
    link.close(Code.NO_ERROR, "it was a look")
    transport = "TLS" if subject.relay.scheme == "https" else "plain http on this machine"
    findings = [ok("tls", f"the connection to the relay is {transport}")]
    who = "with this job's ID token" if subject.job else "with this authtoken" if token else "without an authtoken"
    return [*findings, ok("relay", f"the relay at {subject.relay.url} takes this agent {who} ({took:.0f} ms)")]


def _topic(failure: DialFailed) -> str:
    match failure.__cause__:
        case ssl.SSLError():
            return "tls"
        case ProxyFailed():
            return "proxy"
        case _:
            return "authtoken" if failure.kind == "refused" else "relay"


def _clock(answer: Answered, now: float) -> Finding:
    skew = clock_skew(answer, now)
    if skew is None:
        return ok("clock", "the relay does not tell the time")
    if abs(skew) <= MAX_SKEW:
        return ok("clock", "this machine's clock and the relay's agree")
    side = "behind" if skew > 0 else "ahead of"
    return error(
        "clock",
        f"this machine's clock is {abs(skew):.0f} s {side} the relay's",
        why="certificates and tokens are judged by it",
        fix="set this machine's clock by NTP; if it is right, ask the relay's operator to do so",
    )


async def _domain(subject: Subject, document: Mapping[str, Any], resolve: Resolve) -> list[Finding]:
    """Check that names under the relay's domain resolve for visitors, and that its certificate covers them."""
    domain = document.get("domain")
    if not isinstance(domain, str) or not domain:
        return []
    if domain == "localhost" or domain.endswith(".localhost"):
        return [ok("wildcard", f"browsers of this machine find every name under {domain} by themselves")]
    name = f"diagnose-{secrets.token_hex(4)}.{domain}"
    findings = [await _wildcard(subject, domain, name, resolve)]
    if subject.relay.scheme == "https":
        findings.append(await _certificate(subject, domain, name))
    return findings


async def _wildcard(subject: Subject, domain: str, name: str, resolve: Resolve) -> Finding:
    record = f"add a DNS record for *.{domain} that leads to the relay"
    try:
        found = await resolve(name, subject.relay.port)
    except OSError as problem:
        why = "visitors find no tunnel's name"
        return error("wildcard", f"names under {domain} do not resolve: {reason(problem)}", why=why, fix=record)
    try:
        relay = await resolve(subject.relay.host, subject.relay.port) if subject.proxy is None else found
    except OSError:
        relay = found
    if not found & relay:
        there, here = ", ".join(sorted(found)), ", ".join(sorted(relay))
        why = f"the relay is at {here}; another server in front of it can be meant so"
        return warning("wildcard", f"names under {domain} lead to {there}", why=why, fix=record)
    return ok("wildcard", f"names under {domain} lead to the relay")


async def _certificate(subject: Subject, domain: str, name: str) -> Finding:
    relay = subject.relay
    try:
        async with asyncio.timeout(STEP_SECONDS):
            transport, _ = await connect(
                asyncio.Protocol,
                relay.host,
                relay.port,
                tls=tls_context(subject.ca_file),
                server_name=name,
                proxy=subject.proxy,
            )
    except OSError as problem:  # TimeoutError is one
        return error(
            "certificate", f"TLS for names under {domain} fails: {reason(problem)}", fix=_mend(problem, domain)
        )
    transport.abort()
    return ok("certificate", f"the certificate is good for names under {domain}")


def _mend(problem: OSError, domain: str) -> str:
    """Return advice for a failed TLS handshake with a name under the domain."""
    if not isinstance(problem, ssl.SSLCertVerificationError):
        return LOOK
    return RENEW.replace("DOMAIN", domain) if problem.verify_code in NAME_CODES else certificate_hint(problem)


async def _providers(issuers: Iterable[str]) -> list[Finding]:
    """Return findings about the providers; a single one for a provider without problems."""
    findings = []
    for issuer in dict.fromkeys(issuers):
        wrong = [one for one in await check_provider(issuer) if one.level != "ok"]
        findings += [replace(one, topic="provider", found=f"{issuer}: {one.found}") for one in wrong]
        if not wrong:
            findings.append(ok("provider", f"{issuer}: nothing stands in the way of a login"))
    return findings


async def _resolve(host: str, port: int) -> set[str]:
    async with asyncio.timeout(STEP_SECONDS):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return {str(address[0]) for *_, address in found}


class _Guest:
    """Handles the events of the test link, which is closed as soon as it is open."""

    def on_opened(self, stream: Stream, payload: bytes, fin: bool) -> None:
        """Never called, as no tunnel was offered."""

    def on_about(self, stream: Stream, payload: bytes) -> None:
        """Never called, as no tunnel was offered."""

    def on_message(self, message: ReceivedMessage) -> None:
        """Do nothing: no message was sent that needs an answer."""

    def on_pong(self, rtt: float) -> None:
        """Do nothing: the link does not last long enough."""

    def on_go_away(self, code: Code, reason: str) -> None:
        """Do nothing: the link is closed anyway."""

    def on_closed(self, code: Code, reason: str) -> None:
        """Do nothing: the link was closed on purpose."""
