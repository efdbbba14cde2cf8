"""`tunnel oidc check` against a provider with one thing wrong at a time: what is found, how bad it is, what to do."""

import json
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from tunnelctl.agent.preflight import Client, RelaySilent, check_provider, redirect_uri_in
from tunnelctl.oidc.findings import Finding
from tunnelctl.oidc.ports import DEFAULT_PORTS, PortRule

ISSUER = "https://idp.acme.example"
REDIRECT_URI = "https://idp.tun.example/oauth2/callback"
SECRET = "s3cret-canary%+"
JSON = {"content-type": "application/json"}
NOW = 1_800_000_000.0
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
DISCOVERY = "/.well-known/openid-configuration"
RSA = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
CLIENT = Client(id="client-1", secret=SECRET, redirect_uri=REDIRECT_URI)

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def as_json(content: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=content, headers={"date": DATE})


def page(text: str, status: int = 200) -> httpx.Response:
    return httpx.Response(status, text=text, headers={"content-type": "text/html; charset=utf-8"})


def sent_back(**lies: str) -> Callable[[httpx.Request], httpx.Response]:
    """A provider that knows the client, and that nobody is signed in."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = dict(parse_qsl(request.url.query.decode()))
        given = {"error": "login_required", "state": asked["state"], "iss": ISSUER, **lies}
        location = f"{asked['redirect_uri']}?{urlencode({k: v for k, v in given.items() if v})}"
        return httpx.Response(303, headers={"location": location, "set-cookie": "session=1"})

    return answer


class Provider(httpx.AsyncBaseTransport):
    """In order, until a test says otherwise.

    Attributes:
        metadata: Laid over the discovery document; a None removes the member.
        answers: URL or path -> the answer instead.
    """

    def __init__(self, issuer: str = ISSUER) -> None:
        self.issuer = issuer
        self.metadata: dict[str, Any] = {}
        self.keys: list[Any] = [RSA.as_dict(private=False)]
        self.answers: dict[str, Answer] = {}
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        answer = self.answers.get(str(request.url), self.answers.get(request.url.path, self._honest(request)))
        if isinstance(answer, Exception):
            raise answer
        ready = answer if isinstance(answer, httpx.Response) else answer(request)
        # As from the network: a stream that was not read yet.
        return httpx.Response(ready.status_code, headers=ready.headers, stream=httpx.ByteStream(ready.content))

    def _honest(self, request: httpx.Request) -> Answer:
        match request.url.path.removeprefix(urlsplit(self.issuer).path.rstrip("/")):
            case "/.well-known/openid-configuration":
                return as_json({name: value for name, value in self.document().items() if value is not None})
            case "/jwks":
                return as_json({"keys": self.keys})
            case "/authorize":
                return sent_back()
            case "/token":
                return as_json({"error": "invalid_grant"}, 400)
        return page("not here", 404)

    def document(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "response_types_supported": ["code"],
            "scopes_supported": ["openid", "email", "profile", "groups", "offline_access"],
            "claims_supported": ["sub", "email", "email_verified", "groups"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "authorization_response_iss_parameter_supported": True,
            "end_session_endpoint": f"{self.issuer}/logout",
            "backchannel_logout_supported": True,
            **self.metadata,
        }


async def look(provider: Provider, issuer: str = ISSUER, client: Client | None = CLIENT) -> list[Finding]:
    return await check_provider(issuer, client, transport=provider, clock=lambda: NOW, call_seconds=0.5)


def bad(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.topic) for finding in findings if finding.level != "ok"]


async def only(provider: Provider, issuer: str = ISSUER, client: Client | None = CLIENT) -> Finding:
    """The one thing that is not in order."""
    (finding,) = [finding for finding in await look(provider, issuer, client) if finding.level != "ok"]
    return finding


# In order


async def test_a_provider_in_order_has_nothing_but_good_news() -> None:
    findings = await look(Provider())
    assert bad(findings) == []
    topics = {finding.topic for finding in findings}
    assert {"discovery", "issuer", "signatures", "pkce", "iss", "sessions", "keys", "client", "secret"} <= topics
    (sessions,) = [finding.found for finding in findings if finding.topic == "sessions"]
    assert "offline_access" in sessions
    assert "back-channel logout" in sessions


async def test_it_asks_as_a_login_would_and_for_nobody() -> None:
    provider = Provider()
    await look(provider)
    (asked,) = [dict(parse_qsl(r.url.query.decode())) for r in provider.requests if r.url.path == "/authorize"]
    assert {"response_type": "code", "prompt": "none", "code_challenge_method": "S256"}.items() <= asked.items()
    assert asked["client_id"] == "client-1"
    assert asked["redirect_uri"] == REDIRECT_URI
    assert asked["scope"] == "openid profile email"
    assert len(asked["code_challenge"]) == 43


async def test_cookies_are_not_kept_and_the_secret_goes_to_the_token_endpoint_alone() -> None:
    provider = Provider()
    provider.answers[DISCOVERY] = httpx.Response(200, json=provider.document(), headers={"set-cookie": "a=b; Path=/"})
    findings = await look(provider)
    assert not [r for r in provider.requests if "cookie" in r.headers]
    with_credentials = [r.url.path for r in provider.requests if "authorization" in r.headers]
    assert with_credentials == ["/token"]
    assert SECRET not in json.dumps([finding.found + finding.why + finding.fix for finding in findings])
    assert all(SECRET not in str(r.url) for r in provider.requests)
    assert SECRET not in repr(CLIENT)


async def test_without_a_client_no_client_is_asked_about() -> None:
    provider = Provider()
    await look(provider, client=None)
    assert [r.url.path for r in provider.requests] == [DISCOVERY, "/jwks"]


@pytest.mark.parametrize(("asked", "told"), [(ISSUER, ISSUER + "/"), (ISSUER + "/", ISSUER), (ISSUER + "/",) * 2])
async def test_one_slash_at_the_end_is_no_mistake(asked: str, told: str) -> None:
    provider = Provider()
    provider.metadata["issuer"] = told
    provider.answers["/authorize"] = sent_back(iss=told)
    assert bad(await look(provider, asked)) == []


# An issuer of tokens, where nobody logs in

NO_LOGINS = dict.fromkeys(("authorization_endpoint", "token_endpoint", "userinfo_endpoint"), None) | {
    "response_types_supported": ["id_token"],
    "code_challenge_methods_supported": ["plain"],
    "scopes_supported": ["openid"],
}
"""As GitHub Actions publishes."""


async def look_for_tokens(provider: Provider) -> list[Finding]:
    return await check_provider(ISSUER, for_tokens=True, transport=provider, clock=lambda: NOW, call_seconds=0.5)


async def test_of_an_issuer_of_tokens_only_its_name_and_its_keys_matter() -> None:
    provider = Provider()
    provider.metadata |= NO_LOGINS
    assert ("error", "code_flow") in bad(await look(provider, client=None))

    findings = await look_for_tokens(provider)
    assert [finding.topic for finding in findings] == ["discovery", "issuer", "signatures", "keys"]
    assert bad(findings) == []


@pytest.mark.parametrize(
    ("lies", "topic"),
    [
        ({"issuer": "https://ci.other.example"}, "issuer_mismatch"),
        ({"id_token_signing_alg_values_supported": ["HS256"]}, "signatures"),
        ({"jwks_uri": None}, "metadata"),
        ({"jwks_uri": f"{ISSUER}/nowhere"}, "not_found"),
    ],
)
async def test_an_issuer_whose_tokens_could_not_be_checked_is_told(lies: dict[str, Any], topic: str) -> None:
    provider = Provider()
    provider.metadata |= NO_LOGINS | lies
    assert bad(await look_for_tokens(provider)) == [("error", topic)]


# The issuer as it was written


@pytest.mark.parametrize(
    ("issuer", "hint"),
    [
        ("https://login.microsoftonline.com/common/v2.0", "TENANT-ID"),
        ("https://login.microsoftonline.com/organizations/v2.0", "TENANT-ID"),
        ("http://idp.acme.example", "https://idp.acme.example"),
        ("https://idp.acme.example/.well-known/openid-configuration", "use https://idp.acme.example"),
        ("https://acme-admin.okta.com", "use https://acme.okta.com"),
        ("idp.acme.example", "https://"),
        ("", "https://"),
        ("https://", "https://"),
        ("https://[", "https://"),
        ("ftp://idp.acme.example", "https://"),
        ("https://user@idp.acme.example", "https://"),
        ("https://idp.acme.example?x=1", "https://"),
    ],
)
async def test_an_issuer_that_cannot_be_one_is_told_before_anything_is_called(issuer: str, hint: str) -> None:
    provider = Provider()
    finding = await only(provider, issuer)
    assert finding.is_a_mistake
    assert hint in finding.fix
    assert provider.requests == []


async def test_plain_http_is_fine_on_this_machine() -> None:
    assert bad(await look(Provider("http://localhost:9000"), "http://localhost:9000", None)) == []


# Where nothing is


@pytest.mark.parametrize(
    ("issuer", "real", "hint"),
    [
        (
            "https://acme.okta.com/oauth2",
            "https://acme.okta.com/oauth2/default",
            "https://acme.okta.com/oauth2/default",
        ),
        ("https://kc.acme.example", "https://kc.acme.example/realms/master", "https://kc.acme.example/realms/REALM"),
        (
            "https://kc.acme.example/realms/wrong",
            "https://kc.acme.example/realms/master",
            "https://kc.acme.example/realms/REALM",
        ),
        (
            "https://kc.acme.example/realms/x",
            "https://kc.acme.example/auth/realms/master",
            "https://kc.acme.example/auth/realms/REALM",
        ),
        ("https://acme.eu.auth0.com/api/v2", "https://acme.eu.auth0.com/api", "https://acme.eu.auth0.com/api"),
        ("https://accounts.google.com/o/oauth2", "https://accounts.google.com", "https://accounts.google.com"),
        (
            "https://login.microsoftonline.com/tenant/oauth2",
            "https://login.microsoftonline.com/tenant/v2.0",
            "https://login.microsoftonline.com/tenant/v2.0",
        ),
        ("https://acme.okta.com/oauth2", "https://elsewhere.example", "Issuer URI"),
        ("https://sso.acme.example", "https://elsewhere.example", "/application/o/SLUG/"),
    ],
)
@pytest.mark.parametrize("answer", [page("<h1>404</h1>", 404), page("<div id=app>")])
async def test_a_wrong_path_gets_a_hint_at_the_right_one(
    issuer: str, real: str, hint: str, answer: httpx.Response
) -> None:
    provider = Provider(real)
    provider.answers[urlsplit(issuer).path + DISCOVERY] = answer
    if urlsplit(real).netloc != urlsplit(issuer).netloc:
        provider.issuer = "https://nowhere.example/never"
    finding = await only(provider, issuer)
    assert finding.is_a_mistake
    assert hint in finding.fix
    assert {r.url.host for r in provider.requests} == {urlsplit(issuer).hostname}
    assert len(provider.requests) <= 5


@pytest.mark.parametrize(
    ("answer", "topic", "is_a_mistake"),
    [
        (page("<h1>Sign in</h1>"), "not_json", True),
        (
            httpx.Response(200, content=b'{"issuer": 1, "issuer": 2}', headers=JSON),
            "not_json",
            True,
        ),
        (httpx.Response(200, content=b"{", headers=JSON), "not_json", True),
        (httpx.Response(200, json=[]), "not_json", True),
        (httpx.Response(200, content=b" " * 300_000, headers=JSON), "too_large", True),
        (httpx.Response(200, content=b"x", headers={**JSON, "content-encoding": "x-zip"}), "compressed", True),
        (httpx.Response(403), "status", True),
        (httpx.Response(302, headers={"location": "https://www.acme.example/"}), "redirect", True),
        (httpx.Response(302, headers={"location": "https://["}), "status", True),
        (httpx.Response(500), "server_error", False),
        (httpx.Response(429), "server_error", False),
        (httpx.ConnectError("All connection attempts failed"), "unreachable", False),
        (httpx.RemoteProtocolError("gone"), "unreachable", False),
        (httpx.ReadTimeout("slow"), "slow", False),
    ],
)
async def test_what_is_no_discovery_document(answer: Answer, topic: str, is_a_mistake: bool) -> None:
    provider = Provider()
    provider.answers[DISCOVERY] = answer
    finding = await only(provider)
    assert (finding.level, finding.topic, finding.is_a_mistake) == ("error", topic, is_a_mistake)


async def test_a_redirect_is_told_and_not_followed() -> None:
    provider = Provider()
    provider.answers[DISCOVERY] = httpx.Response(301, headers={"location": f"https://login.acme.example{DISCOVERY}"})
    finding = await only(provider)
    assert finding.fix == "if that is your provider, the issuer is https://login.acme.example"
    assert {r.url.host for r in provider.requests} == {"idp.acme.example"}


@pytest.mark.parametrize("name", ["issuer", "token_endpoint", "jwks_uri", "userinfo_endpoint"])
async def test_a_port_that_the_relay_does_not_call_is_named_with_the_setting_that_allows_it(name: str) -> None:
    elsewhere = "https://idp.acme.example:9443"
    provider = Provider()
    provider.metadata = {name: f"{elsewhere}/x"}
    issuer = elsewhere if name == "issuer" else ISSUER
    findings = await check_provider(issuer, CLIENT, ports=PortRule(DEFAULT_PORTS), transport=provider)
    (finding,) = [finding for finding in findings if finding.level == "error"]
    assert finding.topic == "port"
    assert "port 9443" in finding.found
    assert "443, 8443" in finding.found
    assert finding.fix == "the relay's operator can allow it with --issuer-port 9443"
    assert finding.is_a_mistake
    assert not [request for request in provider.requests if request.url.port == 9443]


async def test_the_issuers_own_port_is_fine_for_a_relay_that_trusts_its_owners() -> None:
    issuer = "https://idp.acme.example:9443"
    rule = PortRule(DEFAULT_PORTS, takes_issuers=True)
    assert bad(await check_provider(issuer, ports=rule, transport=Provider(issuer), clock=lambda: NOW)) == []


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


async def test_an_unknown_name_and_an_untrusted_certificate_are_told_apart() -> None:
    untrusted = ssl.SSLCertVerificationError(1, "x")
    untrusted.verify_message = "self-signed certificate"
    provider = Provider()
    provider.answers[DISCOVERY] = caused(httpx.ConnectError("x"), socket.gaierror(-2, "Name or service not known"))
    assert (await only(provider)).topic == "dns"
    provider.answers[DISCOVERY] = caused(httpx.ConnectError("x"), caused(OSError("y"), untrusted))
    finding = await only(provider)
    assert finding.topic == "tls"
    assert "self-signed certificate" in finding.found
    assert "--issuer-ca" in finding.fix
    assert "SSL_CERT_FILE" in finding.fix
    assert not finding.is_a_mistake


async def test_a_provider_that_never_answers_is_given_up_on() -> None:
    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            import asyncio

            await asyncio.Event().wait()
            raise AssertionError

    findings = await check_provider(ISSUER, transport=Silent(), call_seconds=0.01)
    assert bad(findings) == [("error", "slow")]


# Metadata


@pytest.mark.parametrize(
    ("told", "hint"),
    [
        ("https://login.acme.example", "--oidc https://login.acme.example"),
        ("https://sts.windows.net/1234/", "https://login.microsoftonline.com/1234/v2.0"),
        ("https://login.microsoftonline.com/{tenantid}/v2.0", "TENANT-ID"),
    ],
)
async def test_another_issuer_is_named_with_the_right_flag(told: str, hint: str) -> None:
    provider = Provider()
    provider.metadata["issuer"] = told
    finding = await only(provider)
    assert finding.topic == "issuer_mismatch"
    assert finding.is_a_mistake
    assert hint in finding.fix


@pytest.mark.parametrize(
    ("lies", "level", "topic"),
    [
        ({"issuer": None}, "error", "issuer_mismatch"),
        ({"response_types_supported": ["id_token", "token"]}, "error", "code_flow"),
        ({"id_token_signing_alg_values_supported": ["HS256"]}, "error", "signatures"),
        ({"id_token_signing_alg_values_supported": ["none"]}, "error", "signatures"),
        ({"id_token_signing_alg_values_supported": []}, "error", "signatures"),
        ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, "error", "metadata"),
        ({"token_endpoint": "http://idp.acme.example/token"}, "error", "metadata"),
        ({"authorization_endpoint": None}, "error", "metadata"),
        ({"jwks_uri": None}, "error", "metadata"),
        ({"code_challenge_methods_supported": ["plain"]}, "warning", "pkce"),
        ({"userinfo_endpoint": None}, "warning", "userinfo"),
        ({"scopes_supported": ["openid", "profile", "groups"]}, "warning", "scopes"),
        ({"claims_supported": ["sub", "email"]}, "warning", "email_verified"),
    ],
)
async def test_metadata_with_something_wrong(lies: dict[str, Any], level: str, topic: str) -> None:
    provider = Provider()
    provider.metadata.update(lies)
    finding = await only(provider)
    assert (finding.level, finding.topic) == (level, topic)
    assert finding.is_a_mistake is (level == "error")
    assert finding.why or finding.fix


@pytest.mark.parametrize(
    ("lies", "topic", "words"),
    [
        ({"scopes_supported": ["openid", "email", "profile"]}, "groups", "--oidc-allow-group"),
        ({"authorization_response_iss_parameter_supported": None}, "iss", "RFC 9207"),
        ({"end_session_endpoint": None, "backchannel_logout_supported": None}, "sessions", "not listed"),
        ({"code_challenge_methods_supported": None}, "pkce", "does not say"),
        ({"scopes_supported": None, "claims_supported": None}, "sessions", "not listed"),
    ],
)
async def test_what_is_merely_worth_knowing_is_no_warning(lies: dict[str, Any], topic: str, words: str) -> None:
    provider = Provider()
    provider.metadata.update(lies)
    findings = await look(provider, client=None)
    assert bad(findings) == []
    assert any(words in finding.found + finding.fix for finding in findings if finding.topic == topic)


@pytest.mark.parametrize(("time", "words"), [("08:05:00", "300 s ahead"), ("07:58:00", "120 s behind")])
async def test_a_clock_that_is_wrong_is_told(time: str, words: str) -> None:
    provider = Provider()
    date = f"Fri, 15 Jan 2027 {time} GMT"
    provider.answers[DISCOVERY] = httpx.Response(200, json=provider.document(), headers={"date": date})
    finding = await only(provider)
    assert (finding.level, finding.topic) == ("warning", "clock")
    assert words in finding.found


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 2027 08:00:59 GMT"])
async def test_a_date_that_is_none_or_near_is_no_reason_to_worry(date: str) -> None:
    provider = Provider()
    provider.answers[DISCOVERY] = httpx.Response(200, json=provider.document(), headers={"date": date})
    assert bad(await look(provider)) == []


# Keys

SHARED = {**OctKey.generate_key().as_dict(private=True), "use": "enc"}
WEAK = {"kty": "RSA", "kid": "weak", "use": "sig", "n": "w" * 171, "e": "AQAB"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], [("error", "keys")]),
        ([WEAK], [("error", "keys")]),
        ([ECKey.generate_key("P-256", {"kid": "e"}).as_dict(private=False)], [("error", "keys")]),
        ([{**RSA.as_dict(private=False), "kid": str(number)} for number in range(40)], [("error", "keys")]),
        ([RSA.as_dict(private=False), WEAK], [("warning", "unfit_keys")]),
        ([RSA.as_dict(private=False), {**WEAK, "use": "enc"}], []),
        ([RSA.as_dict(private=False), {**RSA.as_dict(private=False), "kid": "k1"}], [("warning", "key_names")]),
        ([RSA.as_dict(private=True)], [("error", "private_key")]),
        ([RSA.as_dict(private=False), SHARED], [("error", "private_key")]),
        (["key", None, RSA.as_dict(private=False)], []),
    ],
)  # fmt: skip
async def test_keys(keys: list[Any], expected: list[tuple[str, str]]) -> None:
    provider = Provider()
    provider.keys = keys
    assert bad(await look(provider)) == expected


@pytest.mark.parametrize("answer", [as_json({}), as_json({"keys": {}}), httpx.Response(404), page("x")])
async def test_a_place_without_keys_is_a_mistake(answer: httpx.Response) -> None:
    provider = Provider()
    provider.answers["/jwks"] = answer
    assert (await only(provider)).is_a_mistake


# The client


@pytest.mark.parametrize(
    ("answer", "level", "topic"),
    [
        (sent_back(error="consent_required"), "ok", "client"),
        (sent_back(error="", code="x"), "ok", "client"),
        (sent_back(error="invalid_scope"), "error", "client"),
        (sent_back(error="unauthorized_client"), "error", "client"),
        (sent_back(error="server_error"), "warning", "client"),
        (sent_back(state="other"), "error", "state"),
        (sent_back(iss=""), "error", "iss"),
        (sent_back(iss="https://evil.example"), "error", "iss"),
        (page("Invalid parameter: redirect_uri", 400), "error", "redirect_uri"),
        (page("AADSTS50011: The reply address does not match"), "error", "redirect_uri"),
        (page("<p>Client not found.</p>", 400), "error", "client"),
        (page("AADSTS700016: Application was not found in the directory"), "error", "client"),
        (as_json({"error": "invalid_client"}, 401), "error", "client"),
        (as_json({"error": "invalid_request", "error_description": "bad redirect_uri"}, 400), "error", "redirect_uri"),
        (page("Oops", 400), "error", "client"),
        (page("<form>Password</form>"), "ok", "client"),
        (httpx.Response(302, headers={"location": "/login?x=1"}), "ok", "client"),
        (httpx.Response(302, headers={"location": "/signin/oauth/error?authError=x"}), "error", "client"),
        (httpx.Response(503), "warning", "authorization"),
        (httpx.ReadTimeout("slow"), "warning", "authorization"),
    ],
)  # fmt: skip
async def test_what_the_login_page_thinks_of_the_client(answer: Answer, level: str, topic: str) -> None:
    provider = Provider()
    provider.answers["/authorize"] = answer
    findings = await look(provider)
    assert (level, topic) in [(finding.level, finding.topic) for finding in findings]
    assert bad(findings) == ([(level, topic)] if level != "ok" else [])


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (as_json({"error": "invalid_grant"}, 400), "ok"),
        (as_json({"error": "invalid_client"}, 401), "error"),
        (as_json({"error": "unauthorized_client"}, 400), "error"),
        (as_json({"error": "unsupported_grant_type"}, 400), "error"),
        (as_json({"error": "invalid_request"}, 400), "warning"),
        (as_json({"error": "\x1b[2J"}, 400), "warning"),
        (as_json({"error": ["x"]}, 400), "warning"),
        (as_json([], 400), "warning"),
        (page("oops", 500), "warning"),
        (httpx.ReadTimeout("slow"), "warning"),
    ],
)
async def test_what_the_token_endpoint_thinks_of_the_secret(answer: Answer, level: str) -> None:
    provider = Provider()
    provider.answers["/token"] = answer
    (finding,) = [finding for finding in await look(provider) if finding.topic == "secret"]
    assert finding.level == level
    assert "\x1b" not in finding.found


async def test_the_secret_is_shown_as_a_login_would_show_it() -> None:
    provider = Provider()
    provider.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    await look(provider)
    (request,) = [r for r in provider.requests if r.url.path == "/token"]
    form = dict(parse_qsl(request.content.decode()))
    assert (form["client_id"], form["client_secret"]) == ("client-1", SECRET)
    assert "authorization" not in request.headers


async def test_a_providers_own_words_cannot_write_to_the_terminal() -> None:
    provider = Provider()
    provider.answers["/authorize"] = sent_back(error="invalid_scope", error_description="a\x1b[2J\nb" + "x" * 500)
    finding = await only(provider)
    assert finding.found.isprintable()
    assert len(finding.found) < 300


# The relay's redirect URI


def test_a_relays_redirect_uri_is_taken_where_it_holds_for_everybody() -> None:
    assert redirect_uri_in({"redirect_uri": REDIRECT_URI}) == REDIRECT_URI


@pytest.mark.parametrize("uri", [None, 7, "", "javascript:alert(1)", f"{REDIRECT_URI}/{{connection}}"])
def test_a_relay_with_one_for_each_client_tells_none(uri: Any) -> None:
    with pytest.raises(RelaySilent):
        redirect_uri_in({"redirect_uri": uri})
