"""Bodies out of their framing: strict, the same in any chunking, and as h11 reads them."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.every import every
from tunnelctl.http1.body import (
    LAST_CHUNK,
    MAX_CHUNK_LINE,
    MAX_EXTENSIONS,
    MAX_TRAILER_FIELDS,
    MAX_TRAILERS,
    MIN_CHUNK,
    SAMPLE_BYTES,
    SAMPLE_SECONDS,
    ChunkedDecoder,
    CloseDecoder,
    Decoder,
    LengthDecoder,
    encode_chunk,
    encode_trailers,
    request_decoder,
)
from tunnelctl.http1.errors import HttpError

BAD_CHUNKS = {
    "row91-lf-behind-size": b"1\nA\r\n0\r\n\r\n",
    "row91-extension-and-lf": b"1;\nA\r\n0\r\n\r\n",
    "row91-quoted-extension": b'1;a="\r\n"\r\nA\r\n0\r\n\r\n',
    "row91-quote": b'1;a="b"\r\nA\r\n0\r\n\r\n',
    "row91-hex-prefix": b"0x1\r\nA\r\n0\r\n\r\n",
    "row91-plus": b"+1\r\nA\r\n0\r\n\r\n",
    "row91-minus": b"-1\r\nA\r\n0\r\n\r\n",
    "row91-underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "row91-leading-blank": b" 1\r\nA\r\n0\r\n\r\n",
    "row91-trailing-blank": b"1 \r\nA\r\n0\r\n\r\n",
    "row91-17-digits": b"00000000000000001\r\nA\r\n0\r\n\r\n",
    "row91-500-zeros": b"0" * 500 + b"\r\n\r\n",
    "row91-no-size": b"\r\nA\r\n",
    "row91-only-extension": b";a\r\n\r\n",
    "row91-bare-cr": b"1\rA\r\n",
    "row91-no-crlf-behind-data": b"1\r\nAB\r\n0\r\n\r\n",
    "row91-lf-behind-data": b"1\r\nA\n0\r\n\r\n",
    "row91-cr-behind-data": b"1\r\nA\r0\r\n\r\n",
    "row91-two-bytes-instead-of-crlf": b"1\r\nAxx0\r\n\r\n",
    "row91-all-lf": b"0\n\n",
    "row91-lf-ends-trailers": b"0\r\n\n",
    "row91-nul": b"1\x00\r\nA\r\n",
    "row91-control-in-extension": b"1;\x01\r\nA\r\n",
    "row93-trailer-without-colon": b"0\r\nfoo\r\n\r\n",
    "row93-folded-trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "row93-blank-before-colon": b"0\r\nA : b\r\n\r\n",
    "row93-bare-cr-in-trailer": b"0\r\nA: b\rC: d\r\n\r\n",
    "row93-nul-in-trailer": b"0\r\nA: \x00\r\n\r\n",
    "row93-long-trailer": b"0\r\nA: " + b"a" * MAX_TRAILERS + b"\r\n\r\n",
    "row93-many-trailers": b"0\r\n" + b"A: aaaa\r\n" * 3000 + b"\r\n",
    "row93-more-trailers-than-fields": b"0\r\n" + b"A:\r\n" * (MAX_TRAILER_FIELDS + 1) + b"\r\n",
    "extensions-in-sum": (b"1;" + b"a" * 200 + b"\r\nA\r\n") * (MAX_EXTENSIONS // 200 + 1),
    "blanks-in-sum": (b"1" + b" " * 200 + b";\r\nA\r\n") * (MAX_EXTENSIONS // 200 + 1),
    "long-extension": b"1;" + b"a" * MAX_CHUNK_LINE + b"\r\nA\r\n0\r\n\r\n",
    "endless-extension": b"1;" + b"a" * 100_000,
}


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of these sizes, the rest in one."""
    pieces, position = [], 0
    for size in sizes:
        pieces.append(data[position : position + size])
        position += size
    return [piece for piece in [*pieces, data[position:]] if piece]


def decode(decoder: Decoder, pieces: list[bytes]) -> bytes:
    """The body, with what is behind its end kept in `decoder.rest` as a connection keeps it."""
    body, behind = b"", b""
    for piece in pieces:
        if decoder.is_done:
            behind += piece
            continue
        body += b"".join(bytes(part) for part in decoder.feed(piece))
    decoder.rest += behind
    return body


@every("data", BAD_CHUNKS.values())
def test_a_chunked_body_that_can_be_read_in_two_ways_is_refused(data):
    with pytest.raises(HttpError, match="bad_request"):
        decode(ChunkedDecoder(), [data])


@every("data", BAD_CHUNKS.values())
def test_it_is_refused_byte_by_byte_too(data):
    with pytest.raises(HttpError, match="bad_request"):
        decode(ChunkedDecoder(), [data[i : i + 1] for i in range(min(len(data), 30_000))])


def test_sizes_may_be_in_either_case_and_carry_an_extension():
    decoder = ChunkedDecoder()
    data = b"A;x=y\r\n0123456789\r\n0a \t;z\r\nabcdefghij\r\n00\r\n\r\nGET"

    assert decode(decoder, [data]) == b"0123456789abcdefghij"
    assert decoder.rest == b"GET"


def test_trailers_are_kept_apart_from_everything_else():
    decoder = ChunkedDecoder()
    decode(decoder, [b"0\r\nChecksum:\t abc \r\nEmpty:\r\n\r\n"])

    assert decoder.trailers == [(b"Checksum", b"abc"), (b"Empty", b"")]


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
TRAILERS = st.lists(st.sampled_from([b"A: b\r\n", b"Long: " + b"x" * 300 + b"\r\n"]), max_size=3).map(b"".join)
SIZES = st.lists(st.integers(1, 30), max_size=20)


@given(CHUNKS, TRAILERS, SIZES, st.sampled_from([b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n"]))
def test_what_we_encode_we_decode_in_any_chunking(chunks, trailers, sizes, behind):
    framed = b"".join(bytes(part) for chunk in chunks for part in encode_chunk(chunk)) + encode_trailers(trailers)
    decoder = ChunkedDecoder()

    assert decode(decoder, cut(framed + behind, sizes)) == b"".join(chunks)
    assert decoder.is_done
    assert decoder.rest == behind
    assert b"".join(b"%b: %b\r\n" % field for field in decoder.trailers) == trailers


@given(CHUNKS, TRAILERS, SIZES, st.integers(1, 4))
def test_work_may_be_shared_out_over_turns(chunks, trailers, sizes, most):
    framed = b"".join(bytes(part) for chunk in chunks for part in encode_chunk(chunk)) + encode_trailers(trailers)
    decoder, body = ChunkedDecoder(), b""
    for piece in cut(framed + b"GET", sizes):
        waiting = decoder.rest + piece
        while waiting and not decoder.is_done:
            body += b"".join(bytes(part) for part in decoder.feed(waiting, most))
            waiting = decoder.rest
        decoder.rest = waiting

    assert body == b"".join(chunks)
    assert (decoder.is_done, decoder.rest) == (True, b"GET")


def fine_after(chunk: bytes, seconds: float, size: int = 4 * SAMPLE_BYTES) -> int:
    """Bytes of such chunks after which a sender is too fine, 0 when it may go on; `seconds` for each sample."""
    decoder, block = ChunkedDecoder(), chunk * (4096 // len(chunk) + 1)
    for sent in range(len(block), size, len(block)):
        decoder.feed(block)
        if decoder.is_too_fine(seconds * sent / SAMPLE_BYTES):
            return sent
    return 0


@pytest.mark.parametrize("size", [1, 2, MIN_CHUNK - 1])
def test_fast_chunks_below_the_least_size_are_noticed_within_one_sample(size):
    assert SAMPLE_BYTES <= fine_after(b"%x\r\n%b\r\n" % (size, b"x" * size), 0.1) <= SAMPLE_BYTES + 8192


@pytest.mark.parametrize("line", [b"0000000000000001", b"00001", b"1;"])
def test_what_a_chunk_of_one_byte_is_wrapped_in_makes_it_no_larger(line):
    assert fine_after(line + b"\r\nx\r\n", 0.1)


@pytest.mark.parametrize("size", [MIN_CHUNK, 100, 5000])
def test_chunks_of_the_least_size_may_come_as_fast_as_they_like(size):
    assert not fine_after(b"%x\r\n%b\r\n" % (size, b"x" * size), 0.0)


def test_small_chunks_may_come_for_ever_when_they_come_slowly():
    assert not fine_after(b"1\r\nx\r\n", SAMPLE_SECONDS * 1.1)


def test_small_chunks_between_large_ones_are_nothing_special():
    assert not fine_after(b"1\r\nx\r\n" * 20 + b"1000\r\n" + b"x" * 4096 + b"\r\n", 0.0)


NOISE = st.lists(
    st.sampled_from(
        [
            *(b"0", b"1", b"a", b"5", b"10", b"\r\n", b"\r", b"\n", b";", b"x", b"=", b'"', b" ", b"\t", b"\x00"),
            *(b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b"1\r\nA\r\n", b"A: b\r\n", b":"),
        ]
    ),
    max_size=12,
).map(b"".join)


@given(NOISE, SIZES)
def test_any_bytes_in_any_chunking_give_one_body_or_an_error_of_ours(data, sizes):
    assert outcome(cut(data, sizes)) == outcome([data] if data else [])


def outcome(pieces: list[bytes]) -> object:
    decoder = ChunkedDecoder()
    try:
        body = decode(decoder, pieces)
    except HttpError as error:
        return error.code
    return body, decoder.is_done, decoder.rest, decoder.trailers


@given(NOISE)
def test_a_chunked_body_we_accept_h11_reads_as_we_do(data):
    decoder = ChunkedDecoder()
    try:
        body = decode(decoder, [data] if data else [])
    except HttpError:
        return
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    theirs.next_event()
    read, event = b"", theirs.next_event()
    while isinstance(event, h11.Data):
        read += event.data
        event = theirs.next_event()

    assert read == body
    assert isinstance(event, h11.EndOfMessage) == decoder.is_done
    if isinstance(event, h11.EndOfMessage):
        assert list(event.headers.raw_items()) == decoder.trailers
        assert theirs.trailing_data[0] == decoder.rest


@given(st.binary(max_size=60), st.integers(0, 60), SIZES)
def test_a_counted_body_ends_at_its_length(data, length, sizes):
    decoder = LengthDecoder(length)

    assert decode(decoder, cut(data, sizes)) == data[:length]
    assert decoder.is_done == (len(data) >= length)
    assert decoder.rest == data[length:]
    assert decoder.eof() == decoder.is_done


def test_a_body_without_framing_ends_with_the_connection():
    decoder = CloseDecoder()

    assert decode(decoder, [b"a", b"b"]) == b"ab"
    assert not decoder.is_done
    assert decoder.eof()


def test_a_chunked_body_is_not_whole_before_its_last_chunk():
    decoder = ChunkedDecoder()
    decode(decoder, [b"1\r\nA\r\n0\r\n"])

    assert not decoder.eof()


def test_a_request_without_framing_has_no_body():
    assert request_decoder(is_chunked=False, content_length=None).is_done
    assert not request_decoder(is_chunked=False, content_length=3).is_done
    assert not request_decoder(is_chunked=True, content_length=None).is_done


def test_a_body_without_trailers_ends_in_five_bytes():
    assert encode_trailers(b"") == LAST_CHUNK


@pytest.mark.parametrize(
    "data",
    [
        b"0\r\na:" + b" " * 16_000 + b"\x01\r\n\r\n",
        b"0\r\na:" + b" \t" * 8_000 + b"b\x01\r\n\r\n",
        b"1;" + b" " * 16_000 + b"\r\n",
        b"1" + b" " * 250 + b"\x01\r\n",
    ],
    ids=["blank-trailer", "tab-trailer", "extension", "size"],
)
@pytest.mark.timeout(30)  # what grows with the square of the length would take minutes
def test_a_hostile_line_comes_to_an_end(data):
    for _ in range(100):
        with pytest.raises(HttpError):
            decode(ChunkedDecoder(), [data])
