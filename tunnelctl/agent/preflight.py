"""Checks an OpenID provider in the same way as a login uses it. `tunnelctl.oidc` judges the responses.

Calls are bounded in time and size; redirects are reported but not followed. No URL, log or finding contains a secret.
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
"""Maximum seconds of one call; the relay waits as long."""
CONNECT_SECONDS = 3.0
HURRIED_SECONDS = 2.5
"""Maximum seconds of one call before a start. A correct provider needs two in a row, so a start is delayed by at most 5
s."""
INFO_PATH = "/_tunnel/info"

FoundBy = dict[str, list[Finding]]
"""The findings of provider checks, by issuer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The client to check, in addition to the provider itself.

    Attributes:
        redirect_uri: Redirect URI; "" when unknown, which skips the check of the authorization endpoint.
        secret: Client secret; "" skips the check of the token endpoint.
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
    """Check a provider and return the findings, in the order of the steps of a login.

    Args:
        client: Client to check too.
        for_tokens: Check only what verifying tokens of programs needs, as no user logs in there.
        ports: Rule for the ports at which the relay calls providers; None when unknown.
        ca_file: PEM file of certificate authorities to trust in addition to the system's; "" for none.
        transport: Makes the calls and is closed afterwards; None for the network.
        clock: Function that returns Unix time, to compare with the provider's clock.
        call_seconds: Maximum seconds of one call. There are four, some of them concurrent.
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
    """Run `check_provider` in an event loop of its own, for a command."""
    return asyncio.run(check_provider(issuer, client, for_tokens=for_tokens, ports=ports, ca_file=ca_file))


def run_checks(
    logins: Iterable[str], tokens: Iterable[str]
) -> tuple[dict[str, list[Finding]], dict[str, list[Finding]]]:
    """Check several issuers concurrently with short limits, as before a start.

    Args:
        logins: Issuers at which people log in.
        tokens: Issuers whose tokens programs present.

    Returns:
        The findings about the first and about the second group, by issuer.
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
    """Return the public information of a relay.

    Args:
        relay: Address of the relay.
        ca_file: PEM file of certificate authorities to trust instead of the system's.

    Raises:
        RelaySilent: The relay gave no usable information.
    """

    answer = asyncio.run(_ask_relay(relay, ByEnvironment(tls_context(ca_file))))
    document, findings = read_document(answer, "relay's information", fix="")
    if document is None:
        raise RelaySilent(findings[0].found)
    return document


async def relay_information(relay: str, ca_file: str | None, proxy: Proxy | None) -> Answer:
    """Request a relay's public information, through the same proxy as the agent's link."""
    way = httpx.AsyncHTTPTransport(verify=tls_context(ca_file), trust_env=False, proxy=for_httpx(proxy))
    return await _ask_relay(relay, way)


async def _ask_relay(relay: str, way: httpx.AsyncBaseTransport) -> Answer:
    caller = _Caller(way, CALL_SECONDS)
    try:
        return await caller.get(f"{relay}{INFO_PATH}")
    finally:
        await caller.aclose()


def redirect_uri_in(document: Mapping[str, Any]) -> str:
    """Return the redirect URI in a relay's information. Raises RelaySilent if owners have different ones."""
    uri = document.get("redirect_uri")
    if not isinstance(uri, str) or not uri.startswith(("https://", "http://")):
        raise RelaySilent("it says nothing about it")
    if "{" in uri:
        raise RelaySilent("each client has its own there; give it by --redirect-uri, `tunnel http` prints it")
    return uri


class _Check:
    """One running check of a provider."""

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
        """Look for the issuer at similar paths when none is at its own: usually a part of the path is missing."""
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
    """Makes calls that are limited in time and size, with a client that has no cookies."""

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
    """Return the transport that calls like the relay: with the system's certificate authorities instead of httpx's, no
    cookies, no redirects.
    """
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return ByEnvironment(context)


def _judge_endpoints(metadata: Metadata, issuer: str, ports: PortRule) -> list[Finding]:
    """Return findings about endpoints that the relay would refuse to call."""
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
    """Return the cause of a failed call, from below the layers in which httpx wraps it."""
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
