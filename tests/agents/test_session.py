"""What an agent may say on its link, and what becomes of the names it takes: decisions on owners and generations."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from tests.agents.conftest import flags, public_flags
from tests.link.ends import websocket
from tests.support.raw_http import fetch
from tests.support.scripted_agent import ScriptedAgent
from tests.support.waiting import PATIENCE
from tunnelctl.agent.outcome import Trouble, judge_refusal
from tunnelctl.link.dial import dial
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import frame
from tunnelctl.wire.limits import MAX_TUNNELS
from tunnelctl.wire.messages import Bind, Bound, Hello, JwtSpec, OidcSpec, PolicySpec, Refused, Unbind, Welcome
from tunnelrelay.agents.authtokens import create
from tunnelrelay.agents.session import BURST_BINDS, MAX_REFUSAL
from tunnelrelay.app.relay import Relay
from tunnelrelay.config.config import load_config
from tunnelrelay.store.base import NameRow, StoreError

pytestmark = pytest.mark.asyncio(loop_scope="module")


def port_of(relay: Relay) -> int:
    assert relay.http is not None
    return relay.http[1]


async def agent_of(relay: Relay, instance: str = "", token: str | None = None) -> ScriptedAgent:
    agent = ScriptedAgent(instance)
    await agent.connect(port_of(relay), token=token)
    return agent


async def silent_agent(relay: Relay) -> ScriptedAgent:
    """Linked, and has not said hello."""
    agent = ScriptedAgent()
    agent.link = await dial(f"http://127.0.0.1:{port_of(relay)}", user=agent)
    return agent


async def closed_with(agent: ScriptedAgent) -> Code:
    await agent.until(lambda: agent.closed)
    assert agent.closed is not None
    return agent.closed[0]


async def test_a_bind_with_a_setting_of_a_later_release_is_refused_and_its_neighbours_stay(local):
    agent = await agent_of(local)
    bound = await agent.bind("neighbour")
    policy = msgspec.defstruct("Later", [("mutual_tls", tuple[str, ...])])(mutual_tls=("ca",))
    fields = [("tunnel", int), ("name", str), ("upstream", str), ("subdomain", str), ("policy", Any)]
    later = msgspec.defstruct("LaterBind", fields, tag="bind")

    refused = await agent.say(later(9, "web", "http://localhost:1", "guarded", policy))
    again = await agent.bind("afterwards")
    await agent.close()

    assert isinstance(refused, Refused)
    assert (refused.tunnel, refused.code) == (9, "policy_invalid")
    assert [problem.field for problem in refused.problems] == ["mutual_tls"]
    assert "older than the agent" in refused.message
    assert "upgrade the relay" in refused.hint
    assert local.registry.find("guarded.localhost") is None
    assert isinstance(bound, Bound)
    assert isinstance(again, Bound)


async def test_an_agent_is_greeted_and_given_what_it_asks_for(local):
    agent = await agent_of(local)
    bound = await agent.bind("greeted")
    welcome = agent.said[0]
    await agent.close()

    assert isinstance(welcome, Welcome)
    assert (welcome.owner, welcome.domain) == ("local", "localhost")
    assert isinstance(bound, Bound)
    assert (bound.host, bound.url) == ("greeted.localhost", f"http://greeted.localhost:{port_of(local)}")
    assert bound.redirect_uri is None


async def test_a_login_comes_with_the_uri_to_register(local):
    agent = await agent_of(local)
    oidc = OidcSpec(issuer="http://127.0.0.1:1", client_id="c", client_secret="s")
    bound = await agent.bind("guarded", policy=PolicySpec(oidc=oidc))
    await agent.close()

    assert isinstance(bound, Bound)
    assert bound.redirect_uri == f"http://localhost:{port_of(local)}/oauth2/callback"


async def test_an_owner_may_have_the_provider_answer_at_an_endpoint_with_a_name(local):
    agent = await agent_of(local)
    oidc = OidcSpec(issuer="http://127.0.0.1:1", client_id="c", client_secret="s", callback="host")
    bound = await agent.bind("chosen", policy=PolicySpec(oidc=oidc))
    refused = await agent.bind(policy=PolicySpec(oidc=oidc))
    await agent.close()

    assert isinstance(bound, Bound)
    assert bound.redirect_uri == f"http://chosen.localhost:{port_of(local)}/_tunnel/oidc/callback"
    assert isinstance(refused, Refused)
    assert (refused.code, "--subdomain" in refused.hint) == ("policy_invalid", True)


@pytest.mark.parametrize(
    "policy",
    [
        PolicySpec(cidr_allow=tuple(f"not a network {number}" for number in range(2_000))),
        PolicySpec(cidr_allow=tuple("\x01" * 60 + str(number) for number in range(150))),
        PolicySpec(basic_auth=("no password",) * 3_000),
    ],
    ids=["many", "escaped", "passwords"],
)
async def test_a_refusal_for_thousands_of_problems_names_the_first_and_reaches_the_agent(local, policy, caplog):
    agent = await agent_of(local)
    refused = await agent.bind("problems", policy=policy)
    await agent.close()

    assert isinstance(refused, Refused)
    assert refused.code == "policy_invalid"
    assert len(refused.message) <= MAX_REFUSAL
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("name", ["x" * 60_000, "\x01" * 9_000, "é" * 25_000], ids=["long", "escaped", "utf-8"])
async def test_a_refused_name_of_any_length_is_answered(local, name):
    agent = await agent_of(local)
    refused = await agent.bind(name)
    await agent.close()

    assert isinstance(refused, Refused)


@pytest.mark.parametrize("setting", ["oidc", "jwt"])
async def test_a_port_that_strangers_may_not_name_is_refused_with_the_setting_that_allows_it(tmp_path, setting):
    issuer = "https://idp.acme.example:9443"
    login = PolicySpec(oidc=OidcSpec(issuer=issuer, client_id="c", client_secret="s"))
    tokens = PolicySpec(jwt=(JwtSpec(issuer=issuer, audience="a"),))
    settings = {"domain": "tun.example", "public_url": "https://*.tun.example", "multi_tenant": "true"}
    results = []
    for number, more in enumerate(({}, {"issuer_port": ["443", "9443"]})):
        given = flags(tmp_path / str(number), **settings, **more)
        async with Relay(load_config(flags=given, env={})) as relay:
            token, _ = await create(relay.store, "ann")
            agent = await agent_of(relay, token=token)
            results.append(await agent.bind("guarded", policy=login if setting == "oidc" else tokens))
            await agent.close()

    refused, bound = results
    assert isinstance(refused, Refused)
    assert refused.code == "policy_invalid"
    assert "port 9443" in refused.message
    assert "--issuer-port 9443" in refused.message
    assert isinstance(bound, Bound)


FIRST_WORDS = {
    "bind": Bind(tunnel=1, name="x", upstream="http://localhost"),
    "unbind": Unbind(tunnel=1),
    "welcome": Welcome(version="1", owner="boss", domain="d", heartbeat_seconds=1, max_streams=1),
    "bound": Bound(tunnel=1, url="u", host="h", generation=1),
    "hello-without-instance": Hello(agent="", version="1"),
    "hello-upper-case": Hello(agent="A" * 32, version="1"),
    "hello-long": Hello(agent="a" * 33, version="1"),
    "hello-later-protocol": Hello(agent="a" * 32, version="1", protocol=2),
}


@pytest.mark.parametrize("message", FIRST_WORDS.values(), ids=FIRST_WORDS)
async def test_the_first_word_is_a_good_hello_or_the_last(local, message):
    agent = await silent_agent(local)
    agent.link.send(message)

    assert await closed_with(agent) is Code.PROTOCOL


async def test_a_second_hello_ends_the_link(local):
    """Row 118."""
    agent = await agent_of(local)
    agent.link.send(Hello(agent=agent.instance, version="1"))

    assert await closed_with(agent) is Code.PROTOCOL


async def test_an_agent_that_says_nothing_is_not_waited_for(local, monkeypatch):
    monkeypatch.setattr("tunnelrelay.agents.session.HELLO_SECONDS", 0.0)
    agent = await silent_agent(local)

    assert await closed_with(agent) is Code.PROTOCOL


@pytest.mark.parametrize(
    "payload",
    [b"{", b"[]", b"{}", b'{"type":"hello"}', b"\xff", b'{"type":"evil"}', b"[" * 60_000],
)
async def test_row125_a_message_that_is_none_ends_the_link(local, payload):
    agent = await silent_agent(local)
    agent.link.transport.write(websocket(frame(10, 0, payload)))

    assert await closed_with(agent) is Code.PROTOCOL


async def test_row125_a_message_of_a_megabyte_ends_the_link(local):
    agent = await silent_agent(local)
    for _ in range(5):
        agent.link.transport.write(websocket((10 << 24 | 1 << 20).to_bytes(4, "big") + bytes(4) + b"x" * 200_000))

    assert await closed_with(agent) is Code.LIMIT


async def test_row125_tunnels_on_one_link_are_limited(local):
    agent = await agent_of(local)
    answers = [await agent.bind(f"many{number}") for number in range(MAX_TUNNELS + 1)]
    await agent.close()

    assert all(isinstance(answer, Bound) for answer in answers[:-1])
    assert isinstance(answers[-1], Refused)
    assert answers[-1].code == "too_many"


@pytest.mark.parametrize("number", [0, -1, 65536, 1])
async def test_a_tunnel_has_a_number_of_its_own(local, number):
    """Row 120."""
    agent = await agent_of(local)
    await agent.bind("numbered")
    answer = await agent.say(Bind(tunnel=number, name="x", upstream="http://localhost", subdomain="other"))
    await agent.close()

    assert isinstance(answer, Refused)
    assert local.registry.find("other.localhost") is None


async def test_row119_a_name_that_is_reserved_is_refused_over_the_wire(local):
    agent = await agent_of(local)
    answer = await agent.bind("idp")
    await agent.close()

    assert isinstance(answer, Refused)
    assert answer.code == "name_invalid"


async def test_row124_the_last_policy_is_the_one_that_holds(local):
    strict = PolicySpec(basic_auth=("ann:secret-word",))
    first, second = await agent_of(local, "a" * 32), await agent_of(local, "a" * 32)
    await first.bind("strict")
    await second.bind("strict", policy=strict)
    response = await fetch(port_of(local), "GET", "/", host="strict.localhost")
    await first.close()
    await second.close()

    assert response.status == 401


async def test_a_policy_that_changes_is_an_event_of_its_owners(local):
    first, second = await agent_of(local, "a" * 32), await agent_of(local, "a" * 32)
    await first.bind("changing")
    await second.bind("changing", policy=PolicySpec(basic_auth=("ann:secret-word",)))
    await first.close()
    await second.close()

    found = []
    async with asyncio.timeout(PATIENCE):
        while not found:
            await local.parts.audit_keeper.flush()
            found = await local.store.audit(host="changing.localhost", kind="rules.changed")
    (change,) = found
    details = json.loads(change.details)
    assert change.owner == "local"
    assert change.peer.startswith("127.0.0.1")
    assert details["old"] != details["new"]
    assert "secret-word" not in repr(change)


# Who has a name


async def test_the_same_instance_comes_back_in_silence_and_its_old_link_takes_nothing_along(local):
    first = await agent_of(local, "b" * 32)
    again = await agent_of(local, "b" * 32)
    await first.bind("back")
    bound = await again.bind("back")
    assert isinstance(bound, Bound)
    await first.close()
    await again.round_trip()
    again.answers = lambda asked: asked.answer(b"here")
    response = await fetch(port_of(local), "GET", "/", host="back.localhost")
    await again.close()

    assert first.superseded is None
    assert response.body == b"here"


async def test_the_same_owners_other_agent_takes_over_and_the_older_is_told(local):
    older, newer = await agent_of(local), await agent_of(local)
    await older.bind("taken")
    await newer.bind("taken")
    await older.until(lambda: older.superseded)
    newer.answers = lambda asked: asked.answer(b"newer")
    response = await fetch(port_of(local), "GET", "/", host="taken.localhost")
    superseded = older.superseded
    await older.close()
    await newer.round_trip()
    still = await fetch(port_of(local), "GET", "/", host="taken.localhost")
    await newer.close()

    assert superseded is not None
    assert superseded.by == newer.link.peer or superseded.by.startswith("127.0.0.1:")
    assert superseded.at.endswith("+00:00")
    assert response.body == still.body == b"newer"


async def test_an_exchange_that_is_under_way_survives_the_takeover(local):
    older, newer = await agent_of(local), await agent_of(local)
    await older.bind("moved")
    asking = asyncio.create_task(fetch(port_of(local), "GET", "/", host="moved.localhost"))
    asked = await older.next()
    await newer.bind("moved")
    asked.answer(b"from the older")
    response = await asking
    await older.close()
    await newer.close()

    assert response.body == b"from the older"


async def test_an_agent_that_was_superseded_cannot_unbind_what_it_no_longer_has(local):
    older, newer = await agent_of(local), await agent_of(local)
    await older.bind("kept")
    await newer.bind("kept")
    older.link.send(Unbind(tunnel=1))
    await older.round_trip()

    assert local.registry.owner_of("kept.localhost") == "local"
    assert local.registry.find("kept.localhost").pick() is not None
    await older.close()
    await newer.close()


async def test_another_owner_is_refused_even_after_the_link_is_lost(public):
    """Row 119."""
    anns, _ = await create(public.store, "ann")
    other, _ = await create(public.store, "ann")
    bobs, _ = await create(public.store, "bob")
    ann, bob = await agent_of(public, token=anns), await agent_of(public, token=bobs)
    await ann.bind("hers")
    while_served = await bob.bind("hers")
    await ann.close()
    while_lost = await bob.bind("hers")
    with_another_token = await agent_of(public, ann.instance, token=other)
    back = await with_another_token.bind("hers")
    await bob.close()
    await with_another_token.close()

    assert [answer.code for answer in (while_served, while_lost)] == ["name_taken"] * 2
    assert isinstance(back, Bound)


async def test_a_name_unbound_is_anybodys(public):
    anns, _ = await create(public.store, "ann")
    bobs, _ = await create(public.store, "bob")
    ann, bob = await agent_of(public, token=anns), await agent_of(public, token=bobs)
    await ann.bind("free")
    ann.link.send(Unbind(tunnel=1))
    await ann.round_trip()
    answer = await bob.bind("free")
    await ann.close()
    await bob.close()

    assert isinstance(answer, Bound)


async def test_row130_a_store_that_is_away_stops_no_name_that_is_known_and_puts_off_a_new_one(public, monkeypatch):
    """Row 130. The agent that hears `try_later` tries again."""
    token, _ = await create(public.store, "ann")
    first, again = await agent_of(public, token=token), await agent_of(public, token=token)
    await first.bind("steady")
    monkeypatch.setattr(public.store, "claim_name", away)
    monkeypatch.setattr("tunnelrelay.agents.name_claims.CLAIM_PAUSES", ())
    back = await again.bind("steady")
    new = await again.bind("new")
    await first.close()
    await again.close()

    assert isinstance(back, Bound)
    assert isinstance(new, Refused)
    assert new.code == "try_later"
    assert isinstance(judge_refusal(new), Trouble)


async def away(*args: object, **kwargs: object) -> None:
    raise StoreError("away")


async def test_a_name_that_cools_down_is_refused_with_its_time_and_its_remedy(tmp_path):
    """Row 84."""
    settings = public_flags(tmp_path, name_cooldown_seconds="86400")
    async with Relay(load_config(flags=settings, env={})) as relay:
        anns, _ = await create(relay.store, "ann")
        bobs, _ = await create(relay.store, "bob")
        ann, bob = await agent_of(relay, token=anns), await agent_of(relay, token=bobs)
        await ann.bind("cooling")
        ann.link.send(Unbind(tunnel=1))
        await ann.round_trip()
        refused = await bob.bind("cooling")
        back = await ann.bind("cooling")
        await ann.close()
        await bob.close()

    assert isinstance(refused, Refused)
    assert (refused.code, "until 2" in refused.message) == ("name_taken", True)
    assert "tunnelrelay name release cooling.tun.example" in refused.hint
    assert isinstance(back, Bound)


async def test_what_is_unbound_while_the_store_is_asked_is_not_served(public, monkeypatch):
    token, _ = await create(public.store, "ann")
    agent = await agent_of(public, token=token)
    asked, go_on = asyncio.Event(), asyncio.Event()
    claim = public.store.claim_name

    async def slow(*args: Any, **kwargs: Any) -> NameRow:
        asked.set()
        await go_on.wait()
        return await claim(*args, **kwargs)

    monkeypatch.setattr(public.store, "claim_name", slow)
    agent.link.send(Bind(tunnel=1, name="x", upstream="http://localhost", subdomain="brief"))
    await asked.wait()
    agent.link.send(Unbind(tunnel=1))
    await agent.round_trip()
    go_on.set()

    async def is_released() -> bool:
        row = await public.store.name("brief.tun.example")
        return row is not None and row.released_at is not None

    async with asyncio.timeout(PATIENCE):
        while not await is_released():  # noqa: ASYNC110  # the store has no event for it
            await asyncio.sleep(0)
    await agent.close()

    assert not any(isinstance(message, Bound) for message in agent.said)
    assert public.registry.find("brief.tun.example") is None


async def test_row125_an_agent_that_binds_and_unbinds_without_end_loses_its_link(public):
    text, _ = await create(public.store, "stormy")
    agent = await agent_of(public, token=text)
    for _ in range(BURST_BINDS + 100):
        agent.link.send(Bind(tunnel=1, name="x", upstream="http://localhost", subdomain="storm"))
        agent.link.send(Unbind(tunnel=1))

    assert await closed_with(agent) is Code.LIMIT


async def test_names_survive_a_restart_for_their_owner(tmp_path):
    async with Relay(load_config(flags=flags(tmp_path), env={})) as relay:
        agent = await agent_of(relay)
        await agent.bind("restarted")
    async with Relay(load_config(flags=flags(tmp_path), env={})) as relay:
        endpoint = relay.registry.find("restarted.localhost")
        assert endpoint is not None
        assert (endpoint.owner, endpoint.policy) == ("local", None)


async def test_row119_of_two_relays_with_one_store_neither_gives_a_name_away_that_the_other_serves(tmp_path):
    settings = flags(tmp_path, domain="tun.example", public_url="https://*.tun.example", name_cooldown_seconds="60")
    config = load_config(flags=settings, env={})
    async with Relay(config) as here, Relay(config) as there:
        anns, _ = await create(here.store, "ann")
        bobs, _ = await create(here.store, "bob")
        ann, bob = await agent_of(here, token=anns), await agent_of(there, token=bobs)
        await ann.bind("hers")
        while_served = await bob.bind("hers")
        ann.link.send(Unbind(tunnel=1))
        await ann.round_trip()
        assert await here.parts.names.flush()
        while_cooling = await bob.bind("hers")
        again = await agent_of(there, token=anns)
        back = await again.bind("hers")
        for agent in (ann, bob, again):
            await agent.close()

    assert isinstance(while_served, Refused)
    assert "belongs to another owner" in while_served.message
    assert isinstance(while_cooling, Refused)
    assert "until 2" in while_cooling.message
    assert isinstance(back, Bound)


async def test_row120_a_link_that_breaks_the_protocol_takes_no_other_with_it(local):
    good, bad = await agent_of(local), await agent_of(local)
    await good.bind("good")
    await bad.bind("bad")
    good.answers = lambda asked: asked.answer(b"still here")
    bad.link.transport.write(websocket(frame(63, 0, b"")))  # an unknown frame that is not optional
    assert await closed_with(bad) is Code.PROTOCOL
    response = await fetch(port_of(local), "GET", "/", host="good.localhost")
    await good.close()

    assert response.body == b"still here"


async def test_an_agent_says_how_many_streams_it_takes(local):
    agent = ScriptedAgent()
    agent.link = await dial(f"http://127.0.0.1:{port_of(local)}", user=agent)
    agent.link.send(Hello(agent=agent.instance, version="1", max_streams=2))
    await agent.until(lambda: agent.said)
    await agent.bind("small")
    asking = [asyncio.create_task(fetch(port_of(local), "GET", "/", host="small.localhost")) for _ in range(4)]
    first, second = await agent.next(), await agent.next()
    await agent.round_trip()
    assert len(agent.asked) == 2
    agent.answers = lambda asked: asked.answer()
    first.answer()
    second.answer()
    statuses = {response.status for response in await asyncio.gather(*asking)}
    await agent.close()

    assert statuses == {200}
