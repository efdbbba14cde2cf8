"""An agent that is started with several tunnels, or none: each stands for itself."""

import asyncio
import contextlib

import pytest

from tests.agent.fakes import Diary, FakeRelay, bound, make_agent
from tunnelctl.agent import service
from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.outcome import AllEnded, Invalid, NameTaken, NotAllowed, Stopped
from tunnelctl.wire.messages import Bind, Refused, Superseded, Unbind


def named(*names):
    upstream = UpstreamAddress("http", "127.0.0.1", 9)
    return tuple(TunnelConfig(upstream=upstream, name=name, subdomain=name) for name in names)


@contextlib.asynccontextmanager
async def running(relay, diary, tunnels):
    agent = make_agent(relay, diary, tunnels=tunnels)
    task = asyncio.create_task(agent.run())
    try:
        yield task
    finally:
        agent.stop()
        agent.stop()
        await task


def refusing(**codes):
    """A relay's answer to each bind: a refusal for the tunnels that are named."""

    def answer(bind):
        code = codes.get(bind.name)
        return Refused(tunnel=bind.tunnel, code=code, message=f"not {bind.name}") if code else bound(bind)

    return answer


@pytest.mark.parametrize("code", ["name_taken", "name_invalid", "policy_invalid", "not_allowed", "too_many", "later"])
async def test_a_refused_tunnel_ends_alone_and_the_others_start(code):
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(bad=code)
    async with running(relay, diary, named("bad", "good", "fine")) as task:
        assert {(await diary.starts.get()).name, (await diary.starts.get()).name} == {"good", "fine"}
        name, message = await diary.ends.get()
    assert (name, "not bad" in message) == ("bad", True)
    assert task.result() == Stopped()
    assert relay.dials == 1
    assert {unbind.tunnel for unbind in relay.links[0].sent_of(Unbind)} == {2, 3}


async def test_a_refused_tunnel_is_not_offered_again_on_the_next_link():
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(bad="name_taken")
    async with running(relay, diary, named("bad", "good")):
        await diary.starts.get()
        relay.links[0].drop()
        await diary.starts.get()
    assert [bind.name for bind in relay.links[1].sent_of(Bind)] == ["good"]


async def test_a_tunnel_that_another_agent_takes_over_ends_alone():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary, named("one", "two")) as task:
        await diary.starts.get()
        await diary.starts.get()
        relay.links[0].user.on_message(Superseded(tunnel=1, by="192.0.2.7:1", at="2026-01-01T00:00:00Z"))
        name, message = await diary.ends.get()
        assert relay.links[0].is_open
    assert (name, "192.0.2.7" in message) == ("one", True)
    assert task.result() == Stopped()


async def test_when_every_tunnel_is_refused_the_agent_ends_with_the_reason_of_each():
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(one="name_taken", two="not_allowed", three="policy_invalid")
    agent = make_agent(relay, diary, tunnels=named("one", "two", "three"))
    outcome = await agent.run()
    assert isinstance(outcome, AllEnded)
    assert [(name, type(end)) for name, end in outcome.ends] == [
        ("one", NameTaken), ("two", NotAllowed), ("three", Invalid),
    ]  # fmt: skip
    assert relay.dials == 1


async def test_the_last_tunnel_that_is_taken_over_ends_the_agent():
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = refusing(one="name_taken")
    async with running(relay, diary, named("one", "two")) as task:
        await diary.starts.get()
        relay.links[0].user.on_message(Superseded(tunnel=2, by="192.0.2.7:1", at="2026-01-01T00:00:00Z"))
        await asyncio.wait({task})
        assert isinstance(task.result(), AllEnded)
    assert relay.dials == 1


async def test_a_tunnel_that_the_relay_cannot_take_for_now_is_offered_again_beside_the_others(monkeypatch):
    monkeypatch.setattr(service, "AGAIN_SECONDS", 0.0)
    relay, diary = FakeRelay(), Diary()
    answers = ["try_later", "try_later", None]

    def answer(bind):
        code = answers.pop(0) if bind.name == "slow" else None
        return Refused(tunnel=bind.tunnel, code=code, message="not now") if code else bound(bind)

    relay.on_bind = answer
    async with running(relay, diary, named("slow", "good")):
        started = {(await diary.starts.get()).name for _ in range(2)}
    assert started == {"slow", "good"}
    assert not answers
    assert relay.dials == 1


async def test_an_agent_without_tunnels_keeps_its_link():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary, ()) as task:
        link = await relay.linked.get()
        link.drop()
        await relay.linked.get()  # a lost link is replaced, as for any agent
    assert diary.words[:1] == ["connected as ann"]
    assert "lost: the relay did not answer the greeting in time" not in diary.words
    assert task.result() == Stopped()


@pytest.mark.parametrize(
    ("scheme", "port", "served", "is_had"),
    [
        ("https", None, "https://demo.tun.example", True),
        ("https", None, "http://demo.tun.example", False),
        ("https", None, "http://demo.tun.example:443", False),
        ("http", None, "http://demo.tun.example:8080", True),
        ("http", None, "https://demo.tun.example", True),
        ("", 8443, "https://demo.tun.example:8443", True),
        ("", 8443, "https://demo.tun.example", False),
        ("https", 443, "https://demo.tun.example", True),
        ("http", 80, "http://demo.tun.example:8080", False),
    ],
)
async def test_an_address_other_than_the_one_asked_for_is_given_back(scheme, port, served, is_had):
    relay, diary = FakeRelay(), Diary()
    relay.on_bind = lambda bind: bound(bind).__class__(
        tunnel=bind.tunnel, url=served, host="demo.tun.example", generation=1
    )
    upstream = UpstreamAddress("http", "127.0.0.1", 9)
    tunnel = TunnelConfig(upstream=upstream, host="demo.tun.example", scheme=scheme, port=port)
    agent = make_agent(relay, diary, tunnel=tunnel)
    task = asyncio.create_task(agent.run())
    started = asyncio.create_task(diary.starts.get())
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    agent.stop()
    agent.stop()
    outcome = await task
    started.cancel()
    assert isinstance(outcome, Stopped if is_had else Invalid)
    if not is_had:
        assert served in outcome.message
        assert diary.starts.empty()
        assert relay.links[0].sent_of(Unbind)
