"""One request and its answer, framed in every way HTTP/1.1 has, through a real relay."""

import pytest

from tests.ingress.scene import GET, HOST, Scene, error_of
from tests.support.raw_http import request_bytes
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import BODY_CHUNKED, BODY_LENGTH, BODY_NONE

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1 << 20


def request(method: str = "GET", target: str = "/", *fields: tuple[str, str], body: bytes | None = None) -> bytes:
    return request_bytes(method, target, host=HOST, fields=list(fields), body=body)


async def test_a_request_arrives_with_its_own_fields_in_order_and_comes_back(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request("GET", "/a?b=c", ("A", "1"), ("B", "2"), ("A", "3")))
        asked.answer(b"hello", fields=b"Server: app\r\nX: 1\r\nX: 2\r\n")
        response = await visitor.response()

    assert (asked.line, asked.opened.framing, asked.is_complete) == (b"GET /a?b=c HTTP/1.1", BODY_NONE, True)
    assert [field for field in asked.fields if field[0] in (b"a", b"b")] == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert (response.status, response.reason, response.body) == (200, "OK", b"hello")
    assert (response.get_all("x"), response.get("server")) == (["1", "2"], "app")
    assert response.get("connection") is None


async def test_a_connection_serves_one_request_after_another_and_is_logged_for_each(s: Scene):
    s.agent.answers = lambda asked: asked.answer(asked.line)
    async with s.visitor() as visitor:
        for number in range(5):
            response = await visitor.request("GET", f"/{number}?secret", host=HOST)
            assert response.body == b"GET /%d?secret HTTP/1.1" % number

    assert [(line.path.partition("?")[0], line.status, line.error) for line in s.log] == [
        (f"/{number}", 200, "") for number in range(5)
    ]


async def test_pipelined_requests_are_answered_in_order(s: Scene):
    async with s.visitor() as visitor:
        await visitor.send(b"".join(request("GET", f"/{number}") for number in range(10)))
        for number in range(10):
            asked = await s.agent.next()
            assert asked.line == b"GET /%d HTTP/1.1" % number
            assert len(s.agent.asked) == number + 1
            asked.answer(asked.line)
        answers = [(await visitor.response()).body for _ in range(10)]

    assert answers == [b"GET /%d HTTP/1.1" % number for number in range(10)]


async def test_a_body_with_a_length_is_passed_on_in_pieces(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request("POST", "/", ("Content-Length", "10")) + b"hello")
        await asked.until(lambda: asked.body == b"hello")
        assert not asked.is_complete
        await visitor.send(b"world")
        await asked.until(lambda: asked.is_complete)
        asked.answer()
        assert (await visitor.response()).status == 200
        again = await s.exchange(visitor)
        again.answer()
        assert (await visitor.response()).status == 200

    assert bytes(asked.body) == b"helloworld"
    assert (asked.opened.framing, asked.get(b"content-length")) == (BODY_LENGTH, b"10")


async def test_a_request_behind_a_body_in_one_packet_is_the_next(s: Scene):
    s.agent.answers = lambda asked: asked.answer()
    async with s.visitor() as visitor:
        await visitor.send(request("POST", "/1", body=b"hello") + request("GET", "/2"))
        await visitor.response()
        await visitor.response()

    assert [asked.line[:7] for asked in s.agent.asked] == [b"POST /1", b"GET /2 "]
    assert [bytes(asked.body) for asked in s.agent.asked] == [b"hello", b""]


async def test_a_chunked_body_keeps_its_framing_and_its_trailers(s: Scene):
    async with s.visitor() as visitor:
        head = request("POST", "/", ("Transfer-Encoding", "chunked"), ("Trailer", "Checksum"))
        asked = await s.exchange(visitor, head + b"5\r\nhello\r\n5;x=y\r\nworld\r\n0\r\nChecksum: abc\r\n\r\n")
        await asked.until(lambda: asked.is_complete)
        asked.answer()
        assert (await visitor.response()).status == 200

    assert (bytes(asked.body), asked.trailers) == (b"helloworld", b"Checksum: abc\r\n")
    assert (asked.opened.framing, asked.get(b"transfer-encoding")) == (BODY_CHUNKED, b"chunked")
    assert asked.get(b"trailer") == b"Checksum"


async def test_a_length_of_nothing_is_passed_on(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request("POST", "/", body=b""))
        asked.answer()
        await visitor.response()

    assert asked.get(b"content-length") == b"0"
    assert asked.is_complete


async def test_expect_100_continue_is_answered_by_the_upstream(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request("POST", "/", ("Expect", "100-continue"), ("Content-Length", "5")))
        assert asked.get(b"expect") == b"100-continue"
        asked.head(100)
        assert (await visitor.head()).status == 100
        await visitor.send(b"hello")
        await asked.until(lambda: asked.is_complete)
        asked.answer()
        assert (await visitor.response()).status == 200
        again = await s.exchange(visitor)
        again.answer()
        assert (await visitor.response()).status == 200


async def test_an_expectation_that_is_refused_ends_the_exchange_without_the_body(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request("POST", "/", ("Expect", "100-continue"), ("Content-Length", "5")))
        asked.answer(b"too large", 413)
        response = await visitor.response()

    assert (response.status, response.body) == (413, b"too large")


async def test_any_other_expectation_is_refused(s: Scene):
    assert (await s.fetch(request("GET", "/", ("Expect", "a-pony")))).status == 417


@pytest.mark.parametrize(("status", "is_passed"), [(102, True), (103, True), (104, False), (199, False)])
async def test_interim_responses_pass_when_they_are_known(s: Scene, status, is_passed):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(status, b"Link: </a.css>\r\nConnection: x\r\nContent-Length: 7\r\n")
        asked.answer()
        response = await visitor.response()

    assert [each.status for each in response.informational] == [status] * is_passed
    for each in response.informational:
        assert each.fields == [("link", "</a.css>")]


async def test_http_1_0_gets_no_interim_response(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, b"GET / HTTP/1.0\r\nHost: demo.localhost\r\n\r\n")
        asked.head(103)
        asked.answer()
        response = await visitor.response()

    assert (response.status, response.informational) == (200, [])


async def test_the_answer_to_head_says_the_length_and_has_no_body(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request("HEAD"))
        asked.head(200, b"Content-Length: 1000\r\n", fin=True)
        response = await visitor.response("HEAD")
        again = await s.exchange(visitor)
        again.answer()
        following = await visitor.response()

    assert response.get("content-length") == "1000"
    assert (following.status, following.body) == (200, b"ok")


@pytest.mark.parametrize(("status", "length"), [(204, None), (304, "5"), (304, None)])
async def test_a_status_without_a_body_leaves_the_connection_in_order(s: Scene, status, length):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(status, b"Content-Length: 5\r\n" if length else b"", fin=True)
        response = await visitor.response()
        again = await s.exchange(visitor)
        again.answer()
        following = await visitor.response()

    assert (response.status, response.get("content-length")) == (status, length)
    assert response.get("transfer-encoding") is None
    assert following.body == b"ok"


async def test_a_response_of_unknown_length_is_chunked_with_its_trailers(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(200, b"Transfer-Encoding: chunked\r\nTrailer: Checksum\r\n")
        asked.data(b"hello")
        asked.data(b"world")
        asked.end(b"Checksum: abc\r\nSet-Cookie: a=b\r\nContent-Length: 3\r\n")
        response = await visitor.response()
        again = await s.exchange(visitor)
        again.answer()
        following = await visitor.response()

    assert (response.body, response.trailers) == (b"helloworld", [("checksum", "abc")])
    assert response.get("content-length") is None
    assert following.body == b"ok"


async def test_pieces_of_a_response_arrive_as_they_are_sent(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(200, b"Content-Type: text/event-stream\r\n")
        head = await visitor.head()
        chunks = visitor.chunks(head)
        for number in range(3):
            asked.data(b"data: %d\n\n" % number)
            assert await anext(chunks) == b"data: %d\n\n" % number
        asked.end()
        assert [chunk async for chunk in chunks] == []


async def test_http_1_0_gets_its_body_until_the_close(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, b"GET / HTTP/1.0\r\nHost: demo.localhost\r\n\r\n")
        asked.head(200)
        asked.data(b"hello")
        asked.data(b"world", fin=True)
        head = await visitor.head()
        rest = await visitor.rest()

    assert (head.get("transfer-encoding"), head.get("connection"), rest) == (None, "close", b"helloworld")


async def test_http_1_0_is_kept_when_it_asks_and_the_length_is_known(s: Scene):
    asking = b"GET / HTTP/1.0\r\nHost: demo.localhost\r\nConnection: keep-alive\r\n\r\n"
    s.agent.answers = lambda asked: asked.answer()
    async with s.visitor() as visitor:
        for _ in range(2):
            await visitor.send(asking)
            response = await visitor.response()
            assert (response.get("connection"), response.body) == ("keep-alive", b"ok")


async def test_a_visitor_that_half_closes_still_gets_its_answer(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        visitor.send_eof()
        await s.agent.round_trip()
        asked.answer(b"late")
        response = await visitor.response()
        rest = await visitor.rest()

    assert (response.body, rest, asked.reset) == (b"late", b"", None)


async def test_hop_by_hop_fields_of_the_answer_end_here(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.answer(fields=b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 2\r\n")
        response = await visitor.response()

    assert [response.get(name) for name in ("connection", "x-hop", "keep-alive", "x-end")] == [None, None, None, "2"]


async def test_an_answer_before_the_body_is_whole_keeps_the_connection_when_little_is_left(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request("POST", "/", ("Content-Length", "10")) + b"hello")
        asked.answer(b"enough", 413)
        response = await visitor.response()
        await visitor.send(b"world" + request("GET", "/next"))
        following = await s.agent.next()
        following.answer()
        assert (await visitor.response()).status == 200
        await asked.until(lambda: asked.reset is not None)

    assert (response.status, asked.reset, following.line[:9]) == (413, Code.NO_ERROR, b"GET /next")
    assert [line.status for line in s.log] == [413, 200]


async def test_an_unwanted_body_without_end_is_not_read_for_ever(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request("POST", "/", ("Content-Length", str(100 * MIB))))
        asked.answer(b"enough", 413)
        assert (await visitor.response()).status == 413
        visitor.writer.write(b"x" * 3 * MIB)
        assert await visitor.rest() == b""

    assert len(s.log) == 1


async def test_a_visitor_that_leaves_while_its_body_is_thrown_away_is_logged_once(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request("POST", "/", ("Content-Length", "10")) + b"hello")
        visit = await s.visit(visitor)
        asked.answer(b"enough", 413)
        await visitor.response()
    await s.turns(lambda: visit not in s.relay.ingress.visitors)

    assert [(line.status, line.error) for line in s.log] == [(413, "")]


async def test_a_megabyte_goes_both_ways(s: Scene):
    body = bytes(range(256)) * (4 * MIB // 256)
    async with s.visitor() as visitor:
        visitor.writer.write(request("POST", "/", body=body))
        asked = await s.agent.next()
        await asked.until(lambda: asked.is_complete)
        asked.answer(bytes(asked.body))
        response = await visitor.response()

    assert response.body == body


async def test_the_agents_probe_lets_nobody_else_in(s: Scene):
    """It is exempt from the policy, so it is the probe byte for byte, or it is the relay's own page."""
    for data in [
        request("POST", "/_tunnel/ready", body=b"x"),
        request("GET", "/_tunnel/ready?x=1"),
        request("GET", "/_tunnel/ready/../../"),
        request("GET", "/_tunnel/ready", body=b"x"),
        request("PUT", "/_tunnel/ready"),
        request("GET", "/_tunnel/ready", ("Connection", "Upgrade"), ("Upgrade", "websocket")),
        request("GET", "http://demo.localhost/_tunnel/other"),
    ]:
        assert (await s.fetch(data)).status in (404, 405)
    assert s.agent.asked == []

    s.agent.answers = lambda asked: asked.answer(b"instance")
    assert (await s.fetch(request("GET", "/_tunnel/ready"))).body == b"instance"


async def test_a_body_for_the_relays_own_pages_is_limited_and_refused_once(s: Scene):
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    async with s.visitor() as visitor:
        visitor.writer.write(request("POST", "/_tunnel/logout", ("Transfer-Encoding", "chunked")) + chunk * 40)
        response = await visitor.response()
        rest = await visitor.rest()

    assert (response.status, error_of(response), rest) == (413, "body_too_large", b"")
    assert len(s.log) == 1


async def test_an_error_of_the_relays_own_pages_is_logged_and_counted_like_any_other(s: Scene):
    before = s.relay.metrics.counts["errors"].get("page_not_found", 0)

    assert error_of(await s.fetch(request("GET", "/_tunnel/no-such-page"))) == "page_not_found"

    assert [(line.status, line.error, line.source) for line in s.log] == [(404, "page_not_found", "ingress")]
    assert s.relay.metrics.counts["errors"]["page_not_found"] == before + 1


async def test_scripts_are_told_what_the_relay_is_on_any_host(s: Scene):
    response = await s.fetch(b"GET /_tunnel/info HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n")

    assert response.status == 200
    assert b'"protocols":["tunnel.v1"]' in response.body


async def test_an_error_is_json_for_programs_and_a_page_for_browsers(s: Scene):
    unknown = "GET / HTTP/1.1\r\nHost: nobody.localhost\r\n{}\r\n"
    plain = await s.fetch(unknown.format("").encode())
    page = await s.fetch(unknown.format("Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n").encode())

    assert (plain.get("content-type"), plain.get("tunnel-error")) == ("application/json", "endpoint_not_found")
    assert (page.get("content-type") or "").startswith("text/html")
    assert "default-src 'none'" in (page.get("content-security-policy") or "")


async def test_the_relays_own_answers_are_as_whole_as_any(s: Scene):
    async with s.visitor() as visitor:
        await visitor.send(b"HEAD / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n" + GET)
        head = await visitor.response("HEAD")
        asked = await s.agent.next()
        asked.answer()
        assert (await visitor.response()).status == 200

    assert head.status == 404
    assert int(head.get("content-length") or 0) > 0
