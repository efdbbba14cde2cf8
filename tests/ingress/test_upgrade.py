"""Upgrades: after a 101 the bytes are opaque both ways, and each half ends by itself."""

import pytest

from tests.ingress.scene import GET, HOST, Scene, error_of
from tests.support.raw_http import request_bytes
from tests.support.scripted_agent import Asked
from tunnelctl.http1.request_reader import MAX_AHEAD
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import TYPE_UPGRADE
from tunnelrelay.ingress.exchange import ANSWER_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIELDS = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket"), ("Sec-WebSocket-Key", "abc")]
ASKING = request_bytes("GET", "/ws", host=HOST, fields=FIELDS)
AGREED = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: xyz\r\n"
LOOKS_LIKE_HTTP = b"GET /smuggled HTTP/1.1\r\nHost: demo.localhost\r\n\r\n"


async def switched(s: Scene, visitor) -> Asked:
    asked = await s.exchange(visitor, ASKING)
    asked.head(101, AGREED)
    response = await visitor.response()
    assert response.status == 101
    return asked


async def test_an_upgrade_is_asked_of_the_upstream_and_its_answer_passed_on(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, ASKING)
        asked.head(101, AGREED)
        response = await visitor.response()

    assert (asked.opened.type, asked.is_complete) == (TYPE_UPGRADE, False)
    assert (asked.get(b"upgrade"), asked.get(b"connection")) == (b"websocket", b"Upgrade")
    assert asked.get(b"sec-websocket-key") == b"abc"
    assert (response.get("upgrade"), response.get("connection")) == ("websocket", "Upgrade")
    assert (response.get("sec-websocket-accept"), response.get("transfer-encoding")) == ("xyz", None)


async def test_bytes_pass_as_they_are_whatever_they_look_like(s: Scene):
    async with s.visitor() as visitor:
        asked = await switched(s, visitor)
        await visitor.send(LOOKS_LIKE_HTTP)
        await asked.until(lambda: asked.body == LOOKS_LIKE_HTTP)
        asked.data(b"HTTP/1.1 200 OK\r\n\r\n\x00\xff")

        assert await visitor.read(21) == b"HTTP/1.1 200 OK\r\n\r\n\x00\xff"
        assert len(s.agent.asked) == 1


async def test_what_came_before_the_switch_is_passed_on_after_it(s: Scene):
    early = b"x" * (MAX_AHEAD + 100_000)
    async with s.visitor() as visitor:
        visitor.writer.write(ASKING + early)
        asked = await s.agent.next()
        visit = await s.visit(visitor)
        await s.turns(lambda: not visit.transport.is_reading())
        assert not asked.body
        asked.head(101, AGREED)
        await asked.until(lambda: len(asked.body) == len(early))


async def test_the_visitors_half_ends_first(s: Scene):
    async with s.visitor() as visitor:
        asked = await switched(s, visitor)
        await visitor.send(b"bye")
        visitor.send_eof()
        await asked.until(lambda: asked.is_complete)
        asked.data(b"last words", fin=True)

        assert await visitor.rest() == b"last words"
        assert bytes(asked.body) == b"bye"
    await s.turns(lambda: s.relay_link.stream_count == 0)
    assert [(line.status, line.upgrade, line.error) for line in s.log] == [(101, "websocket", "")]


async def test_the_upstreams_half_ends_first(s: Scene):
    async with s.visitor() as visitor:
        asked = await switched(s, visitor)
        asked.data(b"bye", fin=True)
        assert await visitor.rest() == b"bye"
        await visitor.send(b"last words")
        visitor.send_eof()
        await asked.until(lambda: asked.is_complete)

    assert (bytes(asked.body), asked.reset) == (b"last words", None)
    await s.turns(lambda: s.relay_link.stream_count == 0)
    assert [(line.status, line.error) for line in s.log] == [(101, "")]


async def test_a_visitor_that_never_ends_its_half_is_dropped_some_time(s: Scene):
    async with s.visitor() as visitor:
        asked = await switched(s, visitor)
        asked.end()
        assert await visitor.rest() == b""
        s.pass_time(ANSWER_SECONDS + 1)
        await asked.until(lambda: asked.reset is not None)

    await s.turns(lambda: s.relay_link.stream_count == 0)


async def test_a_half_that_ended_before_the_switch_is_ended_after_it(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, ASKING)
        visitor.send_eof()
        await s.agent.round_trip()
        asked.head(101, AGREED)
        await asked.until(lambda: asked.is_complete)
        asked.data(b"bye", fin=True)

        assert (await visitor.response()).status == 101
        assert await visitor.rest() == b"bye"


async def test_a_silent_connection_lives_on(s: Scene):
    async with s.visitor() as visitor:
        asked = await switched(s, visitor)
        s.pass_time(100 * ANSWER_SECONDS)
        asked.data(b"still here")

        assert await visitor.read(10) == b"still here"


async def test_a_visitor_that_leaves_resets_the_stream(s: Scene):
    async with s.visitor() as visitor:
        asked = await switched(s, visitor)
        visitor.writer.transport.abort()
        await asked.until(lambda: asked.reset is not None or asked.is_complete)


@pytest.mark.parametrize("how", ["reset", "vanish"])
async def test_an_agent_that_leaves_closes_the_connection(s: Scene, how):
    async with s.visitor() as visitor:
        asked = await switched(s, visitor)
        asked.break_off(Code.UPSTREAM_BROKEN) if how == "reset" else await s.agent.vanish()

        assert await visitor.rest() == b""


async def test_a_reader_that_stops_stalls_its_own_connection(s: Scene):
    async with s.visitor() as visitor:
        asked = await switched(s, visitor)
        visitor.writer.transport.pause_reading()
        visit = await s.visit(visitor)
        asked.data(b"x" * 32_000_000)
        await s.turns(lambda: visit.is_paused)

        assert (await s.fetch_answered()).status == 200
        assert asked.stream.queued > 16_000_000


async def test_an_agent_that_does_not_read_stops_the_visitor(s: Scene):
    async with s.visitor() as visitor:
        asked = await switched(s, visitor)
        asked.keeps = True
        visit = await s.visit(visitor)
        visitor.writer.write(b"x" * 9_000_000)
        await s.turns(lambda: not visit.transport.is_reading())

        assert len(asked.body) <= 64 * 1024


async def test_a_refused_upgrade_is_an_ordinary_answer(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, ASKING)
        asked.answer(b"no", 403)
        response = await visitor.response()
        again = await s.exchange(visitor)
        again.answer()

        assert (response.status, response.body) == (403, b"no")
        assert (await visitor.response()).status == 200
    await s.turns(lambda: s.relay_link.stream_count == 0)


async def test_row98_an_agent_that_switches_though_nothing_was_asked_is_refused(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, GET)
        asked.head(101, AGREED)
        response = await visitor.response()

    assert (response.status, error_of(response)) == (502, "agent_bad_response")


async def test_the_protocol_told_is_the_one_that_was_asked_for(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, ASKING)
        asked.head(101, b"Connection: Upgrade, X\r\nUpgrade: h2c\r\nX: 1\r\n")
        response = await visitor.response()

    assert (response.get("upgrade"), response.get("x")) == ("websocket", None)
