"""Rows 104 and 105: whatever an agent sends, the visitor gets one well-framed answer or an end that is none."""

import pytest

from tests.ingress.scene import GET, HOST, Scene, closed_without_clean_end, error_of
from tests.support.raw_http import request_bytes
from tests.support.scripted_agent import Asked
from tunnelctl.wire.errors import Code
from tunnelrelay.ingress.responses import MAX_INTERIM

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEXT = request_bytes("GET", "/next", host=HOST)

BAD_HEADS = {
    "cl-and-te": (200, b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
    "two-lengths": (200, b"Content-Length: 2\r\nContent-Length: 3\r\n"),
    "length-plus": (200, b"Content-Length: +2\r\n"),
    "coding-gzip": (200, b"Transfer-Encoding: gzip\r\n"),
    "bare-cr": (200, b"X: a\rSet-Cookie: evil=1\r\n"),
    "bare-lf": (200, b"X: a\nSet-Cookie: evil=1\r\n"),
    "nul": (200, b"X: \x00\r\n"),
    "folded": (200, b"X: a\r\n b\r\n"),
    "no-colon": (200, b"nonsense\r\n"),
    "empty-name": (200, b": x\r\n"),
    "blank-before-colon": (200, b"Content-Length : 2\r\n"),
    "end-inside": (200, b"A: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "no-line-end": (200, b"A: b"),
    "status-0": (0, b""),
    "status-99": (99, b""),
    "status-1000": (1000, b""),
    "status-65535": (65535, b""),
    "unasked-101": (101, b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    "101-bad-fields": (101, b"X: \x00\r\n"),
    "interim-bad-fields": (103, b"X: a\rb\r\n"),
}


@pytest.mark.parametrize(("status", "fields"), BAD_HEADS.values(), ids=[f"row104-{name}" for name in BAD_HEADS])
async def test_a_head_that_is_none_is_a_502_and_a_closed_connection(s: Scene, status, fields):
    """Row 104."""
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, GET + NEXT)
        asked.head(status, fields)
        response = await visitor.response()
        rest = await visitor.rest()
    await asked.until(lambda: asked.reset is not None)

    assert (response.status, error_of(response), rest) == (502, "agent_bad_response", b"")
    assert asked.reset is Code.PROTOCOL
    assert response.get("set-cookie") is None
    assert len(s.agent.asked) == 1
    assert s.log[0].error == "agent_bad_response"


async def test_the_log_of_a_bad_head_names_the_tunnel_and_not_the_id_that_takes_its_name_over(s: Scene, caplog):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(99)
        await visitor.response()

    assert "agent=local/test" in caplog.text
    assert s.agent.instance not in caplog.text


async def test_row104_more_interim_responses_than_anybody_needs_are_a_502(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        for _ in range(MAX_INTERIM + 30):
            asked.head(103, b"Link: a\r\n")
        response = await visitor.response()

    assert (response.status, len(response.informational)) == (502, MAX_INTERIM)


async def test_row104_a_length_without_a_body_is_a_502(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(200, b"Content-Length: 5\r\n", fin=True)
        response = await visitor.response()

    assert (response.status, error_of(response)) == (502, "agent_bad_response")


def too_long(asked: Asked) -> None:
    asked.head(200, b"Content-Length: 3\r\n")
    asked.data(b"abcHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", fin=True)


def too_long_later(asked: Asked) -> None:
    asked.head(200, b"Content-Length: 3\r\n")
    asked.data(b"abc")
    asked.data(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", fin=True)


def too_short(asked: Asked) -> None:
    asked.head(200, b"Content-Length: 30\r\n")
    asked.data(b"abc", fin=True)


def too_short_end(asked: Asked) -> None:
    asked.head(200, b"Content-Length: 30\r\n")
    asked.data(b"abc")
    asked.end()


def body_on_204(asked: Asked) -> None:
    asked.head(204)
    asked.data(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", fin=True)


def body_on_304(asked: Asked) -> None:
    asked.head(304, b"Content-Length: 4\r\n")
    asked.data(b"evil", fin=True)


def bad_trailers(asked: Asked) -> None:
    asked.head(200)
    asked.data(b"abc")
    asked.end(b"X: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")


BROKEN = [too_long, too_long_later, too_short, too_short_end, body_on_204, body_on_304, bad_trailers]


@pytest.mark.parametrize("breaks", BROKEN, ids=[f"row104-{each.__name__}" for each in BROKEN])
async def test_a_body_that_is_not_what_its_head_promised_ends_the_connection(s: Scene, breaks):
    """Row 104."""
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, GET + NEXT)
        breaks(asked)
        data = await closed_without_clean_end(visitor)

    assert b"evil" not in data
    assert not data.endswith(b"0\r\n\r\n")
    assert len(s.agent.asked) == 1
    assert s.log[0].error == "agent_bad_response"


async def test_row104_a_body_on_the_answer_to_head_never_becomes_the_next_answer(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request_bytes("HEAD", "/", host=HOST) + NEXT)
        asked.head(200, b"Content-Length: 4\r\n")
        asked.data(b"evil", fin=True)
        data = await closed_without_clean_end(visitor)

    assert b"evil" not in data
    assert len(s.agent.asked) == 1


async def test_row104_connection_tokens_take_nothing_of_ours_along(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.answer(fields=b"Connection: keep-alive, Set-Cookie, Content-Length\r\nSet-Cookie: a=b\r\n")
        response = await visitor.response()
        again = await s.exchange(visitor)
        again.answer()
        following = await visitor.response()

    assert (response.get("set-cookie"), response.get("content-length"), response.body) == (None, "2", b"ok")
    assert following.body == b"ok"


async def test_row104_framing_an_agent_names_in_small_letters_is_read_too(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(200, b"content-length: 2\r\ntransfer_encoding: chunked\r\n")
        asked.data(b"ok", fin=True)
        response = await visitor.response()

    assert (response.get("content-length"), response.body) == ("2", b"ok")


@pytest.mark.parametrize("fields", [b"", b"Content-Length: 100\r\n"], ids=["chunked", "counted"])
@pytest.mark.parametrize("how", ["reset", "link lost"])
async def test_row105_an_agent_that_stops_mid_body_leaves_no_clean_end(s: Scene, fields, how):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(200, fields)
        asked.data(b"abc")
        head = await visitor.head()
        if how == "reset":
            asked.break_off(Code.UPSTREAM_BROKEN, "it closed the connection mid-response")
        else:
            await s.agent.vanish()
        data = await closed_without_clean_end(visitor)

    assert head.status == 200
    assert data in (b"abc", b"3\r\nabc\r\n", b"")
    assert s.log[0].error == ("upstream_broken" if how == "reset" else "agent_lost")


async def test_row105_http_1_0_can_tell_too(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, b"GET / HTTP/1.0\r\nHost: demo.localhost\r\n\r\n")
        asked.head(200)
        asked.data(b"abc")
        await visitor.head()
        assert await visitor.read(3) == b"abc"
        asked.break_off(Code.UPSTREAM_BROKEN)
        with pytest.raises(ConnectionResetError):
            await visitor.rest()


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        (Code.UPSTREAM_UNREACHABLE, 502, "upstream_unreachable"),
        (Code.UPSTREAM_BROKEN, 502, "upstream_broken"),
        (Code.UPSTREAM_TIMEOUT, 504, "upstream_timeout"),
        (Code.INTERNAL, 502, "agent_lost"),
        (Code.CANCELLED, 502, "agent_lost"),
    ],
)
async def test_a_stream_reset_before_an_answer_says_whose_fault_it_was(s: Scene, code, status, error):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.break_off(code, "because <script>")
        response = await visitor.response()
        again = await s.exchange(visitor)
        again.answer()
        assert (await visitor.response()).status == 200

    assert (response.status, error_of(response)) == (status, error)
    assert s.log[0].error == error


async def test_row122_an_agent_cannot_send_more_than_the_visitor_takes(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        visitor.writer.transport.pause_reading()
        visit = await s.visit(visitor)
        asked.head(200)
        asked.data(b"x" * 64_000_000)
        await s.turns(lambda: visit.is_paused)
        for _ in range(10):
            await s.agent.round_trip()
        stalled = asked.stream.queued

        other = await s.fetch_answered()
        assert other.status == 200
        assert stalled > 32_000_000
        assert asked.stream.queued == stalled
        assert visit.transport.get_write_buffer_size() <= 64 * 1024 + 4 * 1024 * 1024


async def test_an_answer_that_is_over_gives_its_window_back_though_nobody_reads_it(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        visit = await s.visit(visitor)
        visit.pause_writing()
        (stream,) = s.relay_link.session.streams
        budget = s.relay_link.session.budget
        assert budget.take(1000)
        stream.window += 1000
        stream.left += 1000
        asked.answer(b"x" * 1000)
        await visitor.response()
        await s.turns(lambda: not s.relay_link.session.streams)

    assert budget.used == 0
