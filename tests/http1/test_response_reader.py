"""Responses out of an upstream's byte stream: any chunking, every framing, and every way to break off."""

from contextlib import nullcontext, suppress

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.every import every
from tunnelctl.http1.body import Field, Piece
from tunnelctl.http1.connection import MAX_INTERIM, ResponseReader
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_RESPONSE_HEAD, ResponseHead

OK = b"HTTP/1.1 200 OK\r\n"


class Sink:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.interim: list[int] = []
        self.status = 0
        self.fields: list[Field] = []
        self.data = b""
        self.trailers: list[Field] | None = None
        self.ends = 0

    def head_received(self, head: ResponseHead, fin: bool) -> None:
        assert not self.ends
        if head.status < 200 and head.status != 101:
            assert not fin
            self.interim.append(head.status)
            return
        assert not self.status
        self.status, self.fields = head.status, head.fields
        self.ends += fin

    def body(self, data: Piece, fin: bool) -> None:
        assert not self.ends
        assert self.status
        assert data or fin
        self.data += bytes(data)
        self.ends += fin

    def end_received(self, trailers: list[Field]) -> None:
        assert not self.ends
        self.trailers = trailers
        self.ends += 1


def read(*pieces: bytes, method: bytes = b"GET", eof: bool = False) -> tuple[ResponseReader, Sink]:
    reader, sink = ResponseReader(), Sink()
    reader.start(method, sink)
    for piece in pieces:
        reader.feed(piece)
    if eof:
        reader.eof()
    return reader, sink


WHOLE = {
    "counted": (b"GET", OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello"),
    "counted-empty": (b"GET", OK + b"Content-Length: 0\r\n\r\n", 200, b""),
    "chunked": (b"GET", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 200, b"hello"),
    "chunked-empty": (b"GET", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, b""),
    "head": (b"HEAD", OK + b"Content-Length: 5\r\n\r\n", 200, b""),
    "head-chunked": (b"HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n", 200, b""),
    "204": (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "304-with-length": (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
    "no-reason": (b"GET", b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
    "interim": (b"GET", b"HTTP/1.1 103 E\r\nLink: a\r\n\r\nHTTP/1.1 100 C\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx",
                200, b"x"),
    "http-1.0-kept": (b"GET", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
}  # fmt: skip


@pytest.mark.parametrize(("method", "data", "status", "body"), WHOLE.values(), ids=WHOLE)
def test_a_whole_response_leaves_the_connection_for_the_next(method, data, status, body):
    reader, sink = read(data, method=method)

    assert (sink.status, sink.data, sink.ends) == (status, body, 1)
    assert reader.is_reusable


@pytest.mark.parametrize(("method", "data", "status", "body"), WHOLE.values(), ids=WHOLE)
def test_a_response_is_the_same_byte_by_byte(method, data, status, body):
    reader, sink = read(*(data[i : i + 1] for i in range(len(data))), method=method)

    assert (sink.status, sink.data, sink.ends) == (status, body, 1)
    assert reader.is_reusable


@pytest.mark.parametrize(("method", "data", "status", "body"), WHOLE.values(), ids=WHOLE)
def test_a_response_that_is_cut_is_not_whole(method, data, status, body):
    for size in range(len(data)):
        reader, sink = read(data[:size], method=method)

        assert not reader.eof()
        assert not sink.ends


def test_interim_responses_come_before_the_final_one():
    _, sink = read(WHOLE["interim"][1])

    assert sink.interim == [103, 100]


def test_trailers_end_a_chunked_body():
    _, sink = read(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n")

    assert (sink.data, sink.trailers) == (b"x", [(b"A", b"b")])


def test_a_body_without_framing_lasts_until_the_close():
    reader, sink = read(OK + b"\r\nab", b"c")
    assert not sink.ends

    assert reader.eof()
    assert (sink.data, sink.ends) == (b"abc", 1)
    assert not reader.is_reusable


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 1\r\nConnection: close\r\n\r\nx",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        OK + b"Content-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nunasked",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["close", "http-1.0", "bytes-behind", "body-on-204", "body-on-304"],
)
def test_a_connection_that_closes_or_says_too_much_is_not_used_again(data):
    reader, sink = read(data)

    assert sink.ends == 1
    assert not reader.is_reusable


def test_row104_a_body_on_the_answer_to_head_is_not_the_next_response():
    reader, sink = read(OK + b"Content-Length: 5\r\n\r\nhello", method=b"HEAD")

    assert (sink.data, sink.ends) == (b"", 1)
    assert not reader.is_reusable


def test_bytes_nobody_asked_for_spoil_the_connection():
    reader, _ = read(WHOLE["counted"][1])
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\n")

    assert not reader.is_reusable


def test_after_101_every_byte_is_the_other_protocols():
    reader, sink = read(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nHTTP/1.1 200", b"\r\n\r\n")

    assert (sink.status, sink.data, sink.ends) == (101, b"HTTP/1.1 200\r\n\r\n", 0)
    assert reader.eof()
    assert sink.ends == 1


BROKEN = {
    "not-http": b"\x00\x01 this is not HTTP\r\n\r\n",
    "tls-alert": b"\x15\x03\x01\x00\x02\x02\x50",
    "http-2-settings": b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "page-without-head": b"<html>",
    "lower-case": b"http/1.1 200 OK\r\n\r\n",
    "bare-cr-in-part": OK + b"X: a\rb",
    "cr-cr-lf": b"HTTP/1.1 200 OK\r\r\nX: y\r\r\n\r\r\n",
    "endless-blanks": b"\r\n" * 33,
    "ssh": b"SSH-2.0-OpenSSH_9\r\n\r\n",
    "status-99": b"HTTP/1.1 99 x\r\n\r\n",
    "status-1000": b"HTTP/1.1 1000 x\r\n\r\n",
    "status-letters": b"HTTP/1.1 2x0 x\r\n\r\n",
    "two-lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "coding-gzip": OK + b"Transfer-Encoding: gzip\r\n\r\n",
    "coding-on-1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "bare-cr-in-value": OK + b"X: a\rSet-Cookie: b\r\n\r\n",
    "blank-before-colon": OK + b"Content-Length : 1\r\n\r\nx",
    "large-head": OK + b"X: " + b"a" * MAX_RESPONSE_HEAD + b"\r\n\r\n",
    "endless-head": OK + b"X: " + b"a" * MAX_RESPONSE_HEAD,
    "bad-chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "interim-without-end": b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1),
    "large-interims": (b"HTTP/1.1 103 E\r\nLink: " + b"a" * 10_000 + b"\r\n\r\n") * 4,
}


@every("data", BROKEN.values())
def test_row104_an_upstream_that_does_not_speak_http_1_is_an_error(data):
    with pytest.raises(HttpError):
        read(data)


@given(st.binary(max_size=200), st.lists(st.integers(1, 40), max_size=8))
def test_any_bytes_are_a_response_or_an_error_of_ours(data, sizes):
    pieces, position = [], 0
    for size in sizes:
        pieces.append(data[position : position + size])
        position += size
    with suppress(HttpError):
        read(*[piece for piece in [*pieces, data[position:]] if piece], eof=True)


RESPONSES = st.builds(
    lambda line, lines, body: b"\r\n".join([line, *lines, b"", body]),
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 x", b"HTTP/1.1 304 x", b"HTTP/1.1 404 "]),
    st.lists(
        st.sampled_from(
            [b"Content-Length: 5", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"Connection: close", b"X: y",
             b"Connection: keep-alive", b"Content-Length : 5", b"X:\xff", b"Transfer-Encoding: gzip, chunked"]
        ),
        max_size=3,
    ),
    st.sampled_from([b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"hel", b"hello!"]),
)  # fmt: skip


@given(RESPONSES, st.sampled_from([b"GET", b"HEAD"]), st.integers(1, 100))
def test_whatever_response_we_accept_h11_reads_as_we_do(data, method, size):
    try:
        _, sink = read(*(data[i : i + size] for i in range(0, len(data), size)), method=method, eof=True)
    except HttpError:
        return
    theirs = h11.Connection(h11.CLIENT)
    theirs.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    theirs.send(h11.EndOfMessage())
    theirs.receive_data(data)
    response = theirs.next_event()
    assert isinstance(response, h11.Response)
    fields = list(response.headers.raw_items())
    if {b"transfer-encoding", b"content-length"} <= {name.lower() for name, _ in fields}:
        fields = [field for field in fields if field[0] != b"Content-Length"]  # we leave it out, h11 overrides it
    assert (response.status_code, sorted(fields)) == (sink.status, sorted(sink.fields))
    body, event = b"", theirs.next_event()
    while isinstance(event, h11.Data):
        body += event.data
        event = theirs.next_event()
    if event is h11.NEED_DATA:
        theirs.receive_data(b"")
        with pytest.raises(h11.RemoteProtocolError) if not sink.ends else nullcontext():
            event = theirs.next_event()
            assert isinstance(event, h11.EndOfMessage)

    assert body == sink.data
