"""Requests out of a visitor's bytes: the same in any chunking, none before its turn, and as h11 reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http1.reading import assert_h11_agrees, assert_same_in_pieces, read_all
from tunnelctl.http1 import request_reader
from tunnelctl.http1.body import SAMPLE_BYTES, ChunkedDecoder, encode_chunk
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_REQUEST_HEAD
from tunnelctl.http1.request_reader import (
    MAX_CHUNKED_SKIPPED,
    MAX_LINES,
    MAX_SKIPPED,
    RequestReader,
    has_bare_lf,
)

GET = b"GET /a HTTP/1.1\r\nHost: app.example\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: app.example\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED_HEAD = b"PUT /c HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKED_HEAD + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nChecksum: 1\r\n\r\n"
tokens = st.text("abcXYZ019-_", min_size=1, max_size=8).map(str.encode)
bodies = st.binary(max_size=40)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is as it should be."""
    body, fields = draw(bodies), draw(st.lists(tokens.map(lambda name: b"X-" + name + b": v\r\n"), max_size=3))
    framing, sent = draw(
        st.sampled_from(
            [
                (b"", b""),
                (b"Content-Length: %d\r\n" % len(body), body),
                (b"Transfer-Encoding: chunked\r\n", b"".join([*(encode_chunk(body) if body else []), b"0\r\n\r\n"])),
            ]
        )
    )
    method = draw(st.sampled_from([b"GET", b"POST", b"PURGE"]))
    return b"%b /%b HTTP/1.1\r\nHost: app.example\r\n%b%b\r\n%b" % (
        method, draw(tokens), b"".join(fields), framing, sent,
    )  # fmt: skip


pipelines = st.lists(requests(), min_size=1, max_size=4).map(b"".join)
damaged = st.tuples(pipelines, st.integers(0, 400), st.binary(max_size=3)).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({min(end, len(data)) for end in cuts} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(st.one_of(pipelines, damaged, st.binary(max_size=200)), st.lists(st.integers(0, 600), max_size=12))
def test_in_any_chunking_the_same_requests_or_a_documented_error(data, cuts):
    assert_same_in_pieces(cut(data, cuts))


@given(st.one_of(pipelines, damaged), st.lists(st.integers(0, 600), max_size=12))
def test_each_request_of_a_pipeline_is_read_and_ends_as_h11_has_it(data, cuts):
    for message in assert_same_in_pieces(cut(data, cuts)):
        assert_h11_agrees(message)


@given(pipelines)
def test_a_good_pipeline_is_read_to_its_end(data):
    messages, error = read_all([data])

    assert error == ""
    assert all(message.is_whole for message in messages)
    assert b"".join(message.sent for message in messages) == data


def read(data: bytes) -> RequestReader:
    """A reader whose first head is taken."""
    reader = RequestReader()
    reader.feed(data)
    assert reader.has_head()
    reader.take_head()
    return reader


def test_what_lies_behind_a_request_is_kept_until_it_is_asked_for():
    reader = read(GET + POST + CHUNKED)

    assert reader.kept == POST + CHUNKED
    assert reader.has_head()
    assert reader.take_head()[0].target == b"/b"
    assert b"".join(map(bytes, reader.take_body())) == b"hello"
    assert not reader.is_in_body
    assert reader.kept == CHUNKED


def test_a_head_is_found_once_however_often_it_is_asked_for():
    reader = RequestReader()
    reader.feed(GET)
    assert reader.has_head()
    reader.feed(GET)
    assert reader.has_head()

    assert reader.take_head()[1] == GET
    assert reader.kept == GET


def test_trailers_are_told_with_the_end_of_a_body():
    reader = read(CHUNKED)

    assert b"".join(map(bytes, reader.take_body())) == b"abcde"
    assert reader.trailers == [(b"Checksum", b"1")]


def test_one_empty_line_before_a_request_is_forgiven_and_no_second():
    (message,), error = read_all([b"\r\n" + GET])
    assert (message.sent, message.is_whole, error) == (GET, True, "")
    assert read_all([b"\r\n\r\n" + GET]) == ([], "bad_request")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * MAX_REQUEST_HEAD, "head_too_large"),
        (b"GET /" + b"x" * MAX_REQUEST_HEAD, "target_too_long"),
        (b"GET / HTTP/1.1\n", "bad_request"),
        (b"\x16\x03\x01\x02", "bad_request"),
    ],
)
def test_a_head_that_can_never_be_whole_is_refused_at_once(sent, code):
    reader = RequestReader()
    reader.feed(sent)

    with pytest.raises(HttpError) as error:
        reader.has_head()
    assert error.value.code == code


def test_what_came_of_a_refused_head_is_kept_for_the_answer():
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 101 + b"\r\n" + GET)
    assert reader.has_head()
    with pytest.raises(HttpError):
        reader.take_head()

    assert reader.refused.startswith(b"GET / HTTP/1.1\r\nHost: a\r\nA: b")
    assert reader.kept == GET


def test_a_broken_body_is_refused_before_anything_of_it_is_taken():
    reader = read(CHUNKED_HEAD + b"3\r\nabc\r\n+1\r\n")

    with pytest.raises(HttpError) as error:
        reader.check_body()
    assert error.value.code == "bad_request"
    assert reader.kept == b"3\r\nabc\r\n+1\r\n"


def test_a_turn_takes_a_bounded_number_of_chunk_lines():
    reader = read(CHUNKED_HEAD + b"1\r\nx\r\n" * 1000)

    taken = 0
    while pieces := reader.take_body():
        assert len(pieces) <= MAX_LINES
        taken += len(pieces)
    assert taken == 1000


@pytest.mark.parametrize(
    ("head", "unit", "limit"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", b"x" * 1000, MAX_SKIPPED),
        (CHUNKED_HEAD, b"3e8\r\n" + b"x" * 1000 + b"\r\n", MAX_CHUNKED_SKIPPED),
    ],
)
def test_an_unwanted_body_is_thrown_away_up_to_its_limit(head, unit, limit):
    reader = read(head)
    reader.skip_body()
    for _ in range(limit // len(unit)):
        reader.feed(unit)
        reader.take_body()
    assert reader.skipped <= limit
    reader.feed(unit)

    with pytest.raises(HttpError) as error:
        reader.take_body()
    assert error.value.code == "body_too_large"


def test_behind_an_unwanted_body_the_next_head_is_found():
    reader = read(POST + GET)
    reader.skip_body()
    reader.take_body()

    assert not reader.is_skipping
    assert reader.has_head()
    assert reader.take_head()[1] == GET


def test_a_body_in_tiny_chunks_is_told_from_one_in_large_ones():
    def is_too_fine(chunk: bytes) -> bool:
        reader = read(CHUNKED_HEAD)
        found = False
        for _ in range(SAMPLE_BYTES // len(chunk) + 1):
            reader.feed(chunk)
            reader.take_body()
            found |= reader.is_too_fine(1.0)
        return found

    assert is_too_fine(b"1\r\nx\r\n")
    assert not is_too_fine(b"64\r\n" + b"x" * 100 + b"\r\n")


def test_what_is_kept_can_be_taken_away_as_it_came():
    reader = read(GET + b"\x81\x00rest")

    assert reader.take_rest() == b"\x81\x00rest"
    assert reader.kept == b""


def test_a_body_of_known_length_is_not_checked_twice(monkeypatch):
    monkeypatch.setattr(ChunkedDecoder, "feed", lambda *_: pytest.fail("decoded"))
    read(POST).check_body()


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a"]), max_size=20).map(b"".join), st.lists(st.integers(0, 40))
)
def test_a_bare_lf_is_found_wherever_the_head_is_cut(head, cuts):
    ends = sorted({min(cut, len(head)) for cut in cuts} | {len(head)})
    is_bare = any(head[at : at + 1] == b"\n" and head[at - 1 : at] != b"\r" for at in range(len(head)))

    assert any(has_bare_lf(head[:end], start) for start, end in zip([0, *ends], ends, strict=False)) == is_bare


def test_a_head_in_pieces_is_searched_once(monkeypatch):
    long = b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n"
    searched = []

    def search(part: bytes, start: int) -> bool:
        searched.append(len(part) - start)
        return has_bare_lf(part, start)

    monkeypatch.setattr(request_reader, "has_bare_lf", search)
    reader = RequestReader()
    for at in range(0, len(long), 16):
        reader.feed(long[at : at + 16])
        is_whole = reader.has_head()

    assert is_whole
    assert sum(searched) <= len(long)
