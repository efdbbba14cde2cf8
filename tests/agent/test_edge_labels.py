"""Tunnels that join edges, and those that share their address, from the command line's words to the wire."""

import asyncio
import contextlib

import pytest

from tests.agent.fakes import Diary, FakeRelay, joined, joined_nothing, make_agent
from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.edge_labels import parse_labels
from tunnelctl.agent.outcome import Invalid, NameTaken, NotAllowed
from tunnelctl.agent.ready import OTHER_AGENT
from tunnelctl.agent.tunnel import MAX_ADDRESSES
from tunnelctl.wire.messages import Bind, Join, Refused, Unbind
from tunnelctl.wire.problem import Problem
from tunnelctl.wire.texts import MAX_LABELS

UPSTREAM = UpstreamAddress("http", "127.0.0.1", 9)
LABELLED = TunnelConfig(upstream=UPSTREAM, labels=(("edge", "edghts_1"), ("app", "shop")), weight=3, metadata="blue")
TO_AN_EDGE = TunnelConfig(upstream=UPSTREAM, edge="shop")
POOLED = TunnelConfig(upstream=UPSTREAM, subdomain="demo", pooling=True, weight=7, metadata="green")


@contextlib.asynccontextmanager
async def running(relay, diary, tunnel, **kwargs):
    agent = make_agent(relay, diary, tunnel=tunnel, **kwargs)
    task = asyncio.create_task(agent.run())
    try:
        yield task
    finally:
        agent.stop()
        agent.stop()
        await task


def sent(link, kind):
    (message,) = link.sent_of(kind)
    return message


async def test_a_labelled_tunnel_is_offered_to_edges_and_claims_no_address():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary, LABELLED):
        started = await diary.starts.get()

    join = sent(relay.links[0], Join)
    assert (join.labels, join.edge, join.weight, join.metadata) == (LABELLED.labels, "", 3, "blue")
    assert join.upstream == "http://127.0.0.1:9"
    assert relay.links[0].sent_of(Bind) == []
    assert (started.url, started.labels) == ("https://edghts_1.tun.example", LABELLED.labels)


async def test_an_edge_is_asked_for_by_its_name():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary, TO_AN_EDGE):
        started = await diary.starts.get()
    assert sent(relay.links[0], Join).edge == "shop"
    assert started.url == "https://shop.tun.example"


async def test_a_pooled_tunnel_says_so_with_its_weight():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary, POOLED):
        await diary.starts.get()
    bind = sent(relay.links[0], Bind)
    assert (bind.pooling, bind.weight, bind.metadata) == (True, 7, "green")


async def test_after_a_lost_link_it_joins_again():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary, LABELLED):
        await diary.starts.get()
        relay.links[0].drop()
        await diary.starts.get()
    assert sent(relay.links[1], Join) == sent(relay.links[0], Join)


async def test_it_says_that_no_edge_has_its_labels_yet_and_starts_at_the_first_that_does():
    relay, diary = FakeRelay(), Diary()
    relay.on_join = joined_nothing
    async with running(relay, diary, LABELLED):
        waiting = await diary.waits.get()
        assert diary.starts.empty()
        (link,) = relay.links
        link.user.on_message(joined(sent(link, Join), "https://shop.tun.example"))
        assert (await diary.starts.get()).url == "https://shop.tun.example"
    assert waiting.startswith("no edge of owner ann asks for the labels ")
    assert diary.starts.empty()
    assert diary.lefts.empty()


async def test_an_edge_without_an_address_is_told_by_its_name():
    relay, diary = FakeRelay(), Diary()
    relay.on_join = joined_nothing
    async with running(relay, diary, TO_AN_EDGE):
        assert await diary.waits.get() == "the edge shop has no address yet; visitors come as soon as it has one"


async def test_each_address_is_proven_by_itself_and_told_of_when_it_goes():
    relay, diary = FakeRelay(), Diary()
    relay.on_join = lambda join: joined(join, "https://a.tun.example", "https://b.tun.example")
    async with running(relay, diary, LABELLED):
        assert {(await diary.starts.get()).url for _ in range(2)} == {"https://a.tun.example", "https://b.tun.example"}
        (link,) = relay.links
        link.user.on_message(joined(sent(link, Join), "https://b.tun.example", "https://c.tun.example"))
        assert await diary.lefts.get() == "https://a.tun.example"
        assert (await diary.starts.get()).url == "https://c.tun.example"
    assert diary.starts.empty()


async def test_an_address_that_went_while_the_link_was_lost_is_told_of_too():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary, LABELLED):
        await diary.starts.get()
        relay.on_join = joined_nothing
        relay.links[0].drop()
        assert await diary.lefts.get() == "https://edghts_1.tun.example"
        await diary.waits.get()


async def test_an_address_that_goes_is_no_longer_asked():
    relay, diary, asked = FakeRelay(), Diary(), asyncio.Queue()

    async def probe(*args, **kwargs):
        asked.put_nowait(args[1])
        await asyncio.Event().wait()

    async with running(relay, diary, LABELLED, probe=probe):
        assert await asked.get() == "https://edghts_1.tun.example"
        (link,) = relay.links
        link.user.on_message(joined_nothing(sent(link, Join)))
        await diary.waits.get()
    assert asked.empty()


@pytest.mark.parametrize("tunnel", [LABELLED, TO_AN_EDGE, POOLED], ids=["labels", "edge", "pooling"])
async def test_a_shared_address_has_started_although_another_tunnel_answered_for_it(tunnel):
    relay, diary = FakeRelay(), Diary()

    async def probe(*args, **kwargs):
        return OTHER_AGENT

    async with running(relay, diary, tunnel, probe=probe):
        await diary.starts.get()
    assert diary.unreadies.empty()


async def test_it_leaves_its_edges_when_it_stops():
    relay, diary = FakeRelay(), Diary()
    async with running(relay, diary, LABELLED):
        await diary.starts.get()
    assert sent(relay.links[0], Unbind).tunnel == 1


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        ("edge_unknown", Invalid, "`tunnel api edges https list` lists your edges"),
        ("not_allowed", NotAllowed, "`tunnel api credentials list` shows what it may bind"),
        ("name_taken", NameTaken, "choose another name with --subdomain"),
    ],
)
async def test_a_refusal_ends_it_with_what_to_do(code, kind, hint):
    relay, diary = FakeRelay(), Diary()
    relay.on_join = lambda join: Refused(tunnel=join.tunnel, code=code, message="no")
    outcome = await make_agent(relay, diary, tunnel=TO_AN_EDGE).run()
    assert outcome == kind("no", hint, code)
    relay.on_join = lambda join: Refused(tunnel=join.tunnel, code=code, message="no", hint="the relay's own")
    assert await make_agent(relay, diary, tunnel=TO_AN_EDGE).run() == kind("no", "the relay's own", code)


# Labels as people write them


def test_labels_are_names_and_values_as_they_were_written():
    problems = []
    assert parse_labels("--label", ["edge=edghts_1", "Team = a=b "], problems) == (
        ("edge", "edghts_1"),
        ("Team", "a=b"),
    )
    assert problems == []


@pytest.mark.parametrize("text", ["", "edge", "edge=", "=x", " = ", "a=" + "x" * 257, "a=\x1b[2J"])
def test_what_is_no_label_is_refused_without_reaching_the_terminal(text):
    problems = []
    assert parse_labels("--label", [text], problems) == ()
    assert [problem.field for problem in problems] == ["--label"]
    assert "\x1b" not in problems[0].text


def test_a_label_with_two_values_is_refused():
    problems = []
    parse_labels("--label", ["a=1", "b=1", "a=2"], problems)
    assert problems == [Problem("--label", "a has more than one value")]


def test_labels_are_counted():
    problems = []
    parse_labels("--label", [f"n{number}=1" for number in range(MAX_LABELS + 1)], problems)
    assert problems == [Problem("--label", f"{MAX_LABELS + 1} labels, {MAX_LABELS} at most")]


async def test_a_relay_that_names_addresses_without_end_is_asked_about_the_first_ones_only():
    relay, diary, asked = FakeRelay(), Diary(), []
    relay.on_join = lambda join: joined(join, *(f"https://e{number}.tun.example" for number in range(1000)))

    async def probe(*args, **kwargs):
        asked.append(args[1])
        return ""

    async with running(relay, diary, LABELLED, probe=probe):
        for _ in range(MAX_ADDRESSES):
            await diary.starts.get()
    assert len(asked) == MAX_ADDRESSES
