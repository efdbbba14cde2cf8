"""What the owner's own app may send amiss: brought into the strict form, and the last answer on its connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http1.test_response_reader import OK, read
from tests.support.every import every
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_RESPONSE_HEAD, parse_response
from tunnelctl.http1.lenient import head_end, mend_head, read_response

FRAMED = b"Content-Length: 2\r\n\r\nok"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TWO = [(b"Content-Length", b"2")]
CODED = [(b"Transfer-Encoding", b"chunked")]

MENDED = {
    "lf": (b"HTTP/1.1 200 OK\nX: y\nContent-Length: 2\n\nok", [*TWO, (b"X", b"y")]),
    "lf-behind-the-status": (b"HTTP/1.1 200 OK\n" + FRAMED, TWO),
    "lf-behind-a-field": (OK + b"X: y\nContent-Length: 2\r\n\r\nok", [*TWO, (b"X", b"y")]),
    "lf-as-the-empty-line": (OK + b"Content-Length: 2\r\n\nok", TWO),
    "lf-before-the-empty-line": (OK + b"Content-Length: 2\n\r\nok", TWO),
    "cr-cr-lf": (OK + b"X: y\r\r\n" + FRAMED, [*TWO, (b"X", b"y")]),
    "nul-in-value": (OK + b"X: a\0b\r\n" + FRAMED, [*TWO, (b"X", b"a b")]),
    "control-in-value": (OK + b"X: a\x1b\x7fb\x01\r\n" + FRAMED, [*TWO, (b"X", b"a  b")]),
    "control-in-reason": (b"HTTP/1.1 200 a\x01b\r\n" + FRAMED, TWO),
    "folded": (OK + b"X: a\r\n b\r\n\tc\r\n" + FRAMED, [*TWO, (b"X", b"a b c")]),
    "folded-length": (OK + b"Content-Length:\r\n 2\r\n\r\nok", TWO),
    "name-of-other-bytes": (OK + b"X(y): a\r\nX/y: a\r\nX\xe4: a\r\n" + FRAMED, TWO),
    "two-blanks": (b"HTTP/1.1  200 OK\r\n" + FRAMED, TWO),
    "http-1.2": (b"HTTP/1.2 200 OK\r\n" + FRAMED, TWO),
    "http-2.0": (b"HTTP/2.0 200 OK\r\n" + FRAMED, TWO),
    "http-0.9": (b"HTTP/0.9 200 OK\r\n" + FRAMED, TWO),
    "length-twice": (OK + b"Content-Length: 2\r\nX: y\r\n" + FRAMED, [*TWO, (b"X", b"y")]),
    "length-list": (OK + b"Content-Length: 2, 2\r\n\r\nok", TWO),
    "length-of-zeros": (OK + b"Content-Length: " + b"0" * 30 + b"2\r\n\r\nok", TWO),
    "length-beside-coding": (
        OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", CODED,
    ),
    "coding-empty": (OK + b"Transfer-Encoding:\r\n" + FRAMED, TWO),
    "coding-and-comma": (OK + b"Transfer-Encoding: chunked ,\r\n\r\n2\r\nok\r\n0\r\n\r\n", CODED),
    "chunk-lf": (CHUNKED + b"2\nok\n0\n\n", CODED),
    "chunk-lf-mixed": (CHUNKED + b"2\r\nok\n0\r\n\n", CODED),
    "chunk-blank": (CHUNKED + b"1 \r\no\r\n1\t \r\nk\r\n0  \r\n\r\n", CODED),
    "chunk-quoted": (CHUNKED + b'2;a="b;c\\"d\xc3\xa4"\r\nok\r\n0;x="y"\r\n\r\n', CODED),
    "chunk-blank-extension": (CHUNKED + b'2 ; a = "b"\r\nok\r\n0\r\n\r\n', CODED),
    "chunk-zeros": (CHUNKED + b"0" * 30 + b"2\r\nok\r\n" + b"0" * 30 + b"\r\n\r\n", CODED),
    "trailer-without-colon": (CHUNKED + b"2\r\nok\r\n0\r\nfoo\r\n\r\n", CODED),
}  # fmt: skip


@every("data, fields", MENDED.values())
def test_what_other_proxies_read_is_read_and_ends_its_connection(data, fields):
    reader, sink = read(data)

    assert (sink.status, sink.fields, sink.data, sink.ends) == (200, fields, b"ok", 1)
    assert not reader.is_reusable


@every("data, fields", MENDED.values())
def test_it_is_read_the_same_byte_by_byte(data, fields):
    reader, sink = read(*(data[i : i + 1] for i in range(len(data))))

    assert (sink.status, sink.fields, sink.data, sink.ends) == (200, fields, b"ok", 1)
    assert not reader.is_reusable


@pytest.mark.parametrize("blanks", [b"\r\n", b"\n", b"\r\n\r\n", b"\n\r\n\n"])
def test_empty_lines_before_a_response_are_passed_over(blanks):
    reader, sink = read(*(bytes([byte]) for byte in blanks), OK + FRAMED)

    assert (sink.status, sink.data, reader.is_reusable) == (200, b"ok", True)


@pytest.mark.parametrize("status", [600, 799, 999])
def test_a_status_beyond_599_is_a_status(status):
    reader, sink = read(b"HTTP/1.1 %d X\r\n" % status + FRAMED)

    assert (sink.status, reader.is_reusable) == (status, True)


def test_trailers_are_unfolded_and_cleaned():
    _, sink = read(CHUNKED + b"0\r\nA: b\r\n c\r\nB: d\x01e\nbad name: x\n\n")

    assert sink.trailers == [(b"A", b"b  c"), (b"B", b"d e")]


def test_a_mended_interim_head_spoils_the_connection_of_the_answer_behind_it():
    reader, sink = read(b"HTTP/1.1 100 Continue\n\n" + OK + FRAMED)

    assert (sink.interim, sink.status, reader.is_reusable) == ([100], 200, False)


REFUSED = {
    "different-lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "different-lengths-in-a-list": OK + b"Content-Length: 2, 3\r\n\r\nok",
    "different-lengths-beside-coding": OK
    + b"Content-Length: 2\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "length-plus": OK + b"Content-Length: +2\r\n\r\nok",
    "length-hexadecimal": OK + b"Content-Length: 0x2\r\n\r\nok",
    "length-empty": OK + b"Content-Length:\n\nok",
    "length-too-long": OK + b"Content-Length: " + b"9" * 20 + b"\n\nok",
    "length-with-nul": OK + b"Content-Length: 2\x001\n\nok",
    "coding-twice": OK + b"Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n",
    "coding-behind-comma": OK + b"Transfer-Encoding: , chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coding-twice-in-a-list": OK + b"Transfer-Encoding: chunked, chunked,\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coding-gzip-and-lf": OK + b"Transfer-Encoding: gzip, chunked\n\n",
    "coding-on-1.0-and-lf": b"HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n",
    "blank-before-colon": OK + b"Content-Length : 2\n\nok",
    "tab-before-colon": OK + b"X\t: y\n\n",
    "blank-in-name": OK + b"X y: z\n\n",
    "no-name": OK + b": z\n\n",
    "no-colon": OK + b"garbage\n\n",
    "folded-first": OK + b" X: y\n\n",
    "cr-in-value": OK + b"X: a\rb\n\n",
    "cr-cr-lf-as-the-empty-line": OK + b"X: a\r\r\n\r\r\n",
    "tabs-in-status-line": b"HTTP/1.1\t200\tOK\n\n",
    "status-below-100": b"HTTP/1.1 099 X\n\n",
    "grown-too-large": OK + b"a:\n" * (MAX_RESPONSE_HEAD // 4) + b"\n",
    "chunk-blank-in-front": CHUNKED + b" 2\r\nok\r\n",
    "chunk-two-words": CHUNKED + b"2 x\r\nok\r\n",
    "chunk-cr-in-extension": CHUNKED + b"2;a=\rb\r\nok\r\n",
    "chunk-too-large": CHUNKED + b"1" * 17 + b"\r\nok\r\n",
    "chunk-longer-than-said": CHUNKED + b"2\r\nokk\r\n0\r\n\r\n",
    "chunk-empty-line": CHUNKED + b"\r\n2\r\nok\r\n",
}


@every("data", REFUSED.values())
def test_what_can_be_read_in_two_ways_is_refused(data):
    with pytest.raises(HttpError) as refused:
        read(data)

    assert refused.value.detail


PIECES = st.lists(
    st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.0 404", b"\r\n", b"\n", b"\r", b" ", b"\t", b"X: y", b"X:\xff\x00", b":", b"x",
         b"Content-Length: 2", b"Content-Length: 02, 2", b"Transfer-Encoding: chunked", b"Connection: close"]
    ),
    max_size=12,
).map(b"".join)  # fmt: skip


@given(PIECES)
def test_a_mended_head_is_in_the_strict_form_and_needs_no_more_mending(block):
    block = block[: head_end(block)] if head_end(block) > 0 else block + b"\n\n"
    try:
        head, was_mended = read_response(block)
        again = parse_response(mend_head(block))
    except HttpError:
        return

    assert b"\n" not in head.lines.replace(b"\r\n", b"")
    assert parse_response(b"HTTP/1.1 200 \r\n%b\r\n" % head.lines).fields == head.fields
    assert was_mended or (again.status, again.is_chunked, again.content_length) == (
        head.status, head.is_chunked, head.content_length,
    )  # fmt: skip


@given(PIECES, PIECES)
def test_a_head_ends_at_its_first_empty_line(data, behind):
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    end = head_end(data)

    assert (end >= 0) == (b"" in lines[1:-1])
    if end >= 0:
        assert head_end(data + behind) == end
        assert data[:end].endswith((b"\n\n", b"\n\r\n"))
