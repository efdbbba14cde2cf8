"""An owner's rule on how often one visitor may ask: who is one visitor, what counts, and who hears of a refusal."""

import json
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.ingress.conftest import KeptLog
from tests.ingress.scene import HOST, Scene, error_of
from tests.support.issuer import Issuer, issuer
from tests.support.managed import ADMIN
from tests.support.raw_http import Response, request_bytes
from tests.support.scripted_agent import Asked, scripted_agent
from tunnelctl.wire.messages import Bound, JwtSpec, OidcSpec, PolicySpec, RateLimitSpec
from tunnelrelay.app.relay import Relay
from tunnelrelay.observe.audit import Audit
from tunnelrelay.policy.rate_limit import RateLimits
from tunnelrelay.services.traffic import TrafficRow

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANN, BOB = "203.0.113.7", "203.0.113.8"
AUDIENCE = "https://demo.example"
NAVIGATE = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Accept", "text/html")]
LOGIN = OidcSpec(issuer="http://127.0.0.1:9", client_id="c", client_secret="s", recheck_seconds=0)


@pytest.fixture(scope="module")
def relay_flags() -> dict[str, object]:
    """Visitors' addresses are what a test says."""
    return {"trusted_proxy": ("127.0.0.0/8",)}


@pytest.fixture(scope="module")
def ci() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


class Visitors:
    """Visitors of an endpoint whose clock stands still unless a test moves it.

    Attributes:
        now: What it shows.
    """

    def __init__(self, s: Scene) -> None:
        self.s = s
        self.now = math.floor(s.relay.ingress.now()) + 0.0

    async def guard(self, limit: str, by: str = "visitor", **more: Any) -> None:
        policy = PolicySpec(rate_limit=RateLimitSpec(limit=limit, by=by), **more)
        assert isinstance(await self.s.agent.bind("demo", policy=policy), Bound)

    async def ask(
        self, address: str = ANN, *fields: tuple[str, str], target: str = "/", method: str = "GET", host: str = HOST
    ) -> Response:
        asked = [*fields, ("X-Forwarded-For", address)] if address else list(fields)
        return await self.s.fetch(request_bytes(method, target, host=host, fields=asked), method=method)

    async def statuses(self, count: int, *how: Any, **more: Any) -> list[int]:
        return [(await self.ask(*how, **more)).status for _ in range(count)]

    async def cookie(self, subject: str) -> tuple[str, str]:
        """A new login of this person, as its cookie."""
        connection = self.s.relay.registry.connection_of(HOST)
        assert connection is not None
        sessions = self.s.relay.parts.sessions
        value = await sessions.create(HOST, connection, issuer=connection.issuer, claims={"sub": subject})
        return "Cookie", f"tunnel={value.decode()}"

    def rows(self) -> list[TrafficRow]:
        """The owner's traffic, the newest first."""
        return self.s.relay.parts.services.traffic.recent(ADMIN, host=HOST)


@pytest_asyncio.fixture(loop_scope="module")
async def v(s: Scene, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Visitors]:
    ingress = s.relay.ingress
    s.agent.answers = Asked.answer
    visitors = Visitors(s)
    monkeypatch.setattr(ingress, "now", lambda: visitors.now)
    monkeypatch.setattr(ingress, "rate_limits", RateLimits())
    monkeypatch.setattr(ingress, "audit", Audit(clock=lambda: 0.0))  # its events reach no store
    yield visitors


async def test_a_visitor_with_too_many_requests_is_told_when_to_come_back_and_let_in_then(v: Visitors):
    await v.guard("2/1m")

    first = await v.statuses(2)
    refused = await v.ask()
    v.now += int(refused.get("retry-after") or 0) - 0.5
    too_early = await v.ask()
    v.now += int(too_early.get("retry-after") or 0)

    assert first == [200, 200]
    assert (refused.status, error_of(refused), refused.get("retry-after")) == (429, "too_many_requests", "30")
    assert (too_early.status, too_early.get("retry-after")) == (429, "1")
    assert await v.statuses(2) == [200, 429]
    assert len(v.s.agent.asked) == 3


async def test_the_refusal_is_a_page_for_people_and_json_for_programs(v: Visitors):
    await v.guard("1/1h")
    await v.ask()

    program, person = await v.ask(), await v.ask(ANN, *NAVIGATE)

    assert json.loads(program.body)["error"]["code"] == "too_many_requests"
    assert json.loads(program.body)["error"]["source"] == "ingress"
    assert "<h1" in person.text
    assert person.get("retry-after") == "3600"
    assert person.get("cache-control") == "no-store"


async def test_a_refusal_is_counted_logged_and_told_to_the_owner_as_others_are(v: Visitors):
    await v.guard("1/1h", oidc=LOGIN)
    ann = await v.cookie("ann")
    metrics = v.s.relay.metrics.counts
    before = metrics["limited"].get("rate_limit", 0), metrics["errors"].get("too_many_requests", 0)
    await v.ask(ANN, ann)

    assert (await v.ask(ANN, ann)).status == 429

    after = metrics["limited"]["rate_limit"], metrics["errors"]["too_many_requests"]
    assert after == (before[0] + 1, before[1] + 1)
    line = v.s.log[-1]
    assert (line.status, line.error, line.source) == (429, "too_many_requests", "ingress")
    assert (line.user, line.peer) == ("ann", ANN)
    row = v.rows()[0]
    assert (row.verdict, row.rule, row.user, row.tunnel) == ("kept out", "too many requests", "ann", "")
    events = [event for event in v.s.relay.ingress.audit.take() if event.kind == "rate.limited"]
    assert [(event.reason, event.host, event.peer) for event in events] == [("rate_limit", HOST, ANN)]


# Who is one visitor


async def test_other_addresses_notice_nothing(v: Visitors):
    await v.guard("1/1h")

    assert await v.statuses(3) == [200, 429, 429]
    assert await v.statuses(2, BOB) == [200, 429]


async def test_an_ipv6_network_of_64_bits_is_one_address(v: Visitors):
    await v.guard("2/1h")

    answers = [(await v.ask(f"2001:db8::{number:x}")).status for number in range(1, 4)]

    assert answers == [200, 200, 429]
    assert (await v.ask("2001:db8:0:1::1")).status == 200


async def test_visitors_on_the_relay_s_own_machine_are_counted_too(v: Visitors):
    """The relay's own limits leave them out. An owner's rule must hold where visitors come by an unknown proxy too."""
    await v.guard("1/1h")

    assert await v.statuses(2, "") == [200, 429]


async def test_a_person_is_one_visitor_at_all_addresses_and_with_all_logins(v: Visitors):
    await v.guard("2/1h", oidc=LOGIN)
    laptop, phone, bob = await v.cookie("ann"), await v.cookie("ann"), await v.cookie("bob")

    assert [(await v.ask(ANN, laptop)).status, (await v.ask(BOB, phone)).status] == [200, 200]
    assert [(await v.ask(BOB, laptop)).status, (await v.ask("198.51.100.1", phone)).status] == [429, 429]
    assert (await v.ask(ANN, bob)).status == 200


async def test_by_address_people_behind_one_address_share_it(v: Visitors):
    await v.guard("2/1h", by="address", oidc=LOGIN)
    ann, bob = await v.cookie("ann"), await v.cookie("bob")

    assert [(await v.ask(ANN, ann)).status, (await v.ask(ANN, bob)).status] == [200, 200]
    assert (await v.ask(ANN, ann)).status == 429
    assert (await v.ask(BOB, ann)).status == 200


async def test_the_holder_of_a_token_is_a_visitor_whichever_token_they_show(v: Visitors, ci: Issuer):
    await v.guard("2/1h", jwt=(JwtSpec(issuer=ci.url, audience=AUDIENCE),))

    def token(subject: str) -> tuple[str, str]:
        return "Authorization", f"Bearer {ci.token(AUDIENCE, sub=subject)}"

    once = token("job")
    assert [(await v.ask(address, once)).status for address in (ANN, BOB)] == [200, 200]
    assert [(await v.ask(address, token("job"))).status for address in (ANN, BOB)] == [429, 429]
    assert (await v.ask(ANN, token("another job"))).status == 200


async def test_who_shows_a_password_is_counted_by_address(v: Visitors):
    await v.guard("1/1h", basic_auth=("ann:correct-horse",))
    shown = ("Authorization", "Basic YW5uOmNvcnJlY3QtaG9yc2U=")

    assert await v.statuses(2, ANN, shown) == [200, 429]
    assert await v.statuses(2, BOB, shown) == [200, 429]
    assert (await v.ask(ANN)).status == 401


async def test_another_endpoint_has_counts_of_its_own(v: Visitors):
    await v.guard("1/1h")
    await v.s.agent.bind("other", policy=PolicySpec(rate_limit=RateLimitSpec(limit="1/1h")))

    assert await v.statuses(2) == [200, 429]
    assert await v.statuses(2, host="other.localhost") == [200, 429]


# What counts


async def test_requests_that_other_rules_refuse_do_not_count(v: Visitors):
    await v.guard("1/1h", cidr_deny=(f"{ANN}/32",))
    assert await v.statuses(5) == [403] * 5

    await v.guard("1/1h")
    assert await v.statuses(2) == [200, 429]


async def test_requests_without_a_login_are_asked_for_one_and_do_not_count(v: Visitors):
    await v.guard("1/1h", by="address", oidc=LOGIN)

    assert await v.statuses(5) == [401] * 5
    assert await v.statuses(2, ANN, await v.cookie("ann")) == [200, 429]
    assert await v.statuses(2) == [401, 401]


async def test_the_relay_s_own_pages_and_an_agent_s_probe_do_not_count_and_are_not_refused(v: Visitors):
    await v.guard("1/1h", by="address", oidc=LOGIN)
    ann = await v.cookie("ann")
    paths = ("/_tunnel/login", "/ngrok/login", "/_tunnel/logout", "/_tunnel/ready")

    before = [(await v.ask(ANN, ann, target=path)).status for path in paths]
    assert await v.statuses(2, ANN, ann) == [200, 429]
    after = [(await v.ask(ANN, ann, target=path)).status for path in paths]

    assert before == after
    assert 429 not in before


async def test_an_upgrade_counts_as_a_request_and_what_passes_over_it_does_not(v: Visitors):
    await v.guard("1/1h")
    upgrade = (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("X-Forwarded-For", ANN))
    v.s.agent.answers = lambda asked: asked.head(101, b"Connection: Upgrade\r\nUpgrade: websocket\r\n")

    async with v.s.visitor() as visitor:
        await visitor.send(request_bytes("GET", "/", host=HOST, fields=list(upgrade)))
        assert (await visitor.head()).status == 101
        await visitor.send(b"x" * 1000)
        await v.s.agent.asked[-1].until(lambda: len(v.s.agent.asked[-1].body) == 1000)

        assert (await v.ask(ANN, *upgrade[:2])).status == 429


async def test_a_request_with_a_body_is_refused_and_the_connection_goes_on(v: Visitors):
    await v.guard("1/1h")
    await v.ask()
    post = request_bytes("POST", "/", host=HOST, fields=[("X-Forwarded-For", ANN), ("Content-Length", "5")])

    async with v.s.visitor() as visitor:
        await visitor.send(post + b"hello" + request_bytes("GET", "/", host=HOST, fields=[("X-Forwarded-For", BOB)]))
        assert [(await visitor.response("POST")).status, (await visitor.response()).status] == [429, 200]


async def test_a_preflight_counts_by_address(v: Visitors):
    login = OidcSpec(issuer="http://127.0.0.1:9", client_id="c", client_secret="s", allow_preflight=True)
    await v.guard("1/1h", oidc=login)
    asking = (("Origin", "https://a.example"), ("Access-Control-Request-Method", "PUT"))

    assert await v.statuses(2, ANN, *asking, method="OPTIONS") == [200, 429]
    assert await v.statuses(1, BOB, *asking, method="OPTIONS") == [200]


async def test_a_path_without_a_login_counts_by_address_where_nobody_is_signed_in(v: Visitors):
    login = OidcSpec(issuer="http://127.0.0.1:9", client_id="c", client_secret="s", public_paths=("/health",))
    await v.guard("1/1h", oidc=login)

    assert await v.statuses(2, target="/health") == [200, 429]
    assert await v.statuses(1, BOB, target="/health") == [200]
    assert await v.statuses(2, ANN, await v.cookie("ann"), target="/health") == [200, 429]


async def test_a_request_that_waits_for_its_agent_is_counted_once(v: Visitors, relay: tuple[Relay, KeptLog]):
    await v.guard("2/1h")
    endpoint = await v.s.lose_agent()
    async with v.s.visitor() as visitor:
        await visitor.send(request_bytes("GET", "/", host=HOST, fields=[("X-Forwarded-For", ANN)]))
        await v.s.turns(lambda: endpoint.held_count)
        policy = PolicySpec(rate_limit=RateLimitSpec(limit="2/1h"))
        async with scripted_agent(v.s.port, "demo", policy=policy) as agent:
            (await agent.next()).answer()
            assert (await visitor.response()).status == 200
            agent.answers = Asked.answer
            assert await v.statuses(2) == [200, 429]


# Changes


async def test_a_changed_rule_holds_from_the_next_request_on_an_open_connection(v: Visitors):
    get = request_bytes("GET", "/", host=HOST, fields=[("X-Forwarded-For", ANN)])
    await v.s.agent.bind("demo", policy=PolicySpec())
    statuses = []
    async with v.s.visitor() as visitor:
        for limit in (None, "1/1h", "1/1h", "2/1s", "2/1s", None):
            rule = None if limit is None else RateLimitSpec(limit=limit)
            assert isinstance(await v.s.agent.bind("demo", policy=PolicySpec(rate_limit=rule)), Bound)
            await visitor.send(get)
            statuses.append((await visitor.response()).status)
            v.now += 0.5

    assert statuses == [200, 200, 429, 429, 200, 200]


async def test_a_rule_that_is_none_is_refused_with_the_setting_it_is_about(v: Visitors):
    answer = await v.s.agent.bind("never", policy=PolicySpec(rate_limit=RateLimitSpec(limit="0/1m")))

    assert [problem.field for problem in answer.problems] == ["rate_limit.limit"]
    assert v.s.relay.registry.find("never.localhost") is None
