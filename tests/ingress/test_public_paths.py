"""Public paths through a whole relay: what passes without a login, as whom, and which other rules go on holding."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.ingress.conftest import KeptLog
from tests.ingress.scene import HOST, Scene, closed_without_clean_end, error_of
from tests.policy.making import typed
from tests.services.test_edges import login
from tests.services.test_edges_served import ME, new_edge
from tests.support.apps import App
from tests.support.issuer import Issuer, issuer
from tests.support.raw_http import Response, connect, request_bytes
from tests.support.scripted_agent import Asked, scripted_agent
from tests.support.world import world
from tunnelctl.policy.parse import build_policy
from tunnelctl.wire.messages import HeaderEdit, OidcSpec, PolicySpec
from tunnelrelay.app.relay import Relay
from tunnelrelay.keys.keyring import sha256
from tunnelrelay.observe.traffic import FinishedExchange
from tunnelrelay.oidc.sessions.session import Grant
from tunnelrelay.services.edge_settings import EdgeSecrets
from tunnelrelay.store.base import StoreError

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLAIMS = {"sub": "alice", "email": "alice@acme.example", "email_verified": True}
ISSUER = "http://127.0.0.1:9"
"""No port is open there: nothing on a public path may need the provider."""
WEBSOCKET = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
LOGIN = OidcSpec(
    issuer=ISSUER, client_id="c", client_secret="s", recheck_seconds=0, public_paths=("/hooks/*", "/health")
)


def policy(**changes: Any) -> PolicySpec:
    return PolicySpec(oidc=msgspec.structs.replace(LOGIN, **changes))


@pytest_asyncio.fixture(loop_scope="module")
async def s(relay: tuple[Relay, KeptLog]) -> AsyncIterator[Scene]:
    running, log = relay
    log.kept.clear()
    assert running.http is not None
    async with scripted_agent(running.http[1], HOST.partition(".")[0], policy=policy()) as agent:
        agent.answers = lambda asked: asked.answer(b"" if asked.line.startswith(b"HEAD") else b"ok")
        yield Scene(running, agent, log.kept)


@pytest_asyncio.fixture(loop_scope="module")
async def alice(s: Scene) -> tuple[str, str]:
    """The cookie field of a visitor who signed in."""
    return await signed_in(s)


async def signed_in(s: Scene, grant: Grant | None = None) -> tuple[str, str]:
    connection = s.relay.registry.connection_of(HOST)
    assert connection is not None
    cookie = await s.relay.parts.sessions.create(HOST, connection, issuer=ISSUER, claims=CLAIMS, grant=grant)
    return "Cookie", f"tunnel={cookie.decode()}"


async def ask(s: Scene, target: str, *fields: tuple[str, str], method: str = "GET") -> Response:
    return await s.fetch(request_bytes(method, target, host=HOST, fields=list(fields)), method=method)


def last(s: Scene) -> dict[bytes, bytes]:
    """What the app saw of the last request."""
    return dict(s.agent.asked[-1].fields)


def rules(s: Scene) -> list[tuple[str, str]]:
    """What let this test's requests in without a login, oldest first, by path."""
    kept: list[FinishedExchange] = [seen for seen in s.relay.parts.traffic.recent() if seen.exchange in s.log]
    return [(seen.exchange.path, seen.exempt) for seen in reversed(kept)]


# What passes


async def test_a_public_path_needs_no_login_and_every_other_one_does(s: Scene):
    hook, health = await ask(s, "/hooks/github?a=b", method="POST"), await ask(s, "/health", method="HEAD")
    refused = [
        await ask(s, target) for target in ("/", "/hooks", "/hooks/", "/hooks/../admin", "/hooks/%61", "/Health")
    ]

    assert (hook.status, health.status) == (200, 200)
    assert [(answer.status, error_of(answer)) for answer in refused] == [(401, "login_required")] * 6
    assert [asked.line for asked in s.agent.asked] == [b"POST /hooks/github?a=b HTTP/1.1", b"HEAD /health HTTP/1.1"]
    assert rules(s)[:2] == [("/hooks/github", "public path /hooks/*"), ("/health", "public path /health")]
    assert {rule for _, rule in rules(s)[2:]} == {""}


async def test_the_traffic_says_that_a_public_path_let_it_in(s: Scene):
    await ask(s, "/health")
    (row, *_) = s.relay.parts.services.traffic.recent(ME, host=HOST, limit=1)

    assert (row.path, row.verdict, row.rule, row.user) == ("/health", "let in", "public path /health", "")


async def test_a_websocket_and_a_preflight_pass_on_a_public_path(s: Scene):
    s.agent.answers = lambda asked: None
    async with s.visitor() as visitor:
        upgrade = request_bytes(
            "GET", "/hooks/live", host=HOST, fields=[*WEBSOCKET, ("Origin", "https://else.example")]
        )
        asked = await s.exchange(visitor, upgrade)
        asked.head(101, b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
        assert (await visitor.response()).status == 101
        asked.data(b"hello")
        assert await visitor.read(5) == b"hello"
    s.agent.answers = lambda asked: asked.answer()
    fields = [("Origin", "https://else.example"), ("Access-Control-Request-Method", "POST")]
    assert (await ask(s, "/hooks/github", *fields, method="OPTIONS")).status == 200
    assert (await ask(s, "/", *fields, method="OPTIONS")).status == 401


async def test_what_the_app_gets_is_the_path_that_was_judged(tmp_path: Path, app: App):
    """Row 52. From the flag to the app, through a real agent."""
    flags = typed(
        oidc=ISSUER, oidc_client_id="c", oidc_client_secret="s", public_path=("/echo/*",), host_header="rewrite"
    )
    async with world(tmp_path / "data") as w:
        tunnel = await w.tunnel(app.port, subdomain="demo", policy=build_policy(flags))
        for target in ("/echo/a:b/.x/~y/?q=/../z%2e", "/echo/..;/x", "/echo/%2e%2e/x", "/echo//x", "/echo/x\\y"):
            await tunnel.fetch("GET", target)

    assert [request.target for request in app.requests] == ["/echo/a:b/.x/~y/?q=/../z%2e"]


# As whom


async def test_row106_no_spelling_of_an_identity_reaches_the_app(s: Scene):
    """Row 106. On a public path, where the relay has none to set."""
    for name in ("X-Tunnel-User", "x_tunnel_email", "X-Auth-Request-Email", "X_Auth_Request_Email", "Remote-User"):
        for spelt in (name, name.upper(), name.lower(), f"HTTP_{name}"):
            assert (await ask(s, "/hooks/x", (spelt, "boss"))).status == 200
            assert b"boss" not in last(s).values(), spelt
    chunked = b"Host: %b\r\nTransfer-Encoding: chunked\r\nTrailer: X-Tunnel-User\r\n" % HOST.encode()
    await s.fetch(b"POST /hooks/x HTTP/1.1\r\n" + chunked + b"\r\n0\r\nX-Tunnel-User: boss\r\n\r\n", method="POST")
    asked = s.agent.asked[-1]
    await asked.until(lambda: asked.trailers is not None)
    assert b"boss" not in (asked.trailers or b"")


async def test_row51_what_names_another_path_or_method_is_taken_out(s: Scene):
    """Row 51."""
    names = ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-HTTP-Method-Override")
    for name in names:
        assert (await ask(s, "/admin", (name, "/hooks/x"))).status == 401
        assert (await ask(s, "/hooks/x", (name, "/admin"))).status == 200
        assert b"/admin" not in last(s).values(), name


async def test_row111_authorization_is_the_apps_and_the_relays_cookies_are_not(s: Scene):
    """Row 111."""
    await ask(s, "/hooks/x", ("Authorization", "Bearer of-the-app"), ("Cookie", "theirs=1; tunnel=" + "A" * 43))

    assert last(s)[b"authorization"] == b"Bearer of-the-app"
    assert last(s)[b"cookie"] == b"theirs=1"


async def test_row70_an_answer_there_sets_none_of_the_relays_cookies_and_stays_private(s: Scene):
    """Row 70."""
    s.agent.answers = lambda asked: asked.answer(
        fields=b"Set-Cookie: tunnel=x\r\nSet-Cookie: __Host-tunnel=x\r\nSet-Cookie: a=b\r\nCache-Control: public\r\n"
    )
    answer = await ask(s, "/hooks/x")

    assert answer.get_all("set-cookie") == ["a=b"]
    assert (answer.get("cache-control"), answer.get("vary")) == ("private", "Cookie")


async def test_a_visitor_who_is_signed_in_is_named_there_too(s: Scene, alice: tuple[str, str]):
    await ask(s, "/health", alice)

    assert last(s)[b"x-tunnel-user"] == b"alice"
    assert b"cookie" not in last(s)
    assert rules(s) == [("/health", "")]


@pytest.mark.parametrize(
    "fields",
    [
        [("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors")],
        [("Origin", "https://evil.localhost")],
        [*WEBSOCKET, ("Origin", "https://evil.localhost")],
    ],
)
async def test_row77_another_sites_page_gets_there_without_the_visitors_identity(
    s: Scene, alice: tuple[str, str], fields: list[tuple[str, str]]
):
    """Row 77."""
    answer = await ask(s, "/hooks/x", alice, *fields)

    assert answer.status == 200
    assert {b"x-tunnel-user", b"x-tunnel-assertion", b"cookie"}.isdisjoint(last(s))
    assert rules(s) == [("/hooks/x", "public path /hooks/*")]


@pytest.mark.parametrize("kind", ["ended", "never was", "not admitted"])
async def test_row74_a_session_that_does_not_let_in_is_as_none(s: Scene, alice: tuple[str, str], kind: str):
    """Row 74."""
    match kind:
        case "ended":
            await s.relay.parts.sessions.end(digest_of(alice))
        case "never was":
            alice = ("Cookie", "tunnel=" + "B" * 43)
        case "not admitted":
            await s.agent.bind("demo", policy=policy(allow_groups=("ops",)))
    answer = await ask(s, "/hooks/x", alice)

    assert (answer.status, (await ask(s, "/", alice)).status) == (200, 401)
    assert {b"x-tunnel-user", b"x-tunnel-assertion", b"cookie"}.isdisjoint(last(s))


def digest_of(cookie: tuple[str, str]) -> bytes:
    return sha256(cookie[1].partition("=")[2].encode())


async def stream(s: Scene, visitor: Any, *fields: tuple[str, str]) -> Asked:
    """An event stream on a public path that has begun."""
    s.agent.answers = lambda asked: None
    asked = await s.exchange(visitor, request_bytes("GET", "/hooks/events", host=HOST, fields=list(fields)))
    asked.head(200, b"Content-Type: text/event-stream\r\n")
    asked.data(b"data: 1\n\n")
    assert (await visitor.head()).status == 200
    assert b"data: 1" in await visitor.read(14)
    return asked


async def test_row74_a_stream_that_names_a_person_ends_with_the_session_and_one_without_goes_on(
    s: Scene, alice: tuple[str, str]
):
    """Row 74."""
    async with s.visitor() as named, s.visitor() as nameless:
        await stream(s, named, alice)
        other = await stream(s, nameless, alice, ("Sec-Fetch-Site", "cross-site"))
        await s.relay.parts.sessions.end(digest_of(alice))
        assert await closed_without_clean_end(named) == b""
        other.data(b"data: 2\n\n")
        assert b"data: 2" in await nameless.read(14)


async def test_a_store_that_is_away_closes_no_public_path(s: Scene, monkeypatch: pytest.MonkeyPatch):

    async def is_away(key: bytes) -> None:
        raise StoreError("away")

    monkeypatch.setattr(s.relay.store, "load_session", is_away)
    unknown = ("Cookie", "tunnel=" + "C" * 43)

    assert (await ask(s, "/hooks/x", unknown)).status == 200
    assert b"x-tunnel-user" not in last(s)
    assert (await ask(s, "/", unknown)).status == 503


async def test_a_provider_that_is_away_closes_no_public_path(s: Scene):
    await s.agent.bind("demo", policy=policy(recheck_seconds=100, on_recheck_error="502"))
    cookie = await signed_in(s, Grant(refresh_token="canary"))
    assert (await ask(s, "/", cookie)).status == 200
    s.clock.ahead = 140

    refused, passed = await ask(s, "/", cookie), await ask(s, "/hooks/x", cookie)
    assert (refused.status, error_of(refused), passed.status) == (502, "provider_unreachable", 200)
    assert b"x-tunnel-user" not in last(s)


@pytest.fixture(scope="module")
def idp() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


async def test_tokens_are_the_apps_on_a_public_path(s: Scene, idp: Issuer):
    """The relay neither takes nor refuses one there: a hook's sender may show a token that is for the app alone."""
    await s.agent.bind("demo", policy=policy(issuer=idp.url, bearer=("",)))
    for token in (idp.token("c"), idp.token("someone-else"), idp.token("c", exp=1), "eyJ.eyJ.x"):
        shown = ("Authorization", f"Bearer {token}")
        assert (await ask(s, "/hooks/x", shown, shown)).status == 200
        assert [value for name, value in s.agent.asked[-1].fields if name == b"authorization"] == [
            shown[1].encode()
        ] * 2
        assert b"x-tunnel-user" not in last(s)


# Which other rules hold


async def test_networks_are_judged_before_a_public_path(s: Scene):
    await s.agent.bind("demo", policy=msgspec.structs.replace(policy(), cidr_deny=("127.0.0.0/8",)))

    answer = await ask(s, "/hooks/x")
    assert (answer.status, error_of(answer)) == (403, "network_denied")
    assert s.agent.asked == []


async def test_header_rules_hold_on_a_public_path(s: Scene):
    edited = HeaderEdit(add=(("X-A", "1"),), remove=("X-B",))
    await s.agent.bind("demo", policy=msgspec.structs.replace(policy(), request_headers=edited))
    await ask(s, "/hooks/x", ("X-B", "2"))

    assert last(s)[b"x-a"] == b"1"
    assert b"x-b" not in last(s)


@pytest.mark.parametrize(
    "bytes_",
    [
        b"GET /hooks/x#/admin HTTP/1.1\r\nHost: %b\r\n\r\n",
        b"GET /hooks/x HTTP/1.1\r\nHost: %b\r\nHost: other\r\n\r\n",
        b"POST /hooks/x HTTP/1.1\r\nHost: %b\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /hooks/x HTTP/1.1\r\nHost: %b\nX: y\r\n\r\n",
        b"GET  /hooks/x HTTP/1.1\r\nHost: %b\r\n\r\n",
        b"GET /hooks/%%zz HTTP/1.1\r\nHost: %b\r\n\r\n",
    ],
)
async def test_what_two_parsers_read_differently_is_refused_there_too(s: Scene, bytes_: bytes):
    answer = await s.fetch(bytes_ % HOST.encode())

    assert (answer.status, error_of(answer)) == (400, "bad_request")
    assert s.agent.asked == []


async def test_each_request_of_a_connection_is_judged_by_its_own_path(s: Scene):
    both = b"".join(request_bytes("GET", target, host=HOST) for target in ("/hooks/x", "/admin", "/health"))
    async with s.visitor() as visitor:
        await visitor.send(both)
        assert [(await visitor.response()).status for _ in range(3)] == [200, 401, 200]


async def test_the_relays_own_paths_are_no_apps(s: Scene):
    answer = await ask(s, "/_tunnel/hooks")
    assert (answer.status, error_of(answer)) == (404, "page_not_found")
    assert s.agent.asked == []


async def test_a_path_that_is_closed_again_ends_what_is_open_there(tmp_path: Path, app: App):
    async with world(tmp_path / "data") as w:
        edges = w.relay.parts.services.edges
        made = await new_edge(w)
        await edges.set_policy(ME, made.id, login(public_paths=("/events",)), EdgeSecrets(client_secret="hush"))
        await w.tunnel(app.port, edge="demo")
        async with connect(w.port) as visitor:
            await visitor.send(request_bytes("GET", "/events", host=f"demo.localhost:{w.port}"))
            assert (await visitor.head()).status == 200
            await edges.set_policy(ME, made.id, login(public_paths=("/else",)))
            w.relay.ingress.look_after_exchanges()
            assert b"second" not in await visitor.rest()
