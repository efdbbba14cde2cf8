"""An edge's rules cost a request no store: whatever the database does, visitors with a session are served."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import pytest
from sqlalchemy import Engine, event

from tests.ingress.scene import Scene
from tests.policy.making import oidc, policy
from tests.support.raw_http import request_bytes
from tests.support.scripted_agent import Asked, ScriptedAgent
from tunnelctl.wire.messages import Bound, Join
from tunnelrelay.policy import cookies
from tunnelrelay.registry.edges import LiveEdge

pytestmark = pytest.mark.asyncio(loop_scope="module")

EDGE, HOST = "edghts_1", "edge.localhost"
LABELS = (("edge", EDGE),)
REQUESTS = 200


@asynccontextmanager
async def two_tunnels(s: Scene) -> AsyncIterator[list[ScriptedAgent]]:
    """An edge with a login, and two agents that have joined it and answer whatever they are asked."""
    guard = policy(owner="local", oidc=oidc(allow_domains=("acme.com",), recheck_seconds=0))
    edges = s.relay.parts.edges
    edges.put(LiveEdge(id=EDGE, owner="local", host=HOST, policy=guard, labels=LABELS))
    async with AsyncExitStack() as stack:
        stack.callback(edges.drop, EDGE)
        agents = []
        for _ in range(2):
            agent = ScriptedAgent()
            await agent.connect(s.port)
            stack.push_async_callback(agent.close)
            agent.answers = Asked.answer
            joined = await agent.say(Join(tunnel=1, name="web", upstream="http://localhost:80", labels=LABELS))
            assert isinstance(joined, Bound), joined
            agents.append(agent)
        yield agents


async def signed_in(s: Scene) -> bytes:
    """A request of somebody with a live session at the edge."""
    connection = s.relay.registry.connection_of(HOST)
    assert connection is not None
    claims = {"sub": "1", "email": "ann@acme.com", "email_verified": True}
    cookie = await s.relay.parts.sessions.create(HOST, connection, issuer=connection.issuer, claims=claims)
    shown = f"{cookies.SESSION_PLAIN.decode()}={cookie.decode()}"
    return request_bytes("GET", "/", host=HOST, fields=[("Cookie", shown)])


@contextmanager
def store_calls(s: Scene) -> Iterator[list[str]]:
    """Which of the relay's tasks ask the database anything; its own background work is none of the visitors'."""
    asked: list[str] = []

    def note(*_: object) -> None:
        task = asyncio.current_task()
        name = getattr(task.get_coro(), "__qualname__", "") if task is not None else "no task"
        if name != "_for_ever":
            asked.append(name)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_serving_an_edges_requests_asks_the_store_nothing(s: Scene) -> None:
    async with two_tunnels(s) as agents:
        request = await signed_in(s)
        with store_calls(s) as asked:
            async with s.visitor() as visitor:
                for _ in range(REQUESTS):
                    await visitor.send(request)
                    assert (await visitor.response()).status == 200
        assert asked == []
        assert [len(agent.asked) for agent in agents] == [REQUESTS // 2] * 2


async def test_what_is_counted_here_would_be_seen(s: Scene) -> None:
    async with two_tunnels(s):
        with store_calls(s) as asked:
            await signed_in(s)
        assert asked


async def test_each_request_is_told_with_the_tunnel_that_served_it_and_the_rule_that_let_it_in(s: Scene) -> None:
    async with two_tunnels(s) as agents:
        request = await signed_in(s)
        for _ in range(4):
            assert (await s.fetch(request)).status == 200
        ids = [next(message.id for message in agent.said if isinstance(message, Bound)) for agent in agents]
        kept = [seen for seen in s.relay.parts.traffic.recent() if seen.exchange in s.log]
    assert sorted(seen.tunnel for seen in kept) == sorted(ids * 2)
    assert {seen.exchange.email for seen in kept} == {"ann@acme.com"}
