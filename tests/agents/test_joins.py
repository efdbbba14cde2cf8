"""What an agent may say to join edges, and what becomes of tunnels and names between owners and tokens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.edges import put_edge, tunnels_of
from tests.support.scripted_agent import ScriptedAgent
from tests.support.waiting import turns
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import Bound, OidcSpec, PolicySpec, Refused, Unbind
from tunnelctl.wire.texts import MAX_LABEL, MAX_LABELS
from tunnelrelay.agents.authtokens import create
from tunnelrelay.app.relay import Relay
from tunnelrelay.registry.edges import MAX_SERVED
from tunnelrelay.services.backends import checked_labels
from tunnelrelay.services.problems import ManageError

pytestmark = pytest.mark.asyncio(loop_scope="module")

WEB = ("app", "web")


@asynccontextmanager
async def agent_of(relay: Relay, token: str | None = None, instance: str = "") -> AsyncIterator[ScriptedAgent]:
    assert relay.http is not None
    agent = ScriptedAgent(instance)
    await agent.connect(relay.http[1], token=token)
    try:
        yield agent
    finally:
        if agent.closed is None:
            await agent.close()


async def test_an_agent_that_joins_hears_which_addresses_it_serves(local):
    edge = put_edge(local, "joined", "edghts_joined")
    async with agent_of(local) as agent:
        bound = await agent.join(("edge", edge.id))
        (tunnel,) = tunnels_of(local, edge)

    assert isinstance(bound, Bound)
    assert (bound.host, bound.urls) == (edge.host, (local.address.url("joined.localhost"),))
    assert (bound.url, bound.id) == (bound.urls[0], tunnel.id)


@pytest.mark.parametrize("name", ["edghts_named", "named", "named.localhost"])
async def test_an_edge_is_joined_by_its_id_its_name_or_its_host(local, name):
    edge = put_edge(local, "named", "edghts_named")
    async with agent_of(local) as agent:
        bound = await agent.join(edge=name)

        assert isinstance(bound, Bound)
        assert bound.host == edge.host


async def test_a_tunnel_that_no_edge_wants_waits_and_hears_when_one_comes_and_goes(local):
    async with agent_of(local) as agent:
        bound = await agent.join(("app", "later"))
        assert isinstance(bound, Bound)
        assert (bound.url, bound.host, bound.urls) == ("", "", ())

        edge = put_edge(local, "later", "edghts_later", labels=(("app", "later"),))
        await agent.until(lambda: len(agent.said) == 3)
        assert agent.said[-1].urls == (local.address.url("later.localhost"),)
        local.parts.edges.drop(edge.id)
        await agent.until(lambda: len(agent.said) == 4)
        assert agent.said[-1].urls == ()


async def test_of_very_many_edges_a_tunnel_serves_as_many_as_it_can_be_told(local):
    many = (("app", "many"),)
    edges = [put_edge(local, f"many-{number}", f"edghts_many_{number}", labels=many) for number in range(1000)]
    async with agent_of(local) as agent:
        bound = await agent.join(("app", "many"))
        put_edge(local, "one-more", "edghts_one_more", labels=many)

        assert len(bound.urls) == MAX_SERVED
        assert sum(len(tunnels_of(local, edge)) for edge in edges) == MAX_SERVED
        assert local.registry.find("one-more.localhost").tunnels == ()
    for edge in edges:
        local.parts.edges.drop(edge.id)


async def test_an_edge_that_is_changed_again_and_again_makes_one_message_of_news(local):
    async with agent_of(local) as agent:
        await agent.join(("app", "flip"))
        for number in range(100):
            labels = (("app", "flip"),) if number % 2 else ()
            put_edge(local, "flip", "edghts_flip", labels=labels)
        await agent.until(lambda: len(agent.said) == 3)
        await agent.round_trip()

        assert len(agent.said) == 3
        assert agent.said[-1].host == "flip.localhost"


async def test_an_edge_that_does_not_exist_is_refused_with_a_hint(local):
    async with agent_of(local) as agent:
        refused = await agent.join(edge="nowhere")

    assert isinstance(refused, Refused)
    assert (refused.code, bool(refused.hint)) == ("edge_unknown", True)


@pytest.mark.parametrize(
    ("labels", "edge", "weight"),
    [
        ((), "", 1),
        ((WEB,), "shop", 1),
        ((("", "x"),), "", 1),
        ((("a", ""),), "", 1),
        ((("a", "x" * (MAX_LABEL + 1)),), "", 1),
        ((("a\n", "x"),), "", 1),
        (tuple((f"n{number}", "x") for number in range(MAX_LABELS + 1)), "", 1),
        ((WEB,), "", 0),
        ((WEB,), "", 101),
    ],
)
async def test_offers_that_make_no_sense_are_refused(local, labels, edge, weight):
    async with agent_of(local) as agent:
        refused = await agent.join(*labels, edge=edge, weight=weight)

    assert isinstance(refused, Refused)
    assert refused.code == "policy_invalid"


async def test_a_tunnel_carries_as_many_labels_as_a_tunnel_group_may_ask_for(local):
    most = [(f"n{number}", "x" * MAX_LABEL) for number in range(MAX_LABELS)]
    edge = put_edge(local, "most", "edghts_most", labels=checked_labels(most))
    async with agent_of(local) as agent:
        bound = await agent.join(*most)

    assert isinstance(bound, Bound)
    assert bound.host == edge.host
    with pytest.raises(ManageError):
        checked_labels([*most, ("one-more", "x")])


async def test_a_weight_out_of_range_is_refused_for_a_name_too(local):
    async with agent_of(local) as agent:
        refused = await agent.bind("heavy", weight=101)

    assert isinstance(refused, Refused)
    assert refused.code == "policy_invalid"


async def test_the_host_of_an_edge_cannot_be_bound_by_its_owner_either_who_hears_how_to_serve_it(local):
    """Row 124."""
    put_edge(local, "held", "edghts_held")
    async with agent_of(local) as agent:
        refused = await agent.bind("held")

    assert isinstance(refused, Refused)
    assert (refused.code, "edge" in refused.message, "--edge held" in refused.hint) == ("name_taken", True, True)


async def test_an_agent_whose_name_becomes_an_edges_hears_that_it_lost_it(local):
    async with agent_of(local) as agent:
        await agent.bind("becomes")
        put_edge(local, "becomes", "edghts_becomes")
        await agent.until(lambda: isinstance(agent.said[-1], Refused))

        assert agent.said[-1].code == "name_taken"


async def test_unbinding_a_joined_tunnel_takes_it_off_its_edges_and_leaves_them(local):
    edge = put_edge(local, "left", "edghts_left")
    async with agent_of(local) as agent:
        await agent.join(edge="left")
        agent.link.send(Unbind(tunnel=1))
        await agent.round_trip()

        assert tunnels_of(local, edge) == ()
        assert list(local.registry.tunnels()) == []


async def test_a_lost_link_takes_its_tunnels_off_their_edges(local):
    edge = put_edge(local, "lost", "edghts_lost")
    async with agent_of(local) as agent:
        await agent.join(edge="lost")
        await agent.vanish()
        await turns(lambda: not tunnels_of(local, edge))


async def test_an_agent_that_goes_away_gets_no_more_requests(local):
    edge = put_edge(local, "drained", "edghts_drained")
    async with agent_of(local) as going, agent_of(local) as staying:
        await going.join(edge="drained")
        await staying.join(edge="drained")
        going.link.go_away(Code.NO_ERROR, "enough")
        await going.round_trip()
        endpoint = local.registry.find(edge.host)

        assert endpoint.only.agent == staying.instance


async def test_an_agent_that_is_stopped_hears_that_it_is_not_to_come_back(local):
    async with agent_of(local) as agent:
        await agent.bind("stopped")
        (session,) = (each for each in local.parts.acceptor.sessions if each.id)
        session.stop(is_restart=False)
        await agent.until(lambda: agent.closed)

        assert agent.closed[0] is Code.STOPPED
    assert local.registry.find("stopped.localhost") is None


async def test_tunnels_and_sessions_are_told_apart_and_say_whose_they_are(public):
    text, token = await create(public.store, "ann")
    async with agent_of(public, text) as agent:
        bound = await agent.bind("mine", weight=7, metadata="m" * 5000)
        (session,) = public.parts.acceptor.sessions
        tunnel = public.registry.tunnel(bound.id)

        assert (tunnel.session, tunnel.credential, tunnel.owner) == (session.id, token.id, "ann")
        assert (tunnel.weight, len(tunnel.metadata), tunnel.upstream) == (7, 4096, "http://localhost:3000")
        assert (session.owner, session.version, session.tunnels[1]) == ("ann", "test", tunnel)
        assert agent.instance not in repr((tunnel.mark, tunnel.proof, tunnel.id, session.id))


# Between owners


async def test_another_owners_tunnel_joins_no_edge_by_whatever_labels_and_cannot_ask_which_there_are(public):
    """Row 138."""
    edge = put_edge(public, "shop", "edghts_anns", owner="ann", labels=(WEB,))
    bobs, _ = await create(public.store, "bob")
    async with agent_of(public, bobs) as bob:
        by_label = await bob.join(WEB)
        by_id = await bob.join(("edge", edge.id))
        unknown, none = await bob.join(edge="shop"), await bob.join(edge="nothing")

        assert isinstance(by_label, Bound)
        assert isinstance(by_id, Bound)
        assert (by_label.urls, by_id.urls, tunnels_of(public, edge)) == ((), (), ())
        assert isinstance(unknown, Refused)
        assert isinstance(none, Refused)
        assert unknown.code == none.code == "edge_unknown"
        assert unknown.message.replace("shop", "nothing") == none.message
    public.parts.edges.drop(edge.id)


async def test_another_owner_who_wants_the_host_of_an_edge_hears_no_more_than_that_it_is_taken(public):
    put_edge(public, "taken", "edghts_taken", owner="ann")
    bobs, _ = await create(public.store, "bob")
    async with agent_of(public, bobs) as bob:
        refused = await bob.bind("taken")

    assert isinstance(refused, Refused)
    assert (refused.code, "edge" in refused.message + refused.hint) == ("name_taken", False)


# What a token may do


async def test_a_token_binds_only_what_its_rules_say(public):
    text, _ = await create(public.store, "ann", acl=("bind:pr-*", "bind:app=web"))
    async with agent_of(public, text) as agent:
        good, bad, chance = await agent.bind("pr-1"), await agent.bind("prod"), await agent.bind()
        joins = [await agent.join(WEB), await agent.join(("app", "api")), await agent.join(WEB, ("zone", "a"))]

    assert isinstance(good, Bound)
    assert [answer.code for answer in (bad, chance) if isinstance(answer, Refused)] == ["not_allowed"] * 2
    assert "bind:pr-*" in bad.hint
    assert [getattr(answer, "code", "") for answer in joins] == ["", "not_allowed", "not_allowed"]


async def test_a_token_for_one_edge_joins_that_one(public):
    put_edge(public, "one", "edghts_one", owner="ann")
    put_edge(public, "two", "edghts_two", owner="ann")
    text, _ = await create(public.store, "ann", acl=("bind:edge=edghts_one",))
    async with agent_of(public, text) as agent:
        one, two = await agent.join(edge="one"), await agent.join(edge="two")

    assert isinstance(one, Bound)
    assert getattr(two, "code", "") == "not_allowed"


# Pools


async def test_a_pool_takes_an_agent_with_its_rules_and_refuses_one_with_others(local):
    """Row 124."""
    guarded = PolicySpec(oidc=OidcSpec(issuer="http://127.0.0.1:1", client_id="c", client_secret="s"))
    async with agent_of(local) as first, agent_of(local) as same, agent_of(local) as open_to_all:
        await first.bind("pool", policy=guarded, pooling=True)
        joined = await same.bind("pool", policy=guarded, pooling=True)
        refused = await open_to_all.bind("pool", pooling=True)

        assert isinstance(joined, Bound)
        assert isinstance(refused, Refused)
        assert (refused.code, "rules differ" in refused.message) == ("policy_invalid", True)
        assert local.registry.find("pool.localhost").policy.connection is not None


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True)])
async def test_pooling_and_not_pooling_never_mix_and_the_hint_names_the_flag(local, first, second):
    async with agent_of(local) as one, agent_of(local) as other:
        await one.bind("mixed", pooling=first)
        refused = await other.bind("mixed", pooling=second)

    assert isinstance(refused, Refused)
    assert (refused.code, "--pooling-enabled" in refused.hint) == ("name_taken", True)
