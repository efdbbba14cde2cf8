import asyncio
import contextlib

import pytest

from tests.agent.fakes import Diary, FakeRelay, bound, make_agent, unbound_numbers
from tunnelctl.agent.agent import PROBE_WAITS
from tunnelctl.agent.backoff import STEADY_AFTER
from tunnelctl.agent.job_identity import JobTokenAway, NoJobToken
from tunnelctl.agent.outcome import Failed, Invalid, NameTaken, NoRelay, NotAllowed, Stopped
from tunnelctl.link.dial import DialFailed
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import Bind, Refused, Superseded, Welcome


@contextlib.asynccontextmanager
async def running(relay, diary, **kwargs):
    agent = make_agent(relay, diary, **kwargs)
    task = asyncio.create_task(agent.run())
    try:
        yield agent, task
    finally:
        agent.stop()
        agent.stop()
        await task


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


async def test_a_tunnel_has_started_once_its_address_answered_and_not_before():
    relay, diary, asked = FakeRelay(), Diary(), []

    async def probe(relay_address, url, **way):
        asked.append((url, list(diary.words)))
        return "" if len(asked) == 3 else "the relay answered 404"

    async with running(relay, diary, probe=probe):
        started = await diary.starts.get()

    assert [words for _, words in asked] == [["connected as ann"]] * 3
    assert (started.url, started.upstream, started.name) == (
        "https://demo.tun.example",
        "http://127.0.0.1:9",
        "command_line",
    )


async def test_an_address_that_does_not_answer_is_reported_and_asked_again_while_the_link_stays():
    relay, diary, asked = FakeRelay(), Diary(), []

    async def probe(*args, **kwargs):
        asked.append(1)
        return "no answer in 5 s" if len(asked) <= len(PROBE_WAITS) + 1 else ""

    async with running(relay, diary, probe=probe):
        assert await diary.unreadies.get() == "no answer in 5 s"
        await diary.starts.get()
    assert relay.dials == 1


async def test_it_comes_back_for_ever_while_the_relay_is_away():
    relay, diary = FakeRelay(), Diary()
    relay.answers = [DialFailed("unreachable", "connection refused")] * 50
    async with running(relay, diary):
        await diary.starts.get()
    assert relay.dials == 51


@pytest.mark.parametrize(("dice", "wait"), [(0.0, 30.0), (1.0, 45.0)])
async def test_row125_a_busy_relay_is_given_the_time_it_asks_for_and_not_by_all_agents_the_same(dice, wait):
    relay, diary = FakeRelay(), Diary()
    relay.answers = [DialFailed("unreachable", "too many", status=429, wait=30)]
    async with running(relay, diary, random=lambda: dice):
        assert await diary.losses.get() == ("too many", wait)
        await diary.starts.get()


async def test_row130_a_relay_that_cannot_look_a_name_up_is_asked_again():
    relay, diary = FakeRelay(), Diary()
    answers = [Refused(tunnel=1, code="try_later", message="not now"), None]
    relay.on_bind = lambda bind: answers.pop(0) or bound(bind)
    async with running(relay, diary):
        assert (await diary.losses.get())[0] == "not now"
        await diary.starts.get()


async def test_after_a_reconnect_it_asks_for_the_host_it_had():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary):
        await diary.starts.get()
        (await relay.linked.get()).drop()
        await diary.starts.get()
    first, second = (link.sent_of(Bind)[0] for link in relay.links)
    assert (first.subdomain, first.host) == ("demo", None)
    assert (second.subdomain, second.host) == (None, "demo.tun.example")


async def test_all_links_of_one_agent_carry_the_same_instance_id():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary) as (agent, _):
        await diary.starts.get()
        (await relay.linked.get()).drop()
        await diary.starts.get()
    assert {link.sent[0].agent for link in relay.links} == {agent.instance}


async def test_a_link_that_breaks_as_soon_as_it_stands_is_not_dialled_in_a_tight_loop():
    relay, diary, waits = FakeRelay(), Diary(), []

    async def sleep(seconds):
        waits.append(seconds)
        await asyncio.sleep(0)

    async with running(relay, diary, sleep=sleep):
        for _ in range(4):
            (await relay.linked.get()).drop()
        await relay.linked.get()
    assert waits[:4] == [0.1, 0.2, 0.4, 0.4]


async def test_a_steady_link_wipes_the_slate_clean():
    relay, diary, clock = FakeRelay(), Diary(), Clock()
    async with running(relay, diary, clock=clock):
        for expected in (0.1, 0.2):
            (await relay.linked.get()).drop()
            assert (await diary.losses.get())[1] == pytest.approx(expected)
        link = await relay.linked.get()
        await diary.starts.get()
        clock.now += STEADY_AFTER
        link.drop()
        assert (await diary.losses.get())[1] == pytest.approx(0.1)


async def test_a_relay_that_goes_away_gets_a_new_link_before_the_old_one_ends():
    relay, diary, clock = FakeRelay(), Diary(), Clock()
    comes = ["connected as ann", "started https://demo.tun.example"]
    async with running(relay, diary, clock=clock):
        await diary.starts.get()
        old = await relay.linked.get()
        clock.now += STEADY_AFTER
        old.user.on_go_away(Code.NO_ERROR, "the relay stops")
        await relay.linked.get()
        await diary.starts.get()
        assert old.is_open
        assert diary.words == [*comes, "moving", *comes]


async def test_an_old_link_is_closed_when_its_time_to_drain_is_over():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary, retire_seconds=0.0):
        await diary.starts.get()
        old = await relay.linked.get()
        old.user.on_go_away(Code.NO_ERROR, "the relay stops")
        await old.user.closed
    assert old.closed_with is Code.NO_ERROR


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("name_taken", NameTaken),
        ("name_invalid", Invalid),
        ("policy_invalid", Invalid),
        ("not_allowed", NotAllowed),
        ("too_many", Failed),
        ("a code of a later version", Failed),
    ],
)
async def test_a_refused_tunnel_ends_the_agent_with_what_the_relay_said(code, outcome):
    relay = FakeRelay()
    relay.on_bind = lambda bind: Refused(tunnel=1, code=code, message="no", hint="do this")
    end = await make_agent(relay, Diary()).run()
    assert end == outcome("no", "do this", code)
    assert relay.links[0].closed_with is Code.NO_ERROR


async def test_being_superseded_is_the_end_and_says_by_whom():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary) as (_, task):
        link = await relay.linked.get()
        await diary.starts.get()
        link.user.on_message(Superseded(tunnel=1, by="192.0.2.7", at="2026-11-23T10:00:00Z"))
        end = await task
    assert isinstance(end, NameTaken)
    assert (
        end.message
        == "demo.tun.example was taken over by another agent of yours, from 192.0.2.7 at 2026-11-23T10:00:00Z"
    )
    assert relay.dials == 1


async def test_a_token_that_the_relay_does_not_take_is_the_end():
    relay = FakeRelay()
    relay.answers = [DialFailed("refused", "this token is not known here", status=401)]
    end = await make_agent(relay, Diary()).run()
    assert isinstance(end, NotAllowed)
    assert "tunnel config add-authtoken" in end.hint


class Job:
    """A CI job whose tokens are counted, or that has none."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    async def token(self, audience):
        self.asked.append(audience)
        answer = self.answers.pop(0) if self.answers else f"token-{len(self.asked)}"
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_ci_job_shows_a_new_token_on_each_link():
    relay, diary, job, shown = FakeRelay(), Diary(), Job(), []
    dial = relay.dial

    async def noted(url, *, token, **way):
        shown.append(token)
        return await dial(url, token=token, **way)

    relay.dial = noted
    async with running(relay, diary, job=job):
        await diary.starts.get()
        relay.links[0].drop()
        await diary.starts.get()

    assert shown == ["token-1", "token-2"]
    assert job.asked == ["http://127.0.0.1:1"] * 2


async def test_a_ci_job_that_has_no_token_is_the_end_and_dials_no_relay():
    relay, diary = FakeRelay(), Diary()

    async with running(relay, diary, job=Job(NoJobToken("GitHub gave this job no identity", "forks"))) as (_, task):
        outcome = await task

    assert outcome == NotAllowed("GitHub gave this job no identity", "forks")
    assert relay.dials == 0


async def test_a_ci_system_that_gives_out_no_token_at_the_moment_is_asked_again():
    relay, diary = FakeRelay(), Diary()

    async with running(relay, diary, job=Job(JobTokenAway("GitHub answered 503"))):
        await diary.starts.get()

    assert diary.words[0] == "lost: GitHub answered 503"


async def test_a_token_revoked_while_the_link_stands_is_the_end():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary) as (_, task):
        link = await relay.linked.get()
        await diary.starts.get()
        link.user.on_go_away(Code.UNAUTHORIZED, "the authtoken was revoked")
        link.drop(Code.UNAUTHORIZED, "the authtoken was revoked")
        assert isinstance(await task, NotAllowed)


async def test_something_else_at_the_relays_address_is_told_once_and_not_tried_again():
    relay = FakeRelay()
    relay.answers = [DialFailed("protocol", "the relay answered 404", status=404)]
    assert await make_agent(relay, Diary()).run() == NoRelay(
        "the relay answered 404", "is --relay the address of a tunnelrelay?"
    )


async def test_a_proxy_that_answers_404_while_the_relay_restarts_is_no_reason_to_end():
    relay, diary = FakeRelay(), Diary()
    relay.answers = [None, DialFailed("protocol", "the relay answered 404", status=404)]
    async with running(relay, diary):
        await diary.starts.get()
        (await relay.linked.get()).drop()
        await diary.starts.get()
    assert relay.dials == 3


async def test_a_relay_of_another_protocol_version_is_the_end():
    relay = FakeRelay()
    relay.greets = False
    agent = make_agent(relay, Diary())
    task = asyncio.create_task(agent.run())
    link = await relay.linked.get()
    link.user.on_message(
        Welcome(version="9.0", owner="ann", domain="d", heartbeat_seconds=5.0, max_streams=1, protocol=2)
    )
    end = await task
    assert isinstance(end, Failed)
    assert "protocol 2 (release 9.0)" in end.message


async def test_a_relay_that_never_greets_is_left_and_dialled_again():
    relay, diary = FakeRelay(), Diary()
    relay.greets = False
    async with running(relay, diary, greeting_seconds=0.0):
        assert (await diary.losses.get())[0] == "the relay did not answer the greeting in time"
        await relay.linked.get()
        await relay.linked.get()
    assert relay.links[0].closed_with is Code.NO_ERROR


async def test_a_relay_that_talks_out_of_turn_is_left():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary):
        await diary.starts.get()
        link = await relay.linked.get()
        link.user.on_message(bound(Bind(tunnel=77, name="x", upstream="u")))
        await diary.losses.get()
    assert link.closed_with is Code.PROTOCOL


# Stopping


async def test_asked_to_stop_it_unbinds_and_closes_and_that_is_a_good_end():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary) as (agent, task):
        await diary.starts.get()
        agent.stop()
        assert await task == Stopped()
    assert unbound_numbers(relay.links[0]) == [1]
    assert relay.links[0].closed_with is Code.NO_ERROR


async def test_it_stops_at_once_while_it_waits_for_a_relay():
    relay, diary = FakeRelay(), Diary()
    relay.answers = [DialFailed("unreachable", "connection refused")]
    async with running(relay, diary, sleep=asyncio.sleep, random=lambda: 1e6) as (agent, task):
        await diary.losses.get()
        agent.stop()
        assert await task == Stopped()


async def test_exchanges_in_flight_finish_before_it_stops():
    relay, diary = FakeRelay(), Diary()
    async with held_upstream() as (port, release), running(relay, diary, port=port) as (agent, task):
        await diary.starts.get()
        relay.links[0].open(b"GET / HTTP/1.1\r\nHost: a\r\n")
        agent.stop()
        assert await diary.drains.get() == 1
        assert not task.done()
        assert relay.links[0].is_open
        release.set()
        assert await task == Stopped()
    assert relay.links[0].frames[0][0] == "head"


async def test_a_second_request_to_stop_does_not_wait():
    relay, diary = FakeRelay(), Diary()
    async with held_upstream() as (port, _), running(relay, diary, port=port) as (agent, task):
        await diary.starts.get()
        relay.links[0].open(b"GET / HTTP/1.1\r\nHost: a\r\n")
        agent.stop()
        await diary.drains.get()
        agent.stop()
        assert await task == Stopped()


async def test_an_exchange_that_never_ends_holds_up_the_stop_for_a_bounded_time():
    relay, diary = FakeRelay(), Diary()
    async with held_upstream() as (port, _), running(relay, diary, port=port, drain_seconds=0.01) as (agent, task):
        await diary.starts.get()
        relay.links[0].open(b"GET / HTTP/1.1\r\nHost: a\r\n")
        agent.stop()
        assert await task == Stopped()


@contextlib.asynccontextmanager
async def held_upstream():
    """A service that answers when the event is set."""
    release = asyncio.Event()

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], release
    finally:
        release.set()
        server.close()
