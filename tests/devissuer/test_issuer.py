"""The test issuer, asked as a client and a browser ask it, and as hostile pages and careless clients do."""

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.support.every import every
from tunnelctl.devissuer.issuer import CLIENT_SECRET, CODE_SECONDS, MAX_CODES, PATH, DevIssuer, is_loopback_uri
from tunnelctl.devissuer.users import DevUser, UserInvalid, parse_user
from tunnelctl.localapi.message import ApiAnswer, ApiRequest

HOST = "localhost:9400"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CALLBACK = "http://localhost:8080/oauth2/callback"
USERS = (parse_user("alice@example.com;groups=qa,dev"), parse_user("bob;name=Bob <b>"))


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Client:
    """A client of the issuer, and the browser of its visitor."""

    def __init__(self) -> None:
        self.clock, self.monotonic = Clock(1_800_000_000.0), Clock(0.0)
        self.notes: list[str] = []
        self.issuer = DevIssuer(
            f"http://{HOST}", USERS, note=self.notes.append, clock=self.clock, monotonic=self.monotonic
        )

    async def ask(
        self, method: str, path: str, *, query: str = "", body: str = "", host: str = HOST, **fields: str
    ) -> ApiAnswer:
        request = ApiRequest(method=method, path=PATH + path, query=query, host=host, fields=fields, body=body.encode())
        return await self.issuer.answer(request)

    async def choose(self, user: str = "alice@example.com", **changes: str | None) -> dict[str, str]:
        """What the client gets back in its address once someone was chosen."""
        page = await self.ask("GET", "/authorize", query=query(**changes))
        assert page.status == 200, page
        found = re.search(rb'name="request" value="([^"]*)"', page.body)
        assert found is not None
        form = {"request": found[1].decode().replace("&amp;", "&"), "user": user}
        return returned(await self.ask("POST", "/authorize", body=urlencode(form), origin=f"http://{HOST}"))

    async def redeem(self, code: str, /, **changes: str | None) -> ApiAnswer:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "client_id": "app",
            "client_secret": CLIENT_SECRET,
            "code_verifier": VERIFIER,
        }
        return await self.token({**form, **changes})

    async def token(self, form: dict[str, str | None], **fields: str) -> ApiAnswer:
        body = urlencode({name: value for name, value in form.items() if value is not None})
        return await self.ask("POST", "/token", body=body, **fields)

    async def keys(self) -> KeySet:
        return KeySet.import_key_set(json_of(await self.ask("GET", "/jwks")))

    async def claims(self, token: str) -> dict[str, Any]:
        return dict(jwt.decode(token, await self.keys(), algorithms=["RS256"]).claims)


def query(**changes: str | None) -> str:
    params = {
        "response_type": "code",
        "client_id": "app",
        "redirect_uri": CALLBACK,
        "scope": "openid email",
        "state": "s&t=ä",
        "nonce": "n-1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return urlencode({name: value for name, value in {**params, **changes}.items() if value is not None})


def returned(answer: ApiAnswer) -> dict[str, str]:
    """The parameters of a redirect to the client."""
    assert answer.status == 303, answer
    location = dict(answer.fields)["Location"]
    assert location.startswith(CALLBACK)
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def json_of(answer: ApiAnswer) -> Any:
    return json.loads(answer.body)


@pytest.fixture(scope="module")
def shared() -> Client:
    """For tests that leave nothing behind: a key takes a moment to make."""
    return Client()


@pytest.fixture
def client(shared: Client) -> Client:
    shared.notes.clear()
    return shared


async def test_discovery_names_what_there_is_and_marks_the_issuer_as_unsafe(client: Client):
    found = json_of(await client.ask("GET", "/.well-known/openid-configuration"))

    assert found["issuer"] == "http://localhost:9400/unsafe-dev-issuer"
    assert found["code_challenge_methods_supported"] == ["S256"]
    for name in ("jwks_uri", "authorization_endpoint", "token_endpoint", "userinfo_endpoint"):
        method = "POST" if name == "token_endpoint" else "GET"
        answer = await client.ask(method, urlsplit(found[name]).path.removeprefix(PATH))
        assert answer.status != 404, name


async def test_the_code_flow_ends_with_tokens_about_who_was_chosen(client: Client):
    back = await client.choose()
    tokens = json_of(await client.redeem(back["code"]))
    claims = await client.claims(tokens["id_token"])
    about = json_of(await client.ask("GET", "/userinfo", authorization=f"Bearer {tokens['access_token']}"))

    assert (back["state"], back["iss"]) == ("s&t=ä", client.issuer.issuer)
    assert (claims["iss"], claims["aud"], claims["sub"], claims["nonce"]) == (
        client.issuer.issuer,
        "app",
        "alice@example.com",
        "n-1",
    )
    assert (claims["email"], claims["email_verified"], claims["groups"]) == ("alice@example.com", True, ["qa", "dev"])
    assert claims["exp"] - claims["iat"] == 3600
    assert about == {
        "sub": "alice@example.com",
        "name": "Alice",
        "email": "alice@example.com",
        "email_verified": True,
        "groups": ["qa", "dev"],
    }
    assert client.notes == ["alice@example.com signed in at the client app"]


async def test_a_public_client_redeems_with_its_verifier_alone(client: Client):
    back = await client.choose()

    assert (await client.redeem(back["code"], client_secret=None)).status == 200


async def test_basic_authentication_is_taken_form_encoded(client: Client):
    back = await client.choose(client_id="my app")
    basic = base64.b64encode(f"my+app:{CLIENT_SECRET}".encode()).decode()
    form = {
        "grant_type": "authorization_code",
        "code": back["code"],
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }

    assert (await client.token(form, authorization=f"Basic {basic}")).status == 200


@every(
    "changes, error",
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_grant"),
        ({"redirect_uri": CALLBACK + "/"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"client_id": "other"}, "invalid_grant"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_secret": ""}, "invalid_client"),
        ({"client_id": None}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": None}, "unsupported_grant_type"),
        ({"code": "x"}, "invalid_grant"),
        ({"code": None}, "invalid_grant"),
    ],
)
async def test_a_code_is_redeemed_by_its_own_client_only(shared: Client, changes: dict[str, Any], error: str):
    back = await shared.choose()

    answer = await shared.redeem(back["code"], **changes)

    assert answer.status == (401 if error == "invalid_client" else 400)
    assert json_of(answer)["error"] == error


async def test_a_code_is_good_once_and_for_a_minute(client: Client):
    first, second = await client.choose(), await client.choose()

    assert (await client.redeem(first["code"])).status == 200
    assert json_of(await client.redeem(first["code"]))["error"] == "invalid_grant"
    client.monotonic.now += CODE_SECONDS
    assert json_of(await client.redeem(second["code"]))["error"] == "invalid_grant"


async def test_codes_without_end_push_out_the_oldest(client: Client):
    codes = [(await client.choose())["code"] for _ in range(MAX_CODES + 1)]

    assert json_of(await client.redeem(codes[0]))["error"] == "invalid_grant"
    assert (await client.redeem(codes[-1])).status == 200


@every(
    "changes, error",
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "email"}, "invalid_scope"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
    ],
)
async def test_a_request_that_cannot_be_is_told_to_the_client(shared: Client, changes: dict[str, Any], error: str):
    back = returned(await shared.ask("GET", "/authorize", query=query(**changes)))

    assert (back["error"], back["state"], back["iss"]) == (error, "s&t=ä", shared.issuer.issuer)
    assert "code" not in back


AWAY = [
    None,
    "",
    "https://evil.example/callback",
    "https://localhost.evil.example/",
    "https://localhost@evil.example/",
    "//evil.example",
    "javascript:alert(1)",
    "http://localhost:8080/#x",
    "http://localhost:8080/\r\nX: y",
    "http://[::ffff:8.8.8.8]/",
    "http://10.0.0.1/",
    "http://[half",
    "data:text/html,x",
    "http://notlocalhost/",
]


@every("uri", AWAY)
async def test_no_code_goes_to_another_machine(shared: Client, uri: str | None):
    asked = await shared.ask("GET", "/authorize", query=query(redirect_uri=uri))
    form = urlencode({"request": query(redirect_uri=uri), "user": "bob"})
    signed_in = await shared.ask("POST", "/authorize", body=form)

    for answer in (asked, signed_in):
        assert answer.status == 400
        assert "Location" not in dict(answer.fields)


@pytest.mark.parametrize(
    "uri", [CALLBACK, "http://127.0.0.1:1/x", "https://[::1]/", "http://idp.localhost:8080/oauth2/callback?a=b"]
)
def test_addresses_of_this_machine_may_get_codes(uri: str):
    assert is_loopback_uri(uri)


async def test_a_parameter_that_is_given_twice_is_refused(client: Client):
    answer = await client.ask("GET", "/authorize", query=f"{query()}&client_id=other")
    form = await client.ask("POST", "/token", body="grant_type=client_credentials&client_id=a&client_id=b")

    assert answer.status == 400
    assert json_of(form)["error"] == "invalid_request"


@every(
    "host", ["evil.example", "localhost.evil.example", "demo.localhost:9400", "10.0.0.1", "", "127.0.0.1.nip.io", "["]
)
async def test_a_name_that_was_made_to_lead_here_gets_nothing(shared: Client, host: str):
    for path in ("/authorize", "/jwks", "/.well-known/openid-configuration"):
        assert (await shared.ask("GET", path, query=query(), host=host)).status == 421


async def test_another_sites_page_signs_nobody_in(client: Client):
    form = urlencode({"request": query(), "user": "bob"})

    for origin in ("https://evil.example", "http://localhost:1", f"http://{HOST}.evil.example"):
        assert (await client.ask("POST", "/authorize", body=form, origin=origin)).status == 403
    for site in ("cross-site", "same-site"):
        framed = {"origin": "null", "sec-fetch-site": site}
        assert (await client.ask("POST", "/authorize", body=form, **framed)).status == 403
    assert client.notes == []
    own = {"origin": "null", "sec-fetch-site": "same-origin"}
    assert (await client.ask("POST", "/authorize", body=form, **own)).status == 303


async def test_what_clients_and_users_are_called_is_text_on_the_page(client: Client):
    page = await client.ask("GET", "/authorize", query=query(client_id="<script>x", state='"><script>'))

    assert b"<script" not in page.body
    assert b"&lt;script&gt;x" in page.body
    assert b"Bob &lt;b&gt;" in page.body
    assert b"UNSAFE" in page.body
    assert "default-src 'none'" in dict(page.fields)["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in dict(page.fields)["Content-Security-Policy"]


@every(
    "form",
    ["", "user=bob", "request=x&user=bob", f"{urlencode({'request': query()})}&user=eve", "user=%00&request=%00"],
)
async def test_a_form_that_was_not_shown_signs_nobody_in(shared: Client, form: str):
    answer = await shared.ask("POST", "/authorize", body=form)

    assert answer.status == 400
    assert "Location" not in dict(answer.fields)


async def test_a_program_gets_a_token_for_its_secret(client: Client):
    form = {"grant_type": "client_credentials", "client_id": "robot", "client_secret": CLIENT_SECRET}
    plain = json_of(await client.token(form))
    for_api = json_of(await client.token({**form, "audience": "https://demo.localhost", "user": "alice@example.com"}))

    own, other = await client.claims(plain["access_token"]), await client.claims(for_api["access_token"])
    assert (own["sub"], own["aud"], own["client_id"]) == ("robot", "robot", "robot")
    assert (other["sub"], other["aud"], other["groups"]) == (
        "alice@example.com",
        "https://demo.localhost",
        ["qa", "dev"],
    )
    assert "id_token" not in plain


async def test_a_program_without_its_secret_gets_none(client: Client):
    form = {"grant_type": "client_credentials", "client_id": "robot"}

    assert (await client.token(form)).status == 401
    assert (await client.token(form, authorization="Basic \xe4")).status == 401
    assert (await client.token({**form, "client_secret": "x"})).status == 401
    assert json_of(await client.token({**form, "client_secret": CLIENT_SECRET, "user": "eve"}))["error"] == (
        "invalid_request"
    )


@every("authorization", ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "bearer "])
async def test_userinfo_is_for_its_own_access_tokens_only(shared: Client, authorization: str):
    assert (await shared.ask("GET", "/userinfo", authorization=authorization)).status == 401


async def test_an_id_token_or_an_old_token_is_no_access_token(client: Client):
    tokens = json_of(await client.redeem((await client.choose())["code"]))

    assert (await client.ask("GET", "/userinfo", authorization=f"Bearer {tokens['id_token']}")).status == 401
    client.clock.now += 3600
    assert (await client.ask("GET", "/userinfo", authorization=f"Bearer {tokens['access_token']}")).status == 401
    client.clock.now -= 3600


async def test_another_issuers_key_signs_nothing_here(client: Client):
    stranger = Client()
    tokens = json_of(await stranger.redeem((await stranger.choose())["code"]))

    assert (await client.ask("GET", "/userinfo", authorization=f"Bearer {tokens['access_token']}")).status == 401


async def test_other_paths_and_methods_are_told(client: Client):
    assert (await client.ask("GET", "/nothing")).status == 404
    assert (await client.ask("GET", "/token")).status == 405
    assert (await client.ask("DELETE", "/authorize")).status == 405
    assert (await client.ask("HEAD", "")).status == 200


@given(
    query=st.text(max_size=200),
    body=st.binary(max_size=200),
    path=st.sampled_from(["/authorize", "/token", "/userinfo"]),
)
async def test_whatever_is_sent_is_answered(query: str, body: bytes, path: str):
    issuer = SHARED.issuer
    for method in ("GET", "POST"):
        request = ApiRequest(method=method, path=PATH + path, query=query, host=HOST, body=body)
        assert 200 <= (await issuer.answer(request)).status < 500


SHARED = Client()


def test_a_user_is_a_name_or_an_address_with_claims():
    assert parse_user("alice@example.com;groups=qa, dev;sub=00u1;email_verified=false;team=web") == DevUser(
        "00u1",
        {
            "name": "Alice",
            "email": "alice@example.com",
            "email_verified": False,
            "groups": ["qa", "dev"],
            "team": "web",
        },
    )
    assert parse_user("bob") == DevUser("bob", {"name": "Bob"})


@pytest.mark.parametrize("text", ["", ";groups=qa", "groups=qa", "alice;qa", "alice;=qa", "a\nb"])
def test_what_is_no_user_is_a_mistake(text: str):
    with pytest.raises(UserInvalid):
        parse_user(text)
