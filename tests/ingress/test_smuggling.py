"""Bytes on which two parsers could disagree: one answer, a closed connection, and an agent that saw nothing of it."""

import pytest

from tests.ingress.scene import GET, HOST, Scene, error_of
from tests.support.every import every
from tunnelctl.http1.head import MAX_REQUEST_HEAD
from tunnelctl.http1.request_reader import MAX_AHEAD
from tunnelrelay.policy.header_names import BELIEVED

pytestmark = pytest.mark.asyncio(loop_scope="module")

H = b"Host: demo.localhost\r\n"
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: demo.localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\n" + H
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"

ROWS = {
    "85-cl-te": (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND, 400),
    "85-te-cl": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SECOND, 400),
    "86-two-lengths": (POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello", 400),
    "86-same-twice": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    "86-list": (POST + b"Content-Length: 1, 1\r\n\r\nx", 400),
    "86-plus": (POST + b"Content-Length: +1\r\n\r\nx", 400),
    "86-hex": (POST + b"Content-Length: 0x1\r\n\r\nx", 400),
    "86-empty": (POST + b"Content-Length: \r\n\r\n", 400),
    "86-20-digits": (POST + b"Content-Length: 11111111111111111111\r\n\r\n", 400),
    "87-xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "87-identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "87-chunked-identity": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n", 400),
    "87-quoted": (POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 400),
    "87-twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "87-gzip": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "87-http-1.0": (b"POST / HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "88-blank-before-colon": (POST + b"Content-Length : 1\r\n\r\nx", 400),
    "88-te-blank-before-colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "88-folded": (POST + b"X: a\r\n b\r\n\r\n", 400),
    "88-leading-blank": (b"GET / HTTP/1.1\r\n " + H + b"\r\n", 400),
    "89-no-version": (b"GET /x\nHost: demo.localhost\r\nContent-Length: 5\r\n\r\nhello", 400),
    "89-no-version-crlf": (b"GET /x\r\n" + H + b"\r\n", 400),
    "89-all-lf": (b"GET / HTTP/1.1\nHost: demo.localhost\n\n", 400),
    "90-bare-cr": (b"GET / HTTP/1.1\r\n" + H + b"X: a\rTransfer-Encoding: chunked\r\n\r\n", 400),
    "90-nul": (b"GET / HTTP/1.1\r\n" + H + b"X: a\x00\r\n\r\n", 400),
    "90-del": (b"GET / HTTP/1.1\r\n" + H + b"X: a\x7f\r\n\r\n", 400),
    "90-control-in-name": (b"GET / HTTP/1.1\r\n" + H + b"X\x01: a\r\n\r\n", 400),
    "94-two-hosts": (b"GET / HTTP/1.1\r\n" + H + b"Host: evil.localhost\r\n\r\n", 400),
    "94-empty-then-host": (b"GET / HTTP/1.1\r\nHost:\r\n" + H + b"\r\n", 400),
    "94-no-host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "94-empty-host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "96-absolute-other-host": (b"GET http://evil.localhost/x HTTP/1.1\r\n" + H + b"\r\n", 400),
    "96-absolute-userinfo": (b"GET http://demo.localhost@evil/x HTTP/1.1\r\n" + H + b"\r\n", 400),
    "96-absolute-no-host": (b"GET http:///x HTTP/1.1\r\n" + H + b"\r\n", 400),
    "96-other-scheme": (b"GET foo://demo.localhost/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    "96-connect": (b"CONNECT x:443 HTTP/1.1\r\n" + H + b"\r\n", 405),
    "96-trace": (b"TRACE / HTTP/1.1\r\n" + H + b"\r\n", 405),
    "96-get-star": (b"GET * HTTP/1.1\r\n" + H + b"\r\n", 400),
    "97-blank": (b"GET /a b HTTP/1.1\r\n" + H + b"\r\n", 400),
    "97-tab": (b"GET /a\tb HTTP/1.1\r\n" + H + b"\r\n", 400),
    "97-fragment": (b"GET /a#b HTTP/1.1\r\n" + H + b"\r\n", 400),
    "97-utf8": ("GET /ä HTTP/1.1\r\n".encode() + H + b"\r\n", 400),
    "97-escape": (b"GET /%zz HTTP/1.1\r\n" + H + b"\r\n", 400),
    "97-10-kb": (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n" + H + b"\r\n", 414),
    "97-1-mb": (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + H + b"\r\n", 414),
    "98-http-2": (b"GET / HTTP/2.0\r\n" + H + b"\r\n", 505),
    "98-http-1.2": (b"GET / HTTP/1.2\r\n" + H + b"\r\n", 505),
    "98-lower-case": (b"GET / http/1.1\r\n" + H + b"\r\n", 400),
    "98-preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "102-upgrade-with-body": (b"GET / HTTP/1.1\r\n" + H + WEBSOCKET + b"Content-Length: 3\r\n\r\nabc", 400),
    "102-upgrade-chunked": (b"GET / HTTP/1.1\r\n" + H + WEBSOCKET + b"Transfer-Encoding: chunked\r\n\r\n", 400),
    "103-1-mb-field": (b"GET / HTTP/1.1\r\n" + H + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
    "103-10000-fields": (b"GET / HTTP/1.1\r\n" + H + b"A: b\r\n" * 10_000 + b"\r\n", 431),
    "103-101-fields": (b"GET / HTTP/1.1\r\n" + H + b"A: b\r\n" * 100 + b"\r\n", 431),
    "103-100-kb-cookie": (b"GET / HTTP/1.1\r\n" + H + b"Cookie: " + b"a=b;" * 25_000 + b"\r\n\r\n", 431),
    "109-proxy-protocol": (b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n" + GET, 400),
    "tls-on-the-plain-port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
}


@pytest.mark.parametrize(("data", "status"), ROWS.values(), ids=[f"row{row}" for row in ROWS])
async def test_it_is_answered_once_and_the_connection_closed(s: Scene, data, status):
    """Rows 85, 86, 87, 88, 89, 90, 91, 94, 96, 97, 98, 102, 103, 109."""
    async with s.visitor() as visitor:
        visitor.writer.write(data + SECOND)
        response = await visitor.response()
        rest = await visitor.rest()

    assert response.status == status
    assert response.get("connection") == "close"
    assert rest == b""
    assert s.agent.asked == []
    assert len(s.log) == 1


BAD_HOSTS = ["demo.localhost@evil", "demo.localhost/x", "demo.localhost:99999", "demo.localhost:1", "demo.localhost%00",
             "demo.localhost:", "demo.localhost:x", "demo..localhost", ".demo.localhost", "demo.localhost..",
             "de_mo.localhost", "[::1", "a" * 300 + ".localhost", "demo.localhost evil", "*.localhost", "-.localhost",
             "demo.localhost, evil"]  # fmt: skip


@pytest.mark.parametrize("host", BAD_HOSTS)
async def test_row94_a_host_that_is_none_is_refused(s: Scene, host):
    response = await s.fetch(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert (response.status, error_of(response)) == (400, "bad_request")
    assert s.agent.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example", "xn--dmo-hoa.localhost", "demo.localhost.evil.example"])
async def test_row94_a_host_nobody_serves_gets_nothing(s: Scene, host):
    response = await s.fetch(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert (response.status, error_of(response)) == (404, "endpoint_not_found")
    assert f"Tunnel {host} not found" in response.text
    assert s.agent.asked == []


@pytest.mark.parametrize("host", ["demo.localhost", "DEMO.localhost", "demo.LocalHost.", "demo.localhost:{port}"])
async def test_row94_a_host_is_brought_into_one_spelling_and_used_everywhere(s: Scene, host):
    s.agent.answers = lambda asked: asked.answer()
    sent = host.format(port=s.port)
    await s.fetch(f"GET / HTTP/1.1\r\nHost: {sent}\r\n\r\n".encode())
    asked = await s.agent.next()

    told = sent.lower().removesuffix(".").encode()
    assert (asked.get(b"host"), asked.get(b"x-forwarded-host")) == (told, told)
    assert s.log[0].host == HOST


async def test_row96_absolute_form_with_the_same_host_arrives_in_origin_form(s: Scene):
    s.agent.answers = lambda asked: asked.answer()
    for target, line in [
        (b"http://demo.localhost/a?b", b"GET /a?b HTTP/1.1"),
        (b"HTTP://DEMO.localhost:%d?b" % s.port, b"GET /?b HTTP/1.1"),
        (b"http://demo.localhost", b"GET / HTTP/1.1"),
    ]:
        await s.fetch(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, H))
        assert (await s.agent.next()).line == line


async def test_row96_options_star_is_answered_by_the_relay(s: Scene):
    response = await s.fetch(b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n")

    assert response.status == 204
    assert "GET" in (response.get("allow") or "")
    assert s.agent.asked == []


@pytest.mark.parametrize("target", [b"//x", b"/\\x", b"/%2e%2e/x", b"/a;b=../c", b"/?%"])
async def test_row97_a_strange_target_arrives_byte_for_byte(s: Scene, target):
    s.agent.answers = lambda asked: asked.answer()
    await s.fetch(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, H))

    assert (await s.agent.next()).line == b"GET %b HTTP/1.1" % target


async def test_row98_an_upgrade_to_h2c_is_an_ordinary_request(s: Scene):
    s.agent.answers = lambda asked: asked.answer()
    fields = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    response = await s.fetch(b"GET / HTTP/1.1\r\n" + H + fields + b"\r\n")
    asked = await s.agent.next()

    assert response.status == 200
    assert {b"upgrade", b"http2-settings", b"connection"} & {name for name, _ in asked.fields} == set()


async def test_row100_each_pipelined_request_is_routed_by_its_own_host(s: Scene):
    s.agent.answers = lambda asked: asked.answer(asked.line)
    other = b"GET /x HTTP/1.1\r\nHost: evil.localhost\r\n\r\n"
    async with s.visitor() as visitor:
        await visitor.send(GET + other + SECOND)
        answers = [await visitor.response() for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 404, 200]
    assert [asked.line for asked in s.agent.asked] == [b"GET / HTTP/1.1", b"GET /smuggled HTTP/1.1"]


async def test_row100_what_comes_behind_connection_close_is_dropped(s: Scene):
    s.agent.answers = lambda asked: asked.answer()
    async with s.visitor() as visitor:
        await visitor.send(b"GET / HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n" + SECOND)
        response = await visitor.response()
        rest = await visitor.rest()

    assert (response.get("connection"), rest) == ("close", b"")
    assert len(s.agent.asked) == 1


async def test_one_empty_line_before_a_request_is_forgiven_two_are_not(s: Scene):
    s.agent.answers = lambda asked: asked.answer()

    assert (await s.fetch(b"\r\n" + GET)).status == 200
    assert (await s.fetch(b"\r\n\r\n" + GET)).status == 400


BAD_CHUNKS = {
    "lf": b"1\nA",
    "extension-lf": b"1;\nA",
    "quoted-crlf": b'1;a="\r\n"',
    "hex-prefix": b"0x1\r\nA\r\n",
    "plus": b"+1\r\nA\r\n",
    "blank": b" 1\r\nA\r\n",
    "17-digits": b"1" * 17 + b"\r\n",
    "500-zeros": b"0" * 500 + b"\r\n",
    "no-crlf": b"1\r\nAB\r\n",
    "all-lf": b"0\n\n",
    "no-field": b"0\r\nfoo\r\n\r\n",
    "folded": b"0\r\nA: b\r\n c\r\n\r\n",
}


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_row91_a_broken_chunk_ends_the_exchange_on_both_sides(s: Scene, chunks):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, POST + b"Transfer-Encoding: chunked\r\n\r\n")
        visitor.writer.write(chunks + b"\r\n0\r\n\r\n" + SECOND)
        response = await visitor.response()
        rest = await visitor.rest()
    await asked.until(lambda: asked.reset is not None)

    assert (response.status, rest) == (400, b"")
    assert not asked.is_complete
    assert len(s.agent.asked) == 1


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_row91_a_broken_chunk_that_came_with_its_head_never_reaches_the_app(s: Scene, chunks):
    async with s.visitor() as visitor:
        visitor.writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"\r\n0\r\n\r\n" + SECOND)
        response = await visitor.response()
        rest = await visitor.rest()
    await s.agent.round_trip()

    assert (response.status, error_of(response), rest) == (400, "bad_request", b"")
    assert s.agent.asked == []


async def test_row93_trailers_that_act_as_headers_are_dropped_and_the_rest_stay_trailers(s: Scene):
    s.agent.answers = lambda asked: asked.answer()
    trailers = b"X-Auth-Email: evil\r\nContent-Length: 5\r\nHost: evil\r\nx_tunnel_user: evil\r\nChecksum: abc\r\n"
    async with s.visitor() as visitor:
        asked = await s.exchange(
            visitor, POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n" + trailers + b"\r\n"
        )
        await asked.until(lambda: asked.is_complete)

    assert asked.trailers == b"Checksum: abc\r\n"
    assert b"evil" not in asked.opened.head
    assert bytes(asked.body) == b"hi"


@every("name", sorted({row.pattern.replace(b"*", b"user") for row in BELIEVED}))
async def test_row106_what_a_visitor_may_not_say_in_a_header_it_may_not_say_in_a_trailer(s: Scene, name: bytes):
    s.agent.answers = lambda asked: asked.answer()
    trailers = b"%b: evil\r\n%b: evil\r\nChecksum: abc\r\n" % (name.title(), name.replace(b"-", b"_"))
    async with s.visitor() as visitor:
        asked = await s.exchange(
            visitor, POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n" + trailers + b"\r\n"
        )
        await asked.until(lambda: asked.is_complete)

    assert asked.trailers == b"Checksum: abc\r\n"


async def test_row103_no_more_is_kept_of_a_head_than_is_taken(s: Scene):
    async with s.visitor() as visitor:
        await visitor.send(b"GET / HTTP/1.1\r\n" + H + b"X: " + b"a" * (MAX_REQUEST_HEAD - 100))
        visit = await s.visit(visitor)
        await s.turns(lambda: len(visit.reader.kept) > 30_000)
        await visitor.send(b"a" * 200)
        response = await visitor.response()

    assert response.status == 431
    assert visit.reader.kept == b""


async def test_a_pipeline_is_read_no_further_than_the_answers_are(s: Scene):
    """Neither while an answer is due, nor while answers lie unread: else memory grows with what a visitor sends."""
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        visit = await s.visit(visitor)
        visitor.writer.write(GET * 100_000)
        await s.turns(lambda: not visit.transport.is_reading())
        assert len(visit.reader.kept) < MAX_AHEAD + 300_000
        largest = 0
        for _ in range(200):
            asked.answer()
            asked = await s.agent.next()
            largest = max(largest, len(visit.reader.kept))

    assert largest < MAX_AHEAD + 300_000


async def test_a_pipeline_of_errors_that_nobody_reads_stops(s: Scene):
    async with s.visitor() as visitor:
        visitor.writer.transport.pause_reading()
        visitor.writer.write(b"GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n" * 50_000)
        visit = await s.visit(visitor)
        await s.turns(lambda: visit.is_paused)
        count = len(s.log)
        for _ in range(20):
            await s.agent.round_trip()

        assert len(s.log) == count
        assert visit.transport.get_write_buffer_size() < 128 * 1024
        visitor.writer.transport.resume_reading()
        for _ in range(count + 100):
            assert (await visitor.response()).status == 404
