"""Whoever waits for somebody, waits so long and no longer. Time passes here by calling the sweep with another clock."""

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from tests.ingress.scene import GET, HOST, Scene, closed_without_clean_end, error_of, reset
from tests.support.raw_http import request_bytes
from tests.support.scripted_agent import ScriptedAgent
from tests.support.waiting import PATIENCE
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import Bound, Unbind
from tunnelrelay.ingress.connection import HEAD_SECONDS, LINGER_SECONDS, READER_SECONDS
from tunnelrelay.ingress.exchange import ANSWER_SECONDS, BODY_SECONDS
from tunnelrelay.registry.endpoint import MAX_HELD
from tunnelrelay.registry.registry import LOST_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

POST = request_bytes("POST", "/", host=HOST, fields=[("Content-Length", "10")])
NO_DEADLINE = float("inf")


async def test_row126_a_head_that_does_not_end_is_refused(s: Scene):
    async with s.visitor() as visitor:
        await visitor.send(b"GET / HT")
        visit = await s.visit(visitor)
        await s.turns(lambda: visit.reader.kept)
        s.pass_time(HEAD_SECONDS - 1)
        await visitor.send(b"TP/1.1\r\n")
        await s.turns(lambda: visit.reader.kept.endswith(b"\r\n"))
        s.pass_time(HEAD_SECONDS + 1)  # of the first byte; those behind it gain nothing
        response = await visitor.response()

    assert (response.status, error_of(response)) == (408, "request_timeout")


@pytest.mark.parametrize("requests", [0, 1])
async def test_row126_an_idle_connection_is_closed_without_a_word(s: Scene, requests):
    s.agent.answers = lambda asked: asked.answer()
    async with s.visitor() as visitor:
        visit = await s.visit(visitor)
        for _ in range(requests):
            await visitor.request("GET", "/", host=HOST)
        s.pass_time(s.relay.ingress.settings.idle_seconds - 1)
        assert not visit.transport.is_closing()
        s.pass_time(s.relay.ingress.settings.idle_seconds + 1)

        assert await visitor.rest() == b""


async def test_row126_a_body_that_does_not_come_is_given_up(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, POST + b"hello")
        s.pass_time(BODY_SECONDS + 1)
        response = await visitor.response()
        await asked.until(lambda: asked.reset is not None)

    assert (response.status, error_of(response)) == (408, "request_timeout")
    assert asked.reset is Code.CANCELLED


async def test_row122_an_answer_that_does_not_come_is_given_up(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        s.pass_time(ANSWER_SECONDS - 1)
        s.pass_time(ANSWER_SECONDS + 1)
        response = await visitor.response()
        await asked.until(lambda: asked.reset is not None)

    assert (response.status, error_of(response)) == (504, "upstream_timeout")


async def test_an_answer_is_waited_for_in_full_though_its_head_came_in_pieces(s: Scene):
    async with s.visitor() as visitor:
        await visitor.send(GET[:5])
        visit = await s.visit(visitor)
        await s.turns(lambda: visit.reader.kept)
        asked = await s.exchange(visitor, GET[5:])
        s.pass_time(ANSWER_SECONDS - 1)
        asked.answer()

        assert (await visitor.response()).status == 200


async def test_a_response_may_take_as_long_as_it_likes(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(200)
        asked.data(b"first")
        head = await visitor.head()
        chunks = visitor.chunks(head)
        assert await anext(chunks) == b"first"
        s.pass_time(10 * ANSWER_SECONDS)
        asked.data(b"second", fin=True)

        assert [chunk async for chunk in chunks] == [b"second"]


async def test_row126_a_visitor_that_does_not_read_is_dropped(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        visitor.writer.transport.pause_reading()
        visit = await s.visit(visitor)
        asked.head(200)
        asked.data(b"x" * 32_000_000)
        await s.turns(lambda: visit.is_paused)
        s.pass_time(READER_SECONDS + 1)
        await asked.until(lambda: asked.reset is not None)

    assert asked.reset is Code.CANCELLED


async def test_a_connection_that_caught_up_after_its_answer_is_idle_like_any(s: Scene):
    s.agent.answers = lambda asked: asked.answer()
    async with s.visitor() as visitor:
        visit = await s.visit(visitor)
        await visitor.request("GET", "/", host=HOST)
        visit.pause_writing()
        visit.resume_writing()

        assert visit.deadline != NO_DEADLINE


async def test_a_body_nobody_wants_is_thrown_away_for_so_long_only_however_it_trickles(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, POST)
        asked.answer(b"no", 413)
        await visitor.response()
        visit = await s.visit(visitor)
        before = visit.deadline
        await visitor.send(b"a")
        await s.turns(lambda: visit.reader.skipped == 1)

        assert visit.deadline == before
        s.pass_time(BODY_SECONDS + 1)
        assert await closed_without_clean_end(visitor) == b""


async def test_the_upstream_not_reading_is_not_the_visitors_fault(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request_bytes("POST", "/", host=HOST, fields=[("Content-Length", "9000000")]))
        asked.keeps = True
        visit = await s.visit(visitor)
        visitor.writer.write(b"x" * 9_000_000)
        await s.turns(lambda: not visit.transport.is_reading())
        await s.turns(lambda: len(asked.body) == 64 * 1024)  # what came, and no more, as nothing was consumed
        s.pass_time(BODY_SECONDS + 1)  # it may be slow, and had its first look only now
        assert not visit.transport.is_closing()
        s.pass_time(2 * BODY_SECONDS + 2)
        response = await visitor.response()

    assert (response.status, error_of(response)) == (504, "upstream_timeout")


async def test_a_last_answer_is_waited_for_a_moment(s: Scene):
    async with s.visitor() as visitor:
        await visitor.send(b"nonsense\r\n\r\n" + GET)
        assert (await visitor.response()).status == 400
        visit = await s.visit(visitor)
        assert visit.is_lingering
        s.pass_time(LINGER_SECONDS + 1)
        await s.turns(lambda: visit not in s.relay.ingress.visitors)


async def test_a_visitor_that_leaves_resets_its_stream(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        reset(visitor)
        await asked.until(lambda: asked.reset is not None)

    assert asked.reset is Code.CANCELLED
    assert [(line.error, line.status) for line in s.log] == [("visitor_gone", 499)]


async def test_a_visitor_that_closes_and_is_written_nothing_has_left(s: Scene, monkeypatch):
    later = []
    monkeypatch.setattr(s.relay.ingress, "call_later", lambda _, call, *args: later.append(partial(call, *args)))
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
    await s.turns(lambda: later)
    later.pop()()
    assert asked.reset is None
    later.pop()()
    await asked.until(lambda: asked.reset is not None)

    assert [(line.error, line.status) for line in s.log] == [("visitor_gone", 499)]


async def test_a_body_aborted_by_the_visitor_resets_its_stream(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, POST + b"hello")
        await asked.until(lambda: asked.body)
    await asked.until(lambda: asked.reset is not None)

    assert (asked.is_complete, asked.reset) == (False, Code.CANCELLED)


async def test_a_body_cut_by_a_half_close_is_not_passed_off_as_whole(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, POST + b"hello")
        visitor.send_eof()
        await asked.until(lambda: asked.reset is not None)

    assert not asked.is_complete


# The agent is away


async def test_a_request_is_held_and_answered_when_the_agent_is_back(s: Scene):
    async with s.visitor() as visitor:
        endpoint = await s.lose_agent()
        await visitor.send(POST)
        await visitor.send(b"helloworld")
        await s.turns(lambda: endpoint.held_count == 1)
        back = ScriptedAgent(s.agent.instance)
        await back.connect(s.port)
        assert isinstance(await back.bind("demo"), Bound)
        asked = await back.next()
        await asked.until(lambda: asked.is_complete)
        asked.answer(b"back")

        assert (await visitor.response()).body == b"back"
        assert bytes(asked.body) == b"helloworld"
        await back.close()


async def test_a_held_request_is_answered_503_after_a_while(s: Scene):
    await s.lose_agent()
    settings = s.relay.ingress.settings
    s.relay.ingress.settings = replace(settings, hold_seconds=0.0)
    try:
        response = await s.fetch()
    finally:
        s.relay.ingress.settings = settings

    assert (response.status, error_of(response)) == (503, "endpoint_offline")
    assert int(response.get("retry-after") or 0) > 0


async def test_a_held_visitor_that_leaves_is_held_no_longer(s: Scene):
    endpoint = await s.lose_agent()
    async with s.visitor() as visitor:
        await visitor.send(GET)
        await s.turns(lambda: endpoint.held_count == 1)
        reset(visitor)
    await s.turns(lambda: endpoint.held_count == 0)


async def test_so_many_are_held_and_no_more(s: Scene):
    endpoint = await s.lose_agent()
    held = [asyncio.ensure_future(endpoint.hold(PATIENCE)) for _ in range(MAX_HELD)]
    await s.turns(lambda: endpoint.held_count == MAX_HELD)
    response = await s.fetch()
    endpoint.wake()
    await asyncio.gather(*held)

    assert (response.status, error_of(response)) == (503, "endpoint_offline")


async def test_a_name_given_up_on_purpose_is_unknown_at_once(s: Scene):
    s.agent.link.send(Unbind(tunnel=1))
    await s.agent.round_trip()
    response = await s.fetch()

    assert (response.status, error_of(response)) == (404, "endpoint_not_found")


async def test_a_name_lost_for_long_is_forgotten(s: Scene):
    await s.lose_agent()
    s.monotonic.ahead += LOST_SECONDS + 1
    s.relay.registry.forget_stale()

    assert (await s.fetch()).status == 404


async def test_a_get_whose_link_died_goes_to_the_next_link(s: Scene):
    async with s.visitor() as visitor:
        await s.exchange(visitor)
        back = ScriptedAgent(s.agent.instance)
        await back.connect(s.port)
        await back.bind("demo")
        await s.agent.vanish()
        asked = await back.next()
        asked.answer(b"again")

        assert (await visitor.response()).body == b"again"
        await back.close()


async def test_a_post_whose_link_died_is_not_sent_again(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, POST + b"helloworld")
        await asked.until(lambda: asked.is_complete)
        await s.agent.vanish()
        response = await visitor.response()

    assert (response.status, error_of(response)) == (502, "agent_lost")


async def test_a_request_the_agent_refused_untouched_is_sent_again_whole(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, POST)
        asked.break_off(Code.REFUSED, "draining")
        again = await s.agent.next()
        await visitor.send(b"helloworld")
        await again.until(lambda: again.is_complete)
        again.answer()

        assert (await visitor.response()).status == 200
        assert bytes(again.body) == b"helloworld"


async def test_a_request_refused_after_part_of_its_body_had_gone_is_never_sent_without_that_part(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, POST + b"hello")
        await asked.until(lambda: asked.body)
        asked.break_off(Code.REFUSED, "draining")
        response = await visitor.response()

    assert (response.status, error_of(response)) == (503, "endpoint_offline")
    assert len(s.agent.asked) == 1


async def test_an_agent_that_refuses_again_and_again_does_not_keep_a_request_for_ever(s: Scene):
    s.agent.answers = lambda asked: asked.break_off(Code.REFUSED)
    response = await s.fetch()

    assert (response.status, error_of(response)) == (503, "endpoint_busy")
    assert len(s.agent.asked) <= 10


async def test_row121_visitors_that_come_and_go_cost_the_others_nothing(s: Scene):
    for _ in range(60):
        async with s.visitor() as visitor:
            await visitor.send(GET * 3)
            await s.visit(visitor)
            reset(visitor)
    await s.turns(lambda: s.relay_link.stream_count == 0)

    assert (await s.fetch_answered_by_last()).status == 200


async def test_a_request_that_finds_the_link_full_goes_on_when_another_has_ended(s: Scene):
    s.relay_link.session.max_streams = 1
    async with s.visitor() as first, s.visitor() as second:
        asked = await s.exchange(first)
        await second.send(GET)
        endpoint = s.relay.registry.find(HOST)
        await s.turns(lambda: endpoint.held_count == 1)
        asked.answer()
        following = await s.agent.next()
        following.answer()

        assert (await second.response()).status == 200


async def test_a_full_link_is_busy_and_then_not(s: Scene):
    s.relay_link.session.max_streams = 1
    settings = s.relay.ingress.settings
    s.relay.ingress.settings = replace(settings, hold_seconds=0.0)
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        response = await s.fetch()
        asked.answer()
        await visitor.response()
    s.relay.ingress.settings = settings

    assert (response.status, error_of(response)) == (503, "endpoint_busy")
    assert (await s.fetch_answered()).status == 200
