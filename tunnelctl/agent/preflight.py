"""Look at an OpenID provider as a login would, and say what is wrong. What answers mean is judged in `tunnelctl.oidc`.

Calls are bounded in time and size; redirects are told, not followed. No secret is in an address, a log or a finding.
"""

import asyncio
import hashlib
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import httpx

from tunnelctl.agent.wayout import ByEnvironment, for_httpx
from tunnelctl.link.dial import tls_context
from tunnelctl.link.proxy import Proxy
from tunnelctl.oidc.base64url import b64url
from tunnelctl.oidc.client_auth import authenticated
from tunnelctl.oidc.findings import Answer, Answered, Finding, Unanswered, ok
from tunnelctl.oidc.judge_answer import MAX_DOCUMENT, judge_pace, read_document
from tunnelctl.oidc.judge_client import judge_authorization, judge_token_answer, probe_url
from tunnelctl.oidc.judge_issuer import candidates, judge_issuer, judge_port, path_hint
from tunnelctl.oidc.judge_keys import judge_keys
from tunnelctl.oidc.judge_metadata import judge_metadata, judge_token_issuer
from tunnelctl.oidc.metadata import Metadata, discovery_url
from tunnelctl.oidc.ports import PortRule
from tunnelctl.wire.texts import is_loopback

CALL_SECONDS = 8.0
"""For one call, everything included; as long as the relay waits."""
CONNECT_SECONDS = 3.0
HURRIED_SECONDS = 2.5
"""For one call before a start. Of a provider in order there are two in a row: they delay no start by more than 5 s."""
INFO_PATH = "/_tunnel/info"

FoundBy = dict[str, list[Finding]]
"""What was found, by issuer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What to check beside the provider itself.

    Attributes:
        redirect_uri: "" when it is not known; then the authorization endpoint is not asked.
        secret: "" to leave the token endpoint alone.
    """

    id: str
    secret: str = field(default="", repr=False)
    redirect_uri: str = ""


async def check_provider(
    issuer: str,
    client: Client | None = None,
    *,
    for_tokens: bool = False,
    ports: PortRule | None = None,
    ca_file: str = "",
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Callable[[], float] = time.time,
    call_seconds: float = CALL_SECONDS,
) -> list[Finding]:
    """Check a provider; returns the findings in the order in which a login would meet them.

    Args:
        client: Ask about this client too.
        for_tokens: No user logs in there: only what it takes to check the tokens it signs for programs.
        ports: At which ports the relay that is to serve the login calls providers; None when that is not known.
        ca_file: PEM file of authorities to trust beside the system's; "" for none.
        transport: Makes the calls; None for the network. It is closed.
        clock: Unix time, to compare the provider's clock with.
        call_seconds: Limit for one call. There are four, of which some run at once.
    """
    allow_http = is_loopback(_host(issuer))
    findings = judge_issuer(issuer, allow_http=allow_http)
    if not findings and ports is not None:
        findings = judge_port(issuer, "the issuer", issuer, ports)
    if findings:
        return findings
    caller = _Caller(transport or _network(ca_file), call_seconds)
    check = _Check(issuer, client, caller, clock, allow_http=allow_http, for_tokens=for_tokens, ports=ports)
    try:
        return await check.run()
    finally:
        await caller.aclose()


def run_check(
    issuer: str,
    client: Client | None = None,
    *,
    for_tokens: bool = False,
    ports: PortRule | None = None,
    ca_file: str = "",
) -> list[Finding]:
    """`check_provider`, for a command."""
    return asyncio.run(check_provider(issuer, client, for_tokens=for_tokens, ports=ports, ca_file=ca_file))


def run_checks(
    logins: Iterable[str], tokens: Iterable[str]
) -> tuple[dict[str, list[Finding]], dict[str, list[Finding]]]:
    """The findings about several issuers, asked at once and in a hurry, as before a start.

    Args:
        logins: Where people are to log in.
        tokens: Whose tokens programs are to show.

    Returns:
        What was found about the one and about the other.
    """

    async def group(issuers: Iterable[str], *, for_tokens: bool) -> FoundBy:
        distinct = tuple(dict.fromkeys(issuers))
        checks = (check_provider(one, for_tokens=for_tokens, call_seconds=HURRIED_SECONDS) for one in distinct)
        return dict(zip(distinct, await asyncio.gather(*checks), strict=True))

    async def run() -> tuple[FoundBy, FoundBy]:
        return await asyncio.gather(group(logins, for_tokens=False), group(tokens, for_tokens=True))

    return asyncio.run(run())


class RelaySilent(Exception):
    """The relay gave no usable information about itself."""


def run_information_of(relay: str, ca_file: str | None) -> Mapping[str, Any]:
    """The public information of a relay.

    Args:
        relay: Its address.
        ca_file: PEM file of authorities to trust instead of the system's.

    Raises:
        RelaySilent: It told nothing.
    """

    answer = asyncio.run(_ask_relay(relay, ByEnvironment(tls_context(ca_file))))
    document, findings = read_document(answer, "relay's information", fix="")
    if document is None:
        raise RelaySilent(findings[0].found)
    return document


async def relay_information(relay: str, ca_file: str | None, proxy: Proxy | None) -> Answer:
    """A relay's answer to a question about itself, by the way that the agent's link takes."""
    way = httpx.AsyncHTTPTransport(verify=tls_context(ca_file), trust_env=False, proxy=for_httpx(proxy))
    return await _ask_relay(relay, way)


async def _ask_relay(relay: str, way: httpx.AsyncBaseTransport) -> Answer:
    caller = _Caller(way, CALL_SECONDS)
    try:
        return await caller.get(f"{relay}{INFO_PATH}")
    finally:
        await caller.aclose()


def redirect_uri_in(document: Mapping[str, Any]) -> str:
    """The redirect URI in a relay's information. Raises RelaySilent when there is not one for all owners."""
    uri = document.get("redirect_uri")
    if not isinstance(uri, str) or not uri.startswith(("https://", "http://")):
        raise RelaySilent("it says nothing about it")
    if "{" in uri:
        raise RelaySilent("each client has its own there; give it by --redirect-uri, `tunnel http` prints it")
    return uri


class _Check:
    """One check under way."""

    def __init__(
        self,
        issuer: str,
        client: Client | None,
        caller: "_Caller",
        clock: Callable[[], float],
        *,
        allow_http: bool,
        for_tokens: bool,
        ports: PortRule | None,
    ) -> None:
        self._issuer = issuer
        self._client = client
        self._caller = caller
        self._clock = clock
        self._allow_http = allow_http
        self._ports = ports
        self._judge = judge_token_issuer if for_tokens else judge_metadata

    async def run(self) -> list[Finding]:
        answer = await self._caller.get(discovery_url(self._issuer))
        document, findings = _read_discovery(answer)
        if document is None:
            return [await self._with_better_hint(finding) for finding in findings]
        took = answer.seconds if isinstance(answer, Answered) else 0.0
        findings = [
            ok("discovery", f"its discovery document came in {took * 1000:.0f} ms"),
            *judge_pace(answer, self._clock()),
        ]
        metadata, judged = self._judge(document, issuer=self._issuer, allow_http=self._allow_http)
        findings += judged
        if metadata is None:
            return findings
        refused = [] if self._ports is None else _judge_endpoints(metadata, self._issuer, self._ports)
        if refused:
            return [*findings, *refused]
        parts = await asyncio.gather(self._keys(metadata), self._authorization(metadata), self._secret(metadata))
        return [*findings, *(finding for part in parts for finding in part)]

    async def _with_better_hint(self, finding: Finding) -> Finding:
        """Look for the issuer at nearby paths when nothing is at its own: mostly a piece of the path is missing."""
        if finding.topic not in ("not_found", "not_json", "status"):
            return finding
        others = candidates(self._issuer)
        answers = await asyncio.gather(*(self._caller.get(discovery_url(other)) for other in others))
        documents = [_read_discovery(answer)[0] for answer in answers]
        there = tuple(
            other
            for other, document in zip(others, documents, strict=True)
            if document is not None and str(document.get("issuer")).rstrip("/") == other.rstrip("/")
        )
        hint = path_hint(self._issuer, there)
        return replace(finding, fix=hint)

    async def _keys(self, metadata: Metadata) -> list[Finding]:
        answer = await self._caller.get(metadata.jwks_uri)
        document, findings = read_document(answer, "set of keys", fix="have the provider serve its keys at `jwks_uri`")
        return findings if document is None else judge_keys(document, metadata.algorithms)

    async def _authorization(self, metadata: Metadata) -> list[Finding]:
        client = self._client
        if client is None or not client.redirect_uri:
            return []
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = b64url(hashlib.sha256(verifier.encode("ascii")).digest())
        url = probe_url(
            metadata, client_id=client.id, redirect_uri=client.redirect_uri, random=(state, nonce, challenge)
        )
        answer = await self._caller.get(url, accept="text/html,application/json;q=0.9,*/*;q=0.8")
        return judge_authorization(answer, metadata, redirect_uri=client.redirect_uri, state=state)

    async def _secret(self, metadata: Metadata) -> list[Finding]:
        client = self._client
        if client is None or not client.secret:
            return []
        form = {
            "grant_type": "authorization_code",
            "code": f"no-such-code-{secrets.token_urlsafe(16)}",
            "redirect_uri": client.redirect_uri or "https://localhost/",
            "code_verifier": secrets.token_urlsafe(48),
        }
        body, headers = authenticated(
            form, method=metadata.auth_method, client_id=client.id, client_secret=client.secret
        )
        answer = await self._caller.post_form(metadata.token_endpoint, body, headers)
        return judge_token_answer(answer, metadata.auth_method)


class _Caller:
    """Bounded calls over one client without cookies."""

    def __init__(self, transport: httpx.AsyncBaseTransport, seconds: float) -> None:
        self._seconds = seconds
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._client = httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            cookies=no_cookies,
            follow_redirects=False,
            timeout=httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds)),
            headers={"User-Agent": "tunnelctl", "Accept-Encoding": "identity"},
        )

    async def get(self, url: str, *, accept: str = "application/json") -> Answer:
        return await self._call(self._client.build_request("GET", url, headers={"Accept": accept}))

    async def post_form(self, url: str, form: bytes, headers: dict[str, str]) -> Answer:
        given = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded", **headers}
        return await self._call(self._client.build_request("POST", url, content=form, headers=given))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _call(self, request: httpx.Request) -> Answer:
        url = str(request.url)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._exchange(request, url)
        except (TimeoutError, httpx.TimeoutException):
            return Unanswered(url=url, topic="slow")
        except httpx.HTTPError as error:
            return _unanswered(url, error)

    async def _exchange(self, request: httpx.Request, url: str) -> Answered:
        began = time.perf_counter()
        response = await self._client.send(request, stream=True)
        body = bytearray()
        try:
            async for part in response.aiter_raw():
                body += part
                if len(body) > MAX_DOCUMENT:
                    break
        finally:
            await response.aclose()
        return Answered(
            url=url,
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=bytes(body[:MAX_DOCUMENT]),
            is_cut=len(body) > MAX_DOCUMENT,
            seconds=time.perf_counter() - began,
        )


def _network(ca_file: str) -> httpx.AsyncBaseTransport:
    """As the relay calls: the system's authorities and not httpx's own, no cookies, no redirects."""
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return ByEnvironment(context)


def _judge_endpoints(metadata: Metadata, issuer: str, ports: PortRule) -> list[Finding]:
    """Which of the addresses that the relay itself calls it would refuse."""
    called = {
        "token_endpoint": metadata.token_endpoint,
        "jwks_uri": metadata.jwks_uri,
        "userinfo_endpoint": metadata.userinfo_endpoint,
        "revocation_endpoint": metadata.revocation_endpoint,
    }
    return [finding for name, url in called.items() for finding in judge_port(url, f"its {name}", issuer, ports)]


def _read_discovery(answer: Answer) -> tuple[dict[str, Any] | None, list[Finding]]:
    return read_document(answer, "discovery document", fix="check the issuer's path")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _unanswered(url: str, error: httpx.HTTPError) -> Unanswered:
    """The cause of a failed call, from below the layers in which httpx wraps it."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ssl.SSLCertVerificationError():
                return Unanswered(url=url, topic="tls", detail=cause.verify_message)
            case ssl.SSLError():
                return Unanswered(url=url, topic="tls", detail=cause.reason or "the handshake failed")
            case socket.gaierror():
                return Unanswered(url=url, topic="dns")
        cause = cause.__cause__ or cause.__context__
    return Unanswered(url=url, topic="unreachable", detail=str(error) or type(error).__name__)
