"""Edges of a running relay, with real agents and visitors: what is set up is what visitors meet, at every moment."""

import asyncio
from base64 import b64encode
from collections import Counter
from dataclasses import replace

import msgspec
import pytest

from tests.policy.making import NAVIGATE
from tests.services.test_edges import login, with_policy
from tests.services.test_providers import SECRET as PROVIDERS_SECRET
from tests.services.test_providers import WORK, named
from tests.support.managed import ADMIN, actor
from tests.support.raw_http import connect, fetch, request_bytes
from tests.support.waiting import PATIENCE
from tests.support.world import World, world
from tunnelctl.wire.messages import PolicySpec, RateLimitSpec
from tunnelrelay.services.edge_settings import EdgeSecrets
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.problems import Kind, ManageError

ME = actor("me", "local")
"""The owner of agents that need no token."""
CHANGES = 50
VISITORS = 8
PASSWORDS = ("red:a-long-password", "blue:another-password")


@pytest.fixture
async def w(tmp_path):
    async with world(tmp_path / "data") as running:
        yield running


async def new_edge(w: World, host: str = "demo"):
    """An edge through the running relay's services."""
    return await w.relay.parts.services.edges.create(ME, EdgeDraft(host=host))


def basic(pair: str) -> list[tuple[str, str]]:
    """The field that shows a password."""
    return [("Authorization", f"Basic {b64encode(pair.encode()).decode()}")]


async def status(w: World, *fields: tuple[str, str], target: str = "/status/200") -> int:
    """What a visitor of the edge gets."""
    return (await fetch(w.port, "GET", target, host=f"demo.localhost:{w.port}", fields=list(fields))).status


async def test_an_edge_made_through_the_services_serves_an_agent_that_joins_it(w, app):
    services = w.relay.parts.services
    made = await new_edge(w)
    before = await status(w)

    tunnel = await w.tunnel(app.port, edge="demo")

    assert (before, await status(w)) == (503, 200)
    assert tunnel.url == made.url
    (serving,) = services.tunnels.serving(ME, made.id)
    assert (serving.edge_ids, serving.urls, serving.is_healthy) == ((made.id,), (made.url,), True)
    (session,) = services.tunnels.sessions(ME)
    assert (session.id, session.tunnel_ids) == (serving.session_id, (serving.id,))
    assert (await services.edges.get(ME, made.id)).online == 1


async def test_a_login_closes_an_open_edge_with_the_next_request_and_deleting_it_opens_it(w, app):
    edges = w.relay.parts.services.edges
    made = await new_edge(w)
    await w.tunnel(app.port, edge="demo")

    assert await status(w) == 200
    await edges.set_policy(ME, made.id, login(), EdgeSecrets(client_secret="hush"))
    assert await status(w) == 401
    assert await status(w, *NAVIGATE.items()) in (303, 502)
    await edges.set_policy(ME, made.id, with_policy(oidc=None))
    assert await status(w) == 200


@pytest.mark.parametrize(
    ("change", "secrets"),
    [
        (login(), EdgeSecrets(client_secret="hush", basic_auth=())),
        (with_policy(cidr_deny=("127.0.0.0/8",)), EdgeSecrets(basic_auth=())),
        (lambda old: old, EdgeSecrets(basic_auth=PASSWORDS[1:])),
    ],
    ids=["login", "networks", "password"],
)
async def test_an_event_stream_that_new_rules_would_not_let_in_ends(w, app, change, secrets):
    edges = w.relay.parts.services.edges
    made = await new_edge(w)
    await edges.set_policy(ME, made.id, lambda old: old, EdgeSecrets(basic_auth=PASSWORDS[:1]))
    await w.tunnel(app.port, edge="demo")
    async with connect(w.port) as visitor:
        await visitor.send(request_bytes("GET", "/events", host=f"demo.localhost:{w.port}", fields=basic(PASSWORDS[0])))
        assert (await visitor.head()).status == 200

        await edges.set_policy(ME, made.id, change, secrets)
        w.relay.ingress.look_after_exchanges()

        assert b"second" not in await visitor.rest()


async def test_an_event_stream_that_new_rules_let_in_too_goes_on(w, app):
    edges = w.relay.parts.services.edges
    made = await new_edge(w)
    await w.tunnel(app.port, edge="demo")
    async with connect(w.port) as visitor:
        await visitor.send(request_bytes("GET", "/events", host=f"demo.localhost:{w.port}"))
        response = await visitor.head()

        await edges.set_policy(ME, made.id, with_policy(cidr_allow=("127.0.0.0/8",)))
        w.relay.ingress.look_after_exchanges()
        app.open_gate("events")

        assert b"second" in b"".join([chunk async for chunk in visitor.chunks(response)])


async def test_an_edge_is_there_after_a_restart_before_any_agent(w, app):
    edges = w.relay.parts.services.edges
    made = await new_edge(w)
    await edges.set_policy(ME, made.id, login(), EdgeSecrets(client_secret="hush"))
    await w.relay.stop()

    await w.start_relay()

    assert await status(w) == 401
    assert w.relay.registry.find("demo.localhost").policy.connection.client_secret.reveal() == "hush"


async def test_rules_that_cannot_be_had_answer_503_and_say_so(w, app):
    """Row 159. Something is broken about the edge: it is closed, not open."""
    edges, store = w.relay.parts.services.edges, w.relay.store
    made = await new_edge(w)
    await edges.set_policy(ME, made.id, login(), EdgeSecrets(client_secret="hush"))
    await w.tunnel(app.port, edge="demo")
    row = await store.edges.get(made.id)
    await store.edges.replace(replace(row, sealed=b"v1.00000000.AAAA", version=row.version + 1))

    await w.relay.parts.edge_sync.look()

    response = await fetch(w.port, "GET", "/", host=f"demo.localhost:{w.port}")
    inside = await fetch(w.port, "GET", "/_tunnel/login", host=f"demo.localhost:{w.port}")
    assert (response.status, response.get("tunnel-error")) == (503, "endpoint_closed")
    assert (inside.status, inside.get("tunnel-error")) == (503, "endpoint_closed")
    assert "cannot be opened" in (await edges.get(ME, made.id)).problem


async def test_an_agent_s_endpoint_goes_by_a_named_provider_as_it_is_now(w, app):
    """The administrator changes it, lets the owner name it no longer, deletes it: each acts on the next request."""
    providers = w.relay.parts.services.providers
    provider = await providers.create(ADMIN, "work", WORK, PROVIDERS_SECRET)
    tunnel = await w.tunnel(app.port, subdomain="demo", policy=PolicySpec(oidc=named()))
    endpoint = w.relay.registry.find("demo.localhost")
    assert await status(w) == 401

    other = msgspec.structs.replace(WORK, client_id="0oa2")
    await providers.update(ADMIN, provider.id, settings=other, client_secret="new-hush")
    assert endpoint.policy.connection.client_id == "0oa2"
    await providers.update(ADMIN, provider.id, owners=("somebody-else",))
    assert (await tunnel.fetch("GET", "/")).status == 503
    await providers.update(ADMIN, provider.id, owners=("local",))
    assert await status(w) == 401
    await providers.delete(ADMIN, provider.id)
    assert (await tunnel.fetch("GET", "/")).status == 503
    await providers.create(ADMIN, "work", WORK, PROVIDERS_SECRET)
    assert await status(w) == 401


async def test_an_agent_that_names_no_provider_of_its_owner_is_refused(w, app):
    agent = w.agent(app.port, subdomain="demo", policy=PolicySpec(oidc=named(issuer="@none")))

    outcome = await agent.running

    assert "@none" in outcome.message
    assert w.relay.registry.find("demo.localhost") is None


async def test_a_session_that_is_stopped_stays_away_and_one_that_is_restarted_comes_back(w, app):
    services = w.relay.parts.services
    made = await new_edge(w)
    tunnel = await w.tunnel(app.port, edge="demo")
    (first,) = services.tunnels.sessions(ME)

    with pytest.raises(ManageError) as foreign:
        services.tunnels.stop_session(actor("bob"), first.id)
    services.tunnels.stop_session(ME, first.id, is_restart=True)
    await tunnel.until_started()
    (second,) = services.tunnels.sessions(ME)
    assert (foreign.value.kind, second.id != first.id) == (Kind.MISSING, True)

    services.tunnels.stop_session(ME, second.id)
    outcome = await tunnel.running

    assert "stopped from the relay" in outcome.message
    assert services.tunnels.serving(ME, made.id) == []


async def test_an_edge_s_rate_limit_holds_for_all_its_tunnels_together(w, app):
    made = await new_edge(w)
    rule = with_policy(rate_limit=RateLimitSpec(limit="4/1h"))
    await w.relay.parts.services.edges.set_policy(ME, made.id, rule)
    one = await w.tunnel(app.port, edge="demo", name="one")
    before = [await status(w) for _ in range(2)]
    await w.tunnel(app.port, edge="demo", name="two")
    await one.stop()

    after = [await status(w) for _ in range(4)]

    assert (before, after) == ([200, 200], [200, 200, 429, 429])
    assert len(app.requests) == 4


async def test_a_rate_limit_that_is_changed_under_load_lets_in_no_more_than_the_new_one(w, app):
    edges = w.relay.parts.services.edges
    made = await new_edge(w)
    await w.tunnel(app.port, edge="demo")
    statuses = [Counter[int](), Counter[int]()]
    is_limited, is_over = asyncio.Event(), asyncio.Event()

    async def visit() -> None:
        async with connect(w.port) as visitor:
            while not is_over.is_set():
                began_after = is_limited.is_set()
                answer = await visitor.request("GET", "/status/200", host=f"demo.localhost:{w.port}")
                statuses[began_after][answer.status] += 1

    async def change() -> None:
        while statuses[0][200] < 10 * VISITORS:  # noqa: ASYNC110 (as many requests before the change)
            await asyncio.sleep(0)
        await edges.set_policy(ME, made.id, with_policy(rate_limit=RateLimitSpec(limit="5/1h")))
        is_limited.set()
        while statuses[1].total() < 10 * VISITORS:  # noqa: ASYNC110 (and after it)
            await asyncio.sleep(0)
        is_over.set()

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for _ in range(VISITORS):
            group.create_task(visit())
        group.create_task(change())

    assert statuses[1].keys() <= {200, 429}
    assert statuses[1][200] <= 5 < statuses[1][429]


async def test_a_drained_tunnel_gets_no_more_requests(w, app):
    services = w.relay.parts.services
    made = await new_edge(w)
    await w.tunnel(app.port, edge="demo", name="one")
    await w.tunnel(app.port, edge="demo", name="two")
    drained = next(each for each in services.tunnels.serving(ME, made.id) if each.name == "one")

    services.tunnels.drain(ME, drained.id)
    for _ in range(10):
        assert await status(w) == 200

    assert services.tunnels.tunnel(ME, drained.id).requests == drained.requests


async def test_fifty_changes_under_load_answer_every_request_by_the_rules_of_its_time(w, app):
    """Each answer is right by rules that were in force while it was asked; nobody ever comes in without a password.

    Two passwords take turns, and with them the way in which they are kept: alone, or beside a rule about networks.
    """
    edges = w.relay.parts.services.edges
    made = await new_edge(w)
    await edges.set_policy(ME, made.id, lambda old: old, EdgeSecrets(basic_auth=PASSWORDS[:1]))
    await w.tunnel(app.port, edge="demo")
    began, ended = 0, 0  # changes that were begun, and that are in force
    wrong, asked = [], Counter()
    is_over = asyncio.Event()

    async def visit(number: int) -> None:
        async with connect(w.port) as visitor:
            while not is_over.is_set():
                shown = (None, *PASSWORDS)[(number + asked.total()) % 3]
                since = ended
                answer = await visitor.request(
                    "GET",
                    "/status/200",
                    host=f"demo.localhost:{w.port}",
                    fields=basic(shown) if shown is not None else [],
                )
                good = {PASSWORDS[change % 2] for change in range(since, began + 1)}
                may = {200} if good == {shown} else {401, 200} if shown in good else {401}
                asked[answer.status] += 1
                if answer.status not in may:
                    wrong.append((shown, answer.status, since, began))

    async def change() -> None:
        nonlocal began, ended
        for number in range(1, CHANGES + 1):
            began = number
            networks = ("127.0.0.0/8",) if number % 3 else ()
            secrets = EdgeSecrets(basic_auth=(PASSWORDS[number % 2],))
            await edges.set_policy(ME, made.id, with_policy(cidr_allow=networks), secrets)
            ended = number
            served = asked.total()
            while asked.total() < served + VISITORS:  # noqa: ASYNC110 (as many requests between two changes)
                await asyncio.sleep(0)
        is_over.set()

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for number in range(VISITORS):
            group.create_task(visit(number))
        group.create_task(change())

    assert wrong == []
    assert asked[200] > CHANGES
    assert asked[401] > CHANGES
    assert (await edges.get(ME, made.id)).row.version == CHANGES + 2
