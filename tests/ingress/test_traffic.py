"""What a real relay remembers of what visitors asked for."""

import pytest

from tests.ingress.scene import HOST, Scene
from tests.support.raw_http import request_bytes
from tests.support.scripted_agent import scripted_agent
from tunnelctl.wire.messages import OidcSpec, PolicySpec
from tunnelrelay.observe.traffic import FinishedExchange

pytestmark = pytest.mark.asyncio(loop_scope="module")


def kept(s: Scene) -> list[FinishedExchange]:
    """What this test's visitors asked for, newest first."""
    return [seen for seen in s.relay.parts.traffic.recent() if seen.exchange in s.log]


async def test_a_request_is_kept_with_who_served_it_and_what_guards_the_endpoint(s: Scene) -> None:
    await s.fetch_answered()
    (seen,) = kept(s)
    endpoint = s.relay.registry.find(HOST)
    assert endpoint is not None
    (tunnel,) = endpoint.tunnels
    assert (seen.owner, seen.tunnel, seen.policy) == (endpoint.owner, tunnel.id, endpoint.policy)
    assert seen.session is None
    assert (seen.exchange.host, seen.exchange.status) == (HOST, 200)


async def test_a_query_is_not_kept(s: Scene) -> None:
    s.agent.answers = lambda asked: asked.answer()
    await s.fetch(request_bytes("GET", "/cb?code=c0ffee", host=HOST))
    (seen,) = kept(s)
    assert seen.exchange.path == "/cb"


async def test_whoever_is_kept_out_was_served_by_nobody(s: Scene) -> None:
    login = OidcSpec(issuer="https://idp.example", client_id="c", client_secret="s")
    async with scripted_agent(s.port, "guarded", policy=PolicySpec(oidc=login)):
        await s.fetch(request_bytes("GET", "/", host="guarded.localhost"))
    (seen,) = kept(s)
    assert (seen.tunnel, seen.exchange.error) == ("", "login_required")


async def test_the_relays_own_pages_on_somebodys_host_are_that_owners_traffic(s: Scene) -> None:
    await s.fetch(request_bytes("GET", "/_tunnel/nothing", host=HOST))
    (seen,) = kept(s)
    assert (seen.owner, seen.tunnel, seen.exchange.status) == ("local", "", 404)


@pytest.mark.parametrize("host", ["nobody.localhost", "localhost", "dashboard.localhost"])
async def test_what_is_for_nobodys_host_is_not_kept(s: Scene, host: str) -> None:
    await s.fetch(request_bytes("GET", "/", host=host))
    assert kept(s) == []


async def test_an_agents_question_whether_it_is_reachable_is_nobodys_visit(s: Scene) -> None:
    await s.fetch_answered()
    s.agent.answers = lambda asked: asked.answer()
    await s.fetch(request_bytes("GET", "/_tunnel/ready", host=HOST))
    assert [seen.exchange.path for seen in kept(s)] == ["/"]


async def test_it_is_kept_also_when_nothing_is_logged(s: Scene) -> None:
    assert s.relay.parts.ingress.access.is_on is False
    await s.fetch_answered()
    assert len(kept(s)) == 1
