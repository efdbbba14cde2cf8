"""Programs with a token at the public side: what they get, what the app gets, and what everybody else is told."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.ingress.conftest import KeptLog
from tests.ingress.scene import HOST, Scene, error_of
from tests.support.issuer import Issuer, issuer
from tests.support.raw_http import Response, request_bytes
from tests.support.scripted_agent import scripted_agent
from tunnelctl.wire.messages import Bound, JwtSpec, OidcSpec, PolicySpec
from tunnelrelay.app.relay import Relay
from tunnelrelay.oidc.sessions.access_tokens import BURST_REFUSED
from tunnelrelay.policy.rules import Policy

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUDIENCE = "https://demo.example"
CLIENT = "client-1"
WEBSOCKET = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
SWITCHED = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
NAVIGATE = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Accept", "text/html")]


@pytest.fixture(scope="module")
def ci() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


@pytest.fixture(scope="module")
def idp() -> Iterator[Issuer]:
    """Another one, where people could log in."""
    with issuer() as running:
        document = running.document

        def with_login(path: str) -> dict[str, Any] | None:
            found = document(path)
            endpoints = ("authorization_endpoint", "token_endpoint")
            more = {name: f"{running.url}/{name}" for name in endpoints} | {"response_types_supported": ["code"]}
            return {**found, **more} if found is not None and "issuer" in found else found

        running.document = with_login
        yield running


def policy(ci: Issuer, idp: Issuer | None = None, **more: Any) -> PolicySpec:
    """Lets in jobs of acme/app, and with `idp` people who sign in there and tokens for their client."""
    jwt = JwtSpec(issuer=ci.url, audience=AUDIENCE, claims=(("repository", "acme/app"),))
    login = None
    if idp is not None:
        login = OidcSpec(issuer=idp.url, client_id=CLIENT, client_secret="s", bearer=("",), allow_domains=("acme.com",))
    return PolicySpec(jwt=(jwt,), oidc=login, **more)


async def serve(relay: tuple[Relay, KeptLog], policy: PolicySpec) -> AsyncIterator[Scene]:
    running, log = relay
    log.kept.clear()
    assert running.http is not None
    async with scripted_agent(running.http[1], HOST.partition(".")[0], policy=policy) as agent:
        agent.answers = lambda asked: asked.answer()
        yield Scene(running, agent, log.kept)


@pytest_asyncio.fixture(loop_scope="module")
async def s(relay: tuple[Relay, KeptLog], ci: Issuer) -> AsyncIterator[Scene]:
    """For programs only."""
    async for scene in serve(relay, policy(ci)):
        yield scene


@pytest_asyncio.fixture(loop_scope="module")
async def both(relay: tuple[Relay, KeptLog], ci: Issuer, idp: Issuer) -> AsyncIterator[Scene]:
    """For people and programs."""
    async for scene in serve(relay, policy(ci, idp)):
        yield scene


def policy_of(s: Scene) -> Policy:
    endpoint = s.relay.registry.find(HOST)
    assert endpoint is not None
    assert endpoint.policy is not None
    return endpoint.policy


def get(*fields: tuple[str, str], token: str = "", method: str = "GET", target: str = "/") -> bytes:
    shown = [("Authorization", f"Bearer {token}")] if token else []
    return request_bytes(method, target, host=HOST, fields=[*shown, *fields])


def good(ci: Issuer, **claims: Any) -> str:
    return ci.token(AUDIENCE, **{"repository": "acme/app", **claims})


async def asked_with(s: Scene, *fields: tuple[str, str], token: str) -> dict[bytes, bytes]:
    """What the app saw of a request that was let in."""
    response = await s.fetch(get(*fields, token=token))
    assert response.status == 200, (response, error_of(response))
    return dict(s.agent.asked[-1].fields)


async def test_row111_the_app_sees_who_it_is_and_not_the_token(s: Scene, ci: Issuer):
    fields = await asked_with(s, token=good(ci))

    assert b"authorization" not in fields
    assert fields[b"x-tunnel-user"] == b"repo:acme/app:ref:refs/heads/main"
    assert fields[b"x-tunnel-issuer"] == ci.url.encode()
    assert fields[b"x-tunnel-assertion"].count(b".") == 2


async def test_row111_what_the_owner_adds_as_authorization_takes_its_place(relay: tuple[Relay, KeptLog], ci: Issuer):
    from tunnelctl.wire.messages import HeaderEdit

    edit = HeaderEdit(add=(("Authorization", "Bearer for-the-app"),))
    async for scene in serve(relay, policy(ci, request_headers=edit)):
        fields = await asked_with(scene, token=good(ci))
        assert fields[b"authorization"] == b"Bearer for-the-app"


async def test_a_flood_of_bad_tokens_is_told_when_to_come_again(s: Scene, ci: Issuer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tunnelrelay.oidc.sessions.access_tokens.address_key", str)  # this machine is limited too
    known, bad = good(ci), good(ci, exp=1)
    await asked_with(s, token=known)

    with s.monotonic.stopped():
        refused = [await s.fetch(get(token=bad)) for _ in range(BURST_REFUSED)]
        limited = await s.fetch(get(token=bad))

    assert {(each.status, error_of(each)) for each in refused} == {(401, "bearer_invalid")}
    assert (limited.status, error_of(limited)) == (429, "too_many_requests")
    assert int(limited.get("retry-after") or 0) > 0
    assert s.relay.metrics.counts["limited"]["bearer_tokens"] == 1
    await asked_with(s, token=known)


async def test_row106_a_programs_own_identity_headers_are_taken_out(s: Scene, ci: Issuer):
    for name in ("X-Tunnel-User", "x_tunnel_email", "X-TUNNEL_Groups", "Ngrok-Auth-User-Email", "X-Tunnel-Assertion"):
        fields = await asked_with(s, (name, "boss"), token=good(ci))
        assert b"boss" not in fields.values()


async def test_a_token_opens_every_method_and_keeps_the_connection(s: Scene, ci: Issuer):
    async with s.visitor() as visitor:
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            await visitor.send(get(("Content-Length", "0"), token=good(ci), method=method))
            assert (await visitor.response(method)).status == 200


async def test_row28_a_bad_token_is_told_why_and_never_reaches_the_app(s: Scene, ci: Issuer, idp: Issuer):
    forged = f"{good(ci)[:-20]}{'A' * 20}"
    now = int(time.time())
    for token, reason in (
        (forged, "signature"),
        (ci.token("https://other.example", repository="acme/app"), "`aud`"),
        (good(ci, exp=now - 61), "expired"),
        (good(ci, exp="soon"), "`exp`"),
        (good(ci, iss=f"{ci.url}/"), "`iss`"),
        (good(ci, events={}), "event"),
    ):
        for fields in ([], NAVIGATE, WEBSOCKET):
            response = await s.fetch(get(*fields, token=token))
            challenge = response.get("www-authenticate") or ""

            assert (response.status, error_of(response)) == (401, "bearer_invalid")
            assert challenge.startswith(f'Bearer realm="{HOST}", error="invalid_token", error_description="')
            assert reason in challenge
            assert response.get("location") is None
    assert s.agent.asked == []


async def test_a_good_token_the_rules_do_not_admit_is_403(s: Scene, ci: Issuer):
    response = await s.fetch(get(token=good(ci, repository="evil/app")))

    assert (response.status, error_of(response)) == (403, "bearer_not_admitted")
    assert s.agent.asked == []


@pytest.mark.parametrize("fields", [[], NAVIGATE, WEBSOCKET, [("Authorization", "Basic dTpw")]])
async def test_where_only_programs_come_in_everybody_else_is_asked_for_a_token(s: Scene, fields):
    response = await s.fetch(get(*fields))

    assert (response.status, error_of(response)) == (401, "bearer_required")
    assert response.get("www-authenticate") == f'Bearer realm="{HOST}"'
    assert s.agent.asked == []


async def test_a_token_of_nobody_we_know_opens_nothing_and_asks_nobody(s: Scene, ci: Issuer):
    asked = len(ci.asked)
    response = await s.fetch(get(token=good(ci, iss="https://evil.example")))

    assert (response.status, error_of(response)) == (401, "bearer_required")
    assert len(ci.asked) == asked


async def test_two_authorization_fields_are_refused(s: Scene, ci: Issuer):
    response = await s.fetch(get(("Authorization", "Basic dTpw"), token=good(ci)))

    assert (response.status, error_of(response)) == (401, "bearer_invalid")
    assert s.agent.asked == []


async def test_beside_a_login_both_ways_in_are_told(both: Scene):
    response = await both.fetch(get())

    assert (response.status, error_of(response)) == (401, "login_required")
    told = [value for name, value in response.fields if name.lower() == "www-authenticate"]
    assert told == [f'Bearer realm="{HOST}"', f'OpenID realm="{HOST}"']


async def test_a_person_is_still_sent_to_the_login(both: Scene, idp: Issuer):
    response = await both.fetch(get(*NAVIGATE))

    assert response.status == 303
    assert (response.get("location") or "").startswith(f"{idp.url}/authorization_endpoint?")


async def test_tokens_of_the_login_go_by_the_rules_for_people(both: Scene, idp: Issuer):
    person = {"email": "bot@acme.com", "email_verified": True}
    fields = await asked_with(both, token=idp.token(CLIENT, **person))
    assert fields[b"x-tunnel-email"] == b"bot@acme.com"

    for claims in ({}, {**person, "email_verified": False}, {**person, "email": "bot@evil.com"}):
        response = await both.fetch(get(token=idp.token(CLIENT, **claims)))
        assert (response.status, error_of(response)) == (403, "bearer_not_admitted")


async def test_row7_a_token_of_one_issuer_for_the_audience_of_another_opens_nothing(
    both: Scene, ci: Issuer, idp: Issuer
):
    for token in (ci.token(CLIENT, repository="acme/app"), idp.token(AUDIENCE, repository="acme/app")):
        response = await both.fetch(get(token=token))
        assert (response.status, error_of(response)) == (401, "bearer_invalid")


async def sign_in(s: Scene, idp: Issuer) -> str:
    """A session of Alice's, as a Cookie value."""
    connection = policy_of(s).connection
    assert connection is not None
    claims = {"sub": "alice", "email": "alice@acme.com", "email_verified": True}
    cookie = await s.relay.parts.sessions.create(HOST, connection, issuer=idp.url, claims=claims)
    return f"tunnel={cookie.decode()}"


async def test_row55_a_preflight_is_nobody_whatever_token_it_shows(both: Scene, ci: Issuer, idp: Issuer):
    spec = policy(ci, idp)
    assert spec.oidc is not None
    await both.agent.bind(
        "demo", policy=msgspec.structs.replace(spec, oidc=msgspec.structs.replace(spec.oidc, allow_preflight=True))
    )
    preflight = [("Origin", "https://shop.example"), ("Access-Control-Request-Method", "POST")]
    for token in (good(ci), good(ci, exp=1)):
        response = await both.fetch(get(*preflight, token=token, method="OPTIONS"), method="OPTIONS")
        assert response.status == 200
        assert {b"authorization", b"x-tunnel-user"}.isdisjoint(dict(both.agent.asked[-1].fields))


async def test_row29_a_token_decides_alone_whatever_cookie_comes_with_it(both: Scene, ci: Issuer, idp: Issuer):
    alice = ("Cookie", f"app=1; {await sign_in(both, idp)}")
    assert (await asked_with(both, alice, token=""))[b"x-tunnel-email"] == b"alice@acme.com"

    fields = await asked_with(both, alice, token=good(ci))
    assert fields[b"x-tunnel-user"].startswith(b"repo:")
    assert b"x-tunnel-email" not in fields
    assert fields[b"cookie"] == b"app=1"

    both.agent.asked.clear()
    for token, status in ((good(ci, exp=1), 401), (good(ci, repository="evil/app"), 403)):
        assert (await both.fetch(get(alice, token=token))).status == status
    assert both.agent.asked == []


@pytest.mark.parametrize("value", ["Bearer opaque", "Bearer a.b.c", "Basic dTpw", "AWS4-HMAC-SHA256 x"])
async def test_a_signed_in_visitor_may_send_the_app_its_own_authorization(both: Scene, idp: Issuer, value: str):
    alice = ("Cookie", await sign_in(both, idp))
    fields = await asked_with(both, alice, ("Authorization", value), token="")

    assert fields[b"authorization"] == value.encode()
    assert fields[b"x-tunnel-email"] == b"alice@acme.com"


async def test_a_signed_in_visitor_may_send_the_app_a_token_of_somebody_else(both: Scene, ci: Issuer, idp: Issuer):
    alice = ("Cookie", await sign_in(both, idp))
    token = good(ci, iss="https://elsewhere.example")
    fields = await asked_with(both, alice, token=token)

    assert fields[b"authorization"] == f"Bearer {token}".encode()
    assert fields[b"x-tunnel-email"] == b"alice@acme.com"


async def test_answers_to_programs_are_kept_by_no_shared_cache(s: Scene, ci: Issuer):
    """Row 79."""
    s.agent.answers = lambda asked: asked.answer(fields=b"Cache-Control: public, max-age=60\r\n")
    response = await s.fetch(get(token=good(ci)))

    assert response.get("cache-control") == "private, max-age=60"
    assert response.get("vary") == "Authorization"


async def test_rules_about_networks_come_before_any_token(relay: tuple[Relay, KeptLog], ci: Issuer):
    async for scene in serve(relay, policy(ci, cidr_deny=("127.0.0.0/8",))):
        for token in (good(ci), good(ci, exp=1)):
            response = await scene.fetch(get(token=token))
            assert (response.status, error_of(response)) == (403, "network_denied")


# Websockets


async def test_a_program_opens_a_websocket_without_an_origin(s: Scene, ci: Issuer):
    s.agent.answers = lambda asked: asked.head(101, SWITCHED)
    async with s.visitor() as visitor:
        await visitor.send(get(*WEBSOCKET, token=good(ci)))
        assert b" 101 " in await visitor.reader.readline()


async def test_row114_another_sites_page_opens_no_websocket_with_a_token_either(s: Scene, ci: Issuer):
    for origin in ("http://evil.localhost", "null"):
        response = await s.fetch(get(*WEBSOCKET, ("Origin", origin), token=good(ci)))
        assert (response.status, error_of(response)) == (401, "bearer_required")
    assert s.agent.asked == []


def look(s: Scene) -> None:
    """The relay judges anew what let in the exchanges under way, now and not in two seconds."""
    s.relay.ingress.look_after_exchanges()


async def is_cut(connection: Any) -> bool:
    try:
        return await connection.reader.read() == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("fields", [WEBSOCKET, []], ids=["websocket", "event stream"])
async def test_what_a_token_opened_ends_with_it(s: Scene, ci: Issuer, fields: list[tuple[str, str]]):
    """Row 115."""
    status, said = (101, SWITCHED) if fields else (200, b"Content-Type: text/event-stream\r\n")
    s.agent.answers = lambda asked: asked.head(status, said)
    async with s.visitor() as visitor:
        await visitor.send(get(*fields, token=good(ci)))
        await visitor.reader.readuntil(b"\r\n\r\n")
        look(s)
        assert (await s.visit(visitor)).exchange is not None

        s.clock.ahead = 300 + 60
        look(s)
        assert await is_cut(visitor)


async def test_a_request_nobody_has_answered_when_its_token_ends_is_refused(s: Scene, ci: Issuer):
    s.agent.answers = lambda asked: None
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, get(token=good(ci)))
        s.clock.ahead = 300 + 60
        look(s)
        response = await visitor.response()
        await asked.until(lambda: asked.reset)

    assert (response.status, error_of(response)) == (401, "bearer_invalid")


async def test_what_a_token_opened_ends_when_the_owner_takes_other_tokens(s: Scene, ci: Issuer):
    """Row 115."""
    s.agent.answers = lambda asked: asked.head(101, SWITCHED)
    async with s.visitor() as visitor:
        await visitor.send(get(*WEBSOCKET, token=good(ci)))
        await visitor.reader.readuntil(b"\r\n\r\n")
        bearer = policy_of(s).bearer
        assert bearer is not None
        changed = replace(policy_of(s), bearer=replace(bearer, version="another"))
        s.relay.registry.find(HOST).policy = changed

        look(s)
        assert await is_cut(visitor)


async def test_a_tunnel_that_comes_back_with_other_rules_judges_known_tokens_anew(s: Scene, ci: Issuer):
    token = good(ci)
    assert (await s.fetch(get(token=token))).status == 200
    narrower = msgspec.structs.replace(policy(ci), jwt=(JwtSpec(issuer=ci.url, audience="another"),))
    assert isinstance(await s.agent.bind(HOST.partition(".")[0], policy=narrower), Bound)

    response: Response = await s.fetch(get(token=token))
    assert (response.status, error_of(response)) == (401, "bearer_invalid")


async def test_row27_a_flood_of_unknown_keys_is_one_fetch(s: Scene, ci: Issuer):
    from joserfc import jwt

    assert (await s.fetch(get(token=good(ci)))).status == 200
    asked = ci.asked.count("/.well-known/jwks")
    claims = {"iss": ci.url, "aud": AUDIENCE, "sub": "x", "exp": int(time.time()) + 60}
    for number in range(30):
        header = {"alg": "RS256", "kid": f"random-{number}"}
        response = await s.fetch(get(token=jwt.encode(header, claims, ci.key, algorithms=["RS256"])))
        assert response.status == 401
    assert ci.asked.count("/.well-known/jwks") - asked <= 1


async def test_the_log_names_the_program_and_not_its_token(s: Scene, ci: Issuer):
    """Row 158."""
    token = good(ci)
    assert (await s.fetch(get(token=token))).status == 200

    assert s.log[-1].user == "repo:acme/app:ref:refs/heads/main"
    assert token not in repr(s.log)
