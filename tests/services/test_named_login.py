"""People sign in by a named provider at endpoints of owners who are strangers: one client, one redirect URI, and
nothing of one owner's logins is good at another's."""

import asyncio
from typing import Any

import pytest

from tests.services.test_providers import by_name, named
from tests.support.idp import CLIENT_ID, CLIENT_SECRET, Provider
from tests.support.managed import ADMIN, ANN, BOB
from tests.support.scripted_agent import ScriptedAgent
from tests.support.visitor import Visitor, page_url
from tests.support.world import World, world
from tunnelctl.wire.messages import PolicySpec, Refused
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.provider_settings import ProviderSettings
from tunnelrelay.store.base import NameRow


@pytest.fixture
async def w(tmp_path):
    async with world(tmp_path / "data", multi_tenant=True) as running:
        yield running


async def register(w: World, idp: Provider, **more):
    """The provider, under the name that owners use."""
    settings = ProviderSettings(issuer=idp.issuer, client_id=CLIENT_ID)
    return await w.relay.parts.services.providers.create(ADMIN, "work", settings, CLIENT_SECRET, **more)


async def edge(w: World, who, host: str, upstream: int, **rules) -> str:
    """An edge of somebody's that names the provider, with an agent that serves it. Returns its address."""
    services = w.relay.parts.services
    made = await services.edges.create(who, EdgeDraft(host=host))
    await services.edges.set_policy(who, made.id, by_name(**rules))
    _, token = await services.credentials.create(who)
    await w.tunnel(upstream, token=token, edge=host)
    return made.url


async def test_a_login_at_one_owner_s_edge_is_worth_nothing_at_another_s(w, app, mock_idp):
    """Rows 72, 138. The connection's id is the same at both: it is the host that a session is good for."""
    provider = await register(w, mock_idp)
    ann, bob = await edge(w, ANN, "ann", app.port), await edge(w, BOB, "bob", app.port)
    with Visitor() as visitor:
        page = await asyncio.to_thread(visitor.login, f"{ann}/echo", "alice")
        assert page.status_code == 200
        assert page_url(page) == f"{ann}/echo"
        assert any(provider.redirect_uri in address for address in visitor.went)
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.client.cookies.jar)

        stolen = await asyncio.to_thread(visitor.client.get, f"{bob}/echo", headers={"Cookie": cookies})
        home = await asyncio.to_thread(visitor.client.get, f"{ann}/echo", headers={"Cookie": cookies})

    assert (stolen.status_code, home.status_code) == (401, 200)


async def test_a_visitor_is_out_as_soon_as_the_owner_may_not_name_the_provider(w, app, mock_idp):
    provider = await register(w, mock_idp)
    ann = await edge(w, ANN, "ann", app.port)
    providers = w.relay.parts.services.providers
    with Visitor() as visitor:
        await asyncio.to_thread(visitor.login, f"{ann}/echo", "alice")

        await providers.update(ADMIN, provider.id, owners=("bob",))
        closed = await asyncio.to_thread(visitor.get, f"{ann}/echo")
        await providers.update(ADMIN, provider.id, owners=())
        back = await asyncio.to_thread(visitor.get, f"{ann}/echo")

    assert (closed.status_code, closed.headers["tunnel-error"]) == (503, "endpoint_closed")
    assert back.status_code == 200


async def test_an_agent_signs_people_in_by_a_provider_whose_secret_it_never_had(w, app, mock_idp):
    await register(w, mock_idp, owners=("ann",))
    _, token = await w.relay.parts.services.credentials.create(ANN)
    tunnel = await w.tunnel(app.port, token=token, subdomain="dev", policy=PolicySpec(oidc=named()))

    with Visitor() as visitor:
        page = await asyncio.to_thread(visitor.login, f"{tunnel.url}/echo", "alice")

    assert page.status_code == 200
    assert page_url(page) == f"{tunnel.url}/echo"


async def test_each_owner_s_rules_hold_for_his_own_edge(w, app, mock_idp):
    await register(w, mock_idp)
    nobody = await edge(w, ANN, "ann", app.port, allow_emails=("nobody@acme.com",))
    everybody = await edge(w, BOB, "bob", app.port)

    with Visitor() as visitor:
        refused = await asyncio.to_thread(visitor.login, f"{nobody}/echo", "alice")
        let_in = await asyncio.to_thread(visitor.login, f"{everybody}/echo", "alice")

    assert (refused.status_code, let_in.status_code) == (403, 200)


async def test_a_changed_rule_acts_on_a_visitor_who_is_signed_in(w, app, mock_idp):
    await register(w, mock_idp)
    services = w.relay.parts.services
    ann = await edge(w, ANN, "ann", app.port)
    made = await services.edges.by_name(ANN, "ann")
    with Visitor() as visitor:
        await asyncio.to_thread(visitor.login, f"{ann}/echo", "alice")
        before = await asyncio.to_thread(visitor.get, f"{ann}/echo")

        await services.edges.set_policy(ANN, made.id, by_name(allow_groups=("nobody",)))
        after = await asyncio.to_thread(visitor.get, f"{ann}/echo")
        await services.edges.set_policy(ANN, made.id, by_name())

    assert (before.status_code, after.status_code) == (200, 401)


async def test_an_owner_who_loses_a_provider_while_the_store_is_asked_for_a_name_does_not_serve_by_it(
    w, mock_idp, monkeypatch
):
    """Row 130."""
    provider = await register(w, mock_idp, owners=("ann",))
    _, token = await w.relay.parts.services.credentials.create(ANN)
    asked, go_on = asyncio.Event(), asyncio.Event()
    claim = w.relay.store.claim_name

    async def slow(*args: Any, **more: Any) -> NameRow:
        asked.set()
        await go_on.wait()
        return await claim(*args, **more)

    monkeypatch.setattr(w.relay.store, "claim_name", slow)
    agent = ScriptedAgent()
    await agent.connect(w.relay.http[1], token=token)
    answer = asyncio.create_task(agent.bind("late", policy=PolicySpec(oidc=named())))
    await asked.wait()
    await w.relay.parts.services.providers.update(ADMIN, provider.id, owners=("bob",))
    go_on.set()
    refused = await answer
    await agent.close()

    assert isinstance(refused, Refused)
    assert refused.code == "policy_invalid"
    assert w.relay.registry.find("late.localhost") is None
