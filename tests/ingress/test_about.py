"""What the agent of an inspected tunnel is told about each visitor, through a whole relay."""

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from tests.ingress.scene import HOST, Scene
from tests.policy.making import policy
from tests.support.issuer import Issuer, issuer
from tests.support.raw_http import request_bytes
from tests.support.scripted_agent import Asked, ScriptedAgent
from tunnelctl.wire.about import About, unpack_about
from tunnelctl.wire.messages import Bound, Join, JwtSpec, OidcSpec, PolicySpec
from tunnelrelay.ingress import about as about_module
from tunnelrelay.registry.edges import LiveEdge

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER = "http://127.0.0.1:9"
CLAIMS = {"sub": "1", "email": "ann@acme.com", "email_verified": True, "name": "Ann", "groups": ["dev"], "phone": "555"}
LOGIN = OidcSpec(
    issuer=ISSUER,
    client_id="c",
    client_secret="s3cret",
    recheck_seconds=0,
    allow_domains=("acme.com",),
    public_paths=("/hooks/*",),
    allow_preflight=True,
)
PREFLIGHT = [("Origin", "https://shop.example"), ("Access-Control-Request-Method", "POST")]


@pytest.fixture(scope="module")
def ci() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


@asynccontextmanager
async def inspecting(s: Scene, policy: PolicySpec | None = None, *, inspect: bool = True) -> AsyncIterator[Scene]:
    """The scene with an agent that serves the host in place of the scene's own, and asks to be told."""
    agent = ScriptedAgent()
    await agent.connect(s.port)
    try:
        agent.answers = Asked.answer
        bound = await agent.bind(HOST.partition(".")[0], policy=policy, inspect=inspect)
        assert isinstance(bound, Bound), bound
        yield Scene(s.relay, agent, s.log)
    finally:
        await agent.close()


async def told(s: Scene, target: str = "/", *fields: tuple[str, str], method: str = "GET") -> About:
    """What the agent was told about a visitor who was let in; how long it took apart."""
    response = await s.fetch(request_bytes(method, target, host=HOST, fields=list(fields)), method=method)
    assert response.status == 200, response
    await s.agent.round_trip()
    payload = s.agent.asked[-1].about
    assert payload is not None
    about = unpack_about(payload)
    assert about is not None
    assert 0 < about.gate_ns < 60_000_000_000
    return about


def without_time(about: About) -> dict[str, Any]:
    return {name: getattr(about, name) for name in About.__struct_fields__ if name != "gate_ns"}


async def signed_in(s: Scene, claims: dict[str, Any] = CLAIMS) -> tuple[str, str]:
    connection = s.relay.registry.connection_of(HOST)
    assert connection is not None
    cookie = await s.relay.parts.sessions.create(HOST, connection, issuer=ISSUER, claims=claims)
    return "Cookie", f"tunnel={cookie.decode()}"


async def test_a_tunnel_that_does_not_ask_is_told_nothing(s: Scene) -> None:
    async with inspecting(s, inspect=False) as here:
        assert (await here.fetch()).status == 200
        await here.agent.round_trip()
        assert here.agent.asked[-1].about is None


async def test_at_an_open_endpoint_it_is_the_address(s: Scene) -> None:
    async with inspecting(s) as here:
        assert without_time(await told(here)) == {
            "address": "127.0.0.1",
            "subject": "",
            "email": "",
            "name": "",
            "rule": "open to everybody",
            "how": "open",
        }


async def test_a_visitor_who_signed_in_is_named_with_the_rule_and_no_other_claim(s: Scene) -> None:
    async with inspecting(s, PolicySpec(oidc=LOGIN)) as here:
        cookie = await signed_in(here)

        about = await told(here, "/", cookie)

        assert without_time(about) == {
            "address": "127.0.0.1",
            "subject": "1",
            "email": "ann@acme.com",
            "name": "Ann",
            "rule": "domain acme.com",
            "how": "session",
        }
        told_of = here.agent.asked[-1].about
        assert told_of is not None
        assert not [secret for secret in (cookie[1][7:], "s3cret", "555", "dev") if secret.encode() in told_of]


async def test_the_claims_are_read_once_for_a_login_and_again_when_the_rules_change(
    s: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    let_in_by = about_module.let_in_by
    monkeypatch.setattr(about_module, "let_in_by", lambda *args: reads.append(args) or let_in_by(*args))
    async with inspecting(s, PolicySpec(oidc=LOGIN)) as here:
        cookie = await signed_in(here)
        assert [(await told(here, "/", cookie)).rule for _ in range(3)] == ["domain acme.com"] * 3
        assert len(reads) == 1

        by_group = msgspec.structs.replace(LOGIN, allow_domains=(), allow_groups=("dev",))
        await here.agent.bind(HOST.partition(".")[0], policy=PolicySpec(oidc=by_group), inspect=True)

        assert (await told(here, "/", cookie)).rule == "group dev"


@pytest.mark.parametrize(
    ("target", "method", "fields", "how", "rule"),
    [
        ("/hooks/github", "GET", [], "public_path", "public path /hooks/*"),
        ("/", "OPTIONS", PREFLIGHT, "preflight", "CORS preflight"),
    ],
)
async def test_what_is_exempt_from_the_login_is_told_with_its_exemption(
    s: Scene, target: str, method: str, fields: list[tuple[str, str]], how: str, rule: str
) -> None:
    async with inspecting(s, PolicySpec(oidc=LOGIN)) as here:
        about = await told(here, target, *fields, method=method)
        assert (about.how, about.rule, about.subject) == (how, rule, "")


async def test_a_password_is_told_of_and_not_told(s: Scene) -> None:
    async with inspecting(s, PolicySpec(basic_auth=("ann:correct-horse",))) as here:
        pair = base64.b64encode(b"ann:correct-horse").decode()

        about = await told(here, "/", ("Authorization", f"Basic {pair}"))

        assert (about.how, about.rule, about.subject) == ("basic", "basic auth", "")
        told_of = here.agent.asked[-1].about
        assert told_of is not None
        assert b"correct-horse" not in told_of


async def test_a_program_is_told_with_its_issuers_rule_and_without_its_token(s: Scene, ci: Issuer) -> None:
    spec = JwtSpec(issuer=ci.url, audience="deploy", claims=(("repository", "acme/app"),))
    async with inspecting(s, PolicySpec(jwt=(spec,))) as here:
        token = ci.token("deploy", repository="acme/app", actor="bot")

        about = await told(here, "/", ("Authorization", f"Bearer {token}"))

        assert (about.how, about.rule) == ("jwt", "bearer audience deploy, claim repository=acme/app")
        assert about.subject == "repo:acme/app:ref:refs/heads/main"
        told_of = here.agent.asked[-1].about
        assert told_of is not None
        assert token.rpartition(".")[2].encode() not in told_of


async def test_a_network_that_is_let_in_is_the_rule(s: Scene) -> None:
    async with inspecting(s, PolicySpec(cidr_allow=("127.0.0.0/8",))) as here:
        about = await told(here)
        assert (about.how, about.rule) == ("open", "network")


async def test_an_upgrade_is_told_about_too(s: Scene) -> None:
    async with inspecting(s) as here, here.visitor() as visitor:
        asking = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
        here.agent.answers = lambda asked: None
        await here.exchange(visitor, request_bytes("GET", "/ws", host=HOST, fields=asking))
        await here.agent.round_trip()
        assert here.agent.asked[-1].about is not None


async def test_the_time_at_the_gate_includes_the_wait_for_the_tunnel(s: Scene) -> None:
    async with inspecting(s) as here, here.visitor() as visitor:
        await here.lose_agent()
        await visitor.send(request_bytes("GET", "/", host=HOST))
        visit = await here.visit(visitor)
        await here.turns(lambda: visit.exchange)
        assert visit.exchange is not None
        visit.exchange.started_at -= 60.0  # it waits a minute

        async with inspecting(s) as back:
            assert (await visitor.response()).status == 200
            await back.agent.round_trip()
            payload = back.agent.asked[-1].about

    assert payload is not None
    about = unpack_about(payload)
    assert about is not None
    assert about.gate_ns >= 60_000_000_000


async def test_an_edges_tunnel_is_told_as_it_asked(s: Scene) -> None:
    edges = s.relay.parts.edges
    labels = (("edge", "edghts_1"),)
    guard = policy(owner="local")
    edges.put(LiveEdge(id="edghts_1", owner="local", host="edge.localhost", policy=guard, labels=labels))
    agent = ScriptedAgent()
    await agent.connect(s.port)
    try:
        agent.answers = Asked.answer
        await agent.say(Join(tunnel=1, name="web", upstream="http://localhost:80", labels=labels, inspect=True))
        assert (await s.fetch(request_bytes("GET", "/", host="edge.localhost"))).status == 200
        await agent.round_trip()
        assert agent.asked[-1].about is not None
    finally:
        await agent.close()
        edges.drop("edghts_1")
