"""An agent whose tunnels are added and removed while its session stands."""

import asyncio
import contextlib

import pytest

from tests.agent.fakes import Diary, FakeRelay, FakeUpstream, bound, make_agent, unbound_numbers
from tests.support.waiting import turns
from tunnelctl.agent import service
from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.errors import AddError, AgentEnded, DuplicateName, NotBound, NotConnected
from tunnelctl.agent.outcome import AllEnded, Failed, Invalid, NameTaken, NoRelay, Stopped, Trouble
from tunnelctl.agent.status import SessionState
from tunnelctl.agent.tunnel import TunnelState
from tunnelctl.agent.watcher import Watcher
from tunnelctl.link.dial import DialFailed
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import TYPE_UPGRADE
from tunnelctl.wire.limits import MAX_TUNNELS
from tunnelctl.wire.messages import Bind, Refused, Superseded

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


def named(name, **changes):
    return TunnelConfig(
        upstream=UpstreamAddress("http", "127.0.0.1", 9), **{"name": name, "subdomain": name, **changes}
    )


def refusing(**codes):
    """A relay's answer to each bind: a refusal for the tunnels that are named; `silent` for none."""

    def answer(bind):
        code = codes.get(bind.name)
        if code == "silent":
            return None
        return Refused(tunnel=bind.tunnel, code=code, message=f"not {bind.name}") if code else bound(bind)

    return answer


@contextlib.asynccontextmanager
async def online(relay, diary, *first, **kwargs):
    async with make_agent(relay, diary, tunnels=first, **{"upstream": FakeUpstream(), **kwargs}) as agent:
        await agent.online()
        yield agent


async def test_a_tunnel_is_added_in_one_round_trip_over_the_link_that_stands():
    relay, diary = FakeRelay(), Diary()
    async with online(relay, diary) as agent:
        tunnel = await agent.add(named("web"))
        assert (tunnel.name, tunnel.url, tunnel.state) == ("web", "https://web.tun.example", TunnelState.ONLINE)
        assert agent.tunnels == {"web": tunnel}
        assert (await diary.starts.get()).url == "https://web.tun.example"
        assert tunnel.ready.is_set()
    assert relay.dials == 1
    assert unbound_numbers(relay.links[0]) == [tunnel.number]
    assert tunnel.end == Stopped()


async def test_adding_one_says_nothing_about_the_others():
    relay, diary = FakeRelay(), Diary()
    async with online(relay, diary, named("first")) as agent:
        await diary.starts.get()
        await agent.add(named("second"))
        assert (await diary.starts.get()).name == "second"
    assert [bind.name for bind in relay.links[0].sent_of(Bind)] == ["first", "second"]


@pytest.mark.parametrize(
    ("code", "end"),
    [("name_taken", NameTaken), ("policy_invalid", Invalid), ("too_many", Failed), ("try_later", Trouble)],
)
async def test_one_that_the_relay_refuses_is_not_added_and_its_name_is_free(code, end):
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(web=code)
    async with online(relay, diary, named("first")) as agent:
        with pytest.raises(NotBound, match="not web") as raised:
            await agent.add(named("web"))
        assert isinstance(raised.value.end, end)
        assert [*agent.tunnels] == ["first"]
        relay.on_bind = bound
        assert (await agent.add(named("web"))).state is TunnelState.ONLINE
        assert diary.ends.empty()
    assert relay.dials == 1


async def test_a_name_is_given_once_in_an_agent():
    relay, diary = FakeRelay(), Diary()
    async with online(relay, diary, named("web")) as agent:
        with pytest.raises(DuplicateName, match="a tunnel called web"):
            await agent.add(named("web", subdomain="other"))
        assert len(agent.tunnels) == 1


async def test_an_agent_has_no_more_tunnels_than_a_link(monkeypatch):
    monkeypatch.setattr(service, "BURST_BINDS", MAX_TUNNELS + 1)
    relay, diary = FakeRelay(), Diary()
    async with online(relay, diary, *[named(f"t{number}") for number in range(MAX_TUNNELS)]) as agent:
        with pytest.raises(NotBound, match="at most 256"):
            await agent.add(named("more"))
        agent.remove("t7")
        assert (await agent.add(named("more"))).state is TunnelState.ONLINE
    assert len(relay.links[0].sent_of(Bind)) == MAX_TUNNELS + 1


async def test_nothing_is_added_while_the_relay_is_away_and_no_name_is_kept():
    relay, diary = FakeRelay(), Diary()
    relay.answers = [DialFailed("unreachable", "connection refused")]
    held = asyncio.Event()

    async def sleep(seconds):
        await held.wait()

    async with make_agent(relay, diary, tunnels=(), sleep=sleep, upstream=FakeUpstream()) as agent:
        with pytest.raises(NotConnected, match="no session"):
            await agent.add(named("web"))
        await diary.losses.get()
        assert agent.status.state is SessionState.CONNECTING
        with pytest.raises(NotConnected, match="connection refused"):
            await agent.add(named("web"))
        held.set()
        await agent.online()
        assert (await agent.add(named("web"))).url


async def test_one_that_is_being_added_as_the_link_is_lost_is_given_up():
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(web="silent")
    async with online(relay, diary, named("first")) as agent:
        adding = asyncio.create_task(agent.add(named("web")))
        await turns(lambda: "web" in agent.tunnels)
        relay.links[0].drop()
        with pytest.raises(NotConnected, match="closed"):
            await adding
        await turns(lambda: len(relay.links) == 2 and relay.links[1].sent_of(Bind))
        assert [*agent.tunnels] == ["first"]
    assert [bind.name for bind in relay.links[1].sent_of(Bind)] == ["first"]


async def test_one_that_is_being_added_as_the_relay_restarts_comes_up_on_the_new_link():
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(web="silent")
    seconds = iter((0.0, 1e6, 1e6, 1e6))
    async with online(relay, diary, named("first"), clock=lambda: next(seconds)) as agent:
        await diary.starts.get()
        adding = asyncio.create_task(agent.add(named("web")))
        await turns(lambda: "web" in agent.tunnels)
        relay.on_bind = bound
        relay.links[0].user.on_go_away(Code.NO_ERROR, "the relay stops")
        assert (await adding).state is TunnelState.ONLINE
    assert len(relay.links) == 2


async def test_a_relay_that_does_not_answer_is_waited_for_in_vain_for_a_bounded_time():
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(web="silent")
    async with online(relay, diary, greeting_seconds=0.01) as agent:
        with pytest.raises(NotConnected, match="in time"):
            await agent.add(named("web"))
        assert not agent.tunnels
        assert relay.links[0].is_open
    assert len(unbound_numbers(relay.links[0])) == 1


async def test_a_cancelled_add_leaves_nothing():
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(web="silent")
    async with online(relay, diary) as agent:
        adding = asyncio.create_task(agent.add(named("web")))
        await turns(lambda: "web" in agent.tunnels)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert not agent.tunnels
        assert unbound_numbers(relay.links[0]) == [1]


async def test_adding_raises_when_the_tunnel_is_removed_meanwhile():
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(web="silent")
    async with online(relay, diary) as agent:
        adding = asyncio.create_task(agent.add(named("web")))
        await turns(lambda: "web" in agent.tunnels)
        agent.remove("web")
        with pytest.raises(NotBound, match="removed"):
            await adding


async def test_an_agent_that_stops_gives_up_what_is_being_added():
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(web="silent")
    async with online(relay, diary) as agent:
        adding = asyncio.create_task(agent.add(named("web")))
        await turns(lambda: "web" in agent.tunnels)
    with pytest.raises(NotConnected, match="ended"):
        await adding
    with pytest.raises(NotConnected):
        await agent.add(named("web"))


# Removing


async def test_a_removed_tunnel_gives_its_name_up_at_once_and_the_others_go_on():
    relay, diary = FakeRelay(), Diary()
    async with online(relay, diary, named("stays"), named("goes")) as agent:
        number = agent.tunnels["goes"].number
        removed = agent.remove("goes")
        assert unbound_numbers(relay.links[0]) == [number]
        assert (removed.state, removed.end, removed.ready.is_set()) == (TunnelState.ENDED, Stopped(), False)
        assert [*agent.tunnels] == ["stays"]
        assert diary.removals == ["goes"]
        await removed.closed.wait()
        relay.links[0].open(GET, tunnel=number)
        assert relay.links[0].frames == [("reset", Code.REFUSED)]
        with pytest.raises(KeyError):
            agent.remove("goes")
        relay.links[0].drop()
        await turns(lambda: len(relay.links) == 2 and relay.links[1].sent_of(Bind))
        assert agent.outcome is None
    assert [bind.name for bind in relay.links[1].sent_of(Bind)] == ["stays"]


async def test_a_name_can_be_added_again_at_once_and_gets_another_number():
    relay, diary = FakeRelay(), Diary()
    async with online(relay, diary) as agent:
        first = await agent.add(named("web"))
        agent.remove("web")
        second = await agent.add(named("web"))
        assert first.number != second.number
        assert agent.tunnels == {"web": second}


async def test_exchanges_in_flight_of_a_removed_tunnel_finish():
    relay, diary, upstream = FakeRelay(), Diary(), FakeUpstream()
    async with online(relay, diary, upstream=upstream) as agent:
        tunnel = await agent.add(named("web"))
        relay.links[0].open(GET, tunnel=tunnel.number)
        agent.remove("web")
        (exchange,) = upstream.exchanges
        await asyncio.sleep(0)
        assert not tunnel.closed.is_set()
        exchange.finish()
        await tunnel.closed.wait()
        assert exchange.aborted_with is None
        assert upstream.is_closed


async def test_what_is_still_open_after_its_time_is_broken_off_and_websockets_with_it():
    relay, diary, upstream = FakeRelay(), Diary(), FakeUpstream()
    async with online(relay, diary, upstream=upstream, drain_seconds=0.01) as agent:
        tunnel = await agent.add(named("web"))
        relay.links[0].open(GET, tunnel=tunnel.number)
        relay.links[0].open(GET, tunnel=tunnel.number, type_=TYPE_UPGRADE)
        request, websocket = upstream.exchanges
        agent.remove("web")
        await tunnel.closed.wait()
        assert (request.aborted_with, websocket.aborted_with) == (Code.NO_ERROR, Code.NO_ERROR)
        assert tunnel.connections(0.0).gauge == 0


async def test_a_tunnel_that_is_removed_while_the_relay_is_away_does_not_come_back():
    relay, diary = FakeRelay(), Diary()
    async with online(relay, diary, named("stays"), named("goes")) as agent:
        relay.links[0].drop()
        await diary.losses.get()
        agent.remove("goes")
        await turns(lambda: relay.links[-1].sent_of(Bind))
    assert [bind.name for bind in relay.links[-1].sent_of(Bind)] == ["stays"]


# Ends


async def test_a_tunnel_that_is_taken_over_ends_alone_even_as_the_last_of_an_agent_without_its_own():
    relay, diary = FakeRelay(), Diary()
    async with online(relay, diary) as agent:
        tunnel = await agent.add(named("web"))
        superseded = Superseded(tunnel=tunnel.number, by="192.0.2.7:1", at="2026-01-01T00:00:00Z")
        relay.links[0].user.on_message(superseded)
        assert (await diary.ends.get())[0] == "web"
        assert isinstance(tunnel.end, NameTaken)
        assert not agent.tunnels
        assert agent.outcome is None
        assert (await agent.add(named("web"))).state is TunnelState.ONLINE
    assert relay.dials == 1


async def test_an_agent_goes_on_for_the_tunnels_that_were_added_when_its_own_are_refused():
    relay, diary = FakeRelay(), Diary()
    async with online(relay, diary, named("own")) as agent:
        await agent.add(named("added"))
        relay.links[0].user.on_message(Refused(tunnel=1, code="name_taken", message="gone"))
        assert (await diary.ends.get()) == ("own", "gone")
        assert agent.outcome is None
        relay.links[0].user.on_message(Refused(tunnel=2, code="name_taken", message="gone too"))
        assert isinstance(await agent.wait_ended(), NameTaken)
    assert diary.outcomes == [NameTaken("gone", "choose another name with --subdomain", "name_taken")]


async def test_an_agent_whose_own_tunnel_was_removed_stays():
    relay, diary = FakeRelay(), Diary()
    async with online(relay, diary, named("own")) as agent:
        await agent.add(named("added"))
        agent.remove("own")
        relay.links[0].user.on_message(Refused(tunnel=2, code="name_taken", message="gone"))
        assert await diary.ends.get() == ("added", "gone")
        assert agent.outcome is None
    assert diary.outcomes == [Stopped()]


async def test_all_of_several_that_ended_are_the_outcome():
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(one="name_taken", two="not_allowed")
    async with make_agent(relay, diary, tunnels=(named("one"), named("two"))) as agent:
        outcome = await agent.wait_ended()
    assert isinstance(outcome, AllEnded)
    assert [name for name, _ in outcome.ends] == ["one", "two"]
    assert agent.status.state is SessionState.ENDED


async def test_waiting_for_a_session_that_will_never_be_raises():
    relay = FakeRelay()
    relay.answers = [DialFailed("protocol", "the relay answered 404", status=404)]
    async with make_agent(relay, Diary(), tunnels=()) as agent:
        with pytest.raises(AgentEnded) as raised:
            await agent.online()
        assert isinstance(raised.value.outcome, NoRelay)


async def test_a_block_that_raises_does_not_wait_for_exchanges():
    relay, diary, upstream = FakeRelay(), Diary(), FakeUpstream()
    tunnels = []

    async def break_off():
        async with online(relay, diary, upstream=upstream, drain_seconds=1e6) as agent:
            tunnels.append(await agent.add(named("web")))
            relay.links[0].open(GET, tunnel=tunnels[0].number)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_off()
    assert unbound_numbers(relay.links[0]) == [tunnels[0].number]
    assert tunnels[0].closed.is_set()


async def test_waiting_for_its_end_can_be_cancelled_and_the_agent_goes_on():
    relay, diary = FakeRelay(), Diary()
    async with online(relay, diary) as agent:
        waiting = asyncio.create_task(agent.wait_ended())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert (await agent.add(named("web"))).url


# What others see


async def test_the_session_is_connecting_online_reconnecting_and_ended():
    relay, diary, states = FakeRelay(), Diary(), []
    agent = make_agent(relay, diary, tunnels=())

    class States(Watcher):
        def connected(self, relay, owner):
            states.append(agent.status.state)

        def lost(self, reason, retry_in, error):
            states.append(agent.status.state)

    agent.watchers.add(States())
    states.append(agent.status.state)
    async with agent:
        await agent.online()
        relay.links[0].user.on_pong(0.012)
        assert (agent.status.round_trip, agent.status.owner) == (0.012, "ann")
        relay.links[0].drop()
        await diary.losses.get()
        assert (agent.status.reason, agent.status.round_trip) == ("the connection was closed", None)
        await agent.online()
        assert agent.status.reason == ""
    assert states == ["connecting", "online", "reconnecting", "online"]
    assert agent.status.state is SessionState.ENDED


async def test_a_watcher_that_is_added_later_hears_the_rest_and_a_discarded_one_nothing():
    relay, diary, heard = FakeRelay(), Diary(), []

    class Listener(Watcher):
        def exchange(self, name, exchange):
            heard.append(name)

    async with online(relay, diary, upstream=(upstream := FakeUpstream())) as agent:
        tunnel = await agent.add(named("web"))
        listener = Listener()
        agent.watchers.add(listener)
        for _ in range(2):
            relay.links[0].open(GET, tunnel=tunnel.number)
        upstream.exchanges[0].finish()
        agent.watchers.discard(listener)
        upstream.exchanges[0].finish()
    assert heard == ["web"]


async def test_each_tunnel_counts_its_own():
    relay, diary, upstream = FakeRelay(), Diary(), FakeUpstream()
    async with online(relay, diary, upstream=upstream, drain_seconds=0.0) as agent:
        one, two = await agent.add(named("one")), await agent.add(named("two"))
        assert one.connections(0.0).count == one.http_requests(0.0).count == 0
        relay.links[0].open(GET, tunnel=one.number)
        relay.links[0].open(GET, tunnel=one.number, type_=TYPE_UPGRADE)
        relay.links[0].open(GET, tunnel=two.number)
        upstream.exchanges[0].finish()
        seen = [one.connections(0.0), one.http_requests(0.0), two.connections(0.0)]
        assert [(reading.count, reading.gauge) for reading in seen] == [(2, 1), (1, 0), (1, 1)]
        assert one.http_requests(0.0).p99 == 0.1


@pytest.mark.parametrize("error", [DuplicateName("a"), NotConnected("a"), NotBound(Failed("a", "do b"))])
def test_every_reason_not_to_add_is_an_add_error_with_words(error):
    assert isinstance(error, AddError)
    assert (error.message, str(error)) == ("a", "a")
