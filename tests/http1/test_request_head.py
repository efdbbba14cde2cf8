"""Request heads: what the gate refuses, row by row, and that h11 reads whatever passes just as we do."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.every import every
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_FIELDS, MAX_METHOD, MAX_OPTIONS, MAX_TARGET, RequestHead, parse_request

CODES = {
    "bad_request",
    "expectation_failed",
    "head_too_large",
    "method_not_allowed",
    "not_implemented",
    "target_too_long",
    "version_not_supported",
}
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def head(fields: bytes = b"", line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: app\r\n") -> bytes:
    return b"%b\r\n%b%b\r\n" % (line, host, fields)


def refused(block: bytes) -> str:
    with pytest.raises(HttpError) as caught:
        parse_request(block)
    return caught.value.code


def judged(block: bytes) -> RequestHead | str:
    """The head, or the code it is refused with."""
    try:
        return parse_request(block)
    except HttpError as error:
        return error.code


BAD_FRAMING = {
    "row85-length-then-chunked": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "row85-chunked-then-length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    "row86-same-length-twice": b"Content-Length: 4\r\nContent-Length: 4\r\n",
    "row86-two-lengths": b"Content-Length: 4\r\nContent-Length: 5\r\n",
    "row86-list": b"Content-Length: 1, 1\r\n",
    "row86-plus": b"Content-Length: +1\r\n",
    "row86-minus": b"Content-Length: -1\r\n",
    "row86-hex": b"Content-Length: 0x1\r\n",
    "row86-underscore": b"Content-Length: 1_0\r\n",
    "row86-blank-inside": b"Content-Length: 1 0\r\n",
    "row86-empty": b"Content-Length:\r\n",
    "row86-19-digits": b"Content-Length: 1000000000000000000\r\n",
    "row86-20-digits": b"Content-Length: 10000000000000000000\r\n",
    "row86-arabic-digit": "Content-Length: ١\r\n".encode(),
    "row87-xchunked": b"Transfer-Encoding: xchunked\r\n",
    "row87-identity": b"Transfer-Encoding: identity\r\n",
    "row87-chunked-identity": b"Transfer-Encoding: chunked, identity\r\n",
    "row87-quoted": b'Transfer-Encoding: "chunked"\r\n',
    "row87-chunked-twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "row87-chunked-chunked": b"Transfer-Encoding: chunked, chunked\r\n",
    "row87-empty": b"Transfer-Encoding:\r\n",
    "row87-comma": b"Transfer-Encoding: ,chunked\r\n",
    "row87-vertical-tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "row88-blank-before-colon": b"Content-Length : 1\r\n",
    "row88-coding-blank-before-colon": b"Transfer-Encoding : chunked\r\n",
    "row88-tab-before-colon": b"Content-Length\t: 1\r\n",
    "row88-folded": b"X: a\r\n Content-Length: 1\r\n",
    "row88-folded-tab": b"X: a\r\n\tb\r\n",
    "row88-no-name": b": a\r\n",
    "row88-no-colon": b"Content-Length\r\n",
    "row90-bare-cr-hides-a-field": b"X: a\rTransfer-Encoding: chunked\r\n",
    "row90-bare-cr-before-crlf": b"X: a\r\r\n",
    "row90-nul-in-value": b"X: a\x00b\r\n",
    "row90-nul-in-name": b"X\x00: a\r\n",
    "row90-del": b"X: a\x7f\r\n",
    "row90-control-in-value": b"X: a\x01\r\n",
    "row90-control-in-name": b"X\x01: a\r\n",
    "row102-upgrade-with-length": WEBSOCKET + b"Content-Length: 3\r\n",
    "row102-upgrade-chunked": WEBSOCKET + b"Transfer-Encoding: chunked\r\n",
    "row102-upgrade-list": b"Connection: Upgrade\r\nUpgrade: websocket, other\r\n",
    "row102-upgrade-twice": WEBSOCKET + b"Upgrade: other\r\n",
}


@every("fields", BAD_FRAMING.values())
def test_fields_on_which_parsers_disagree_are_refused(fields):
    assert refused(head(fields)) == "bad_request"


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"GZIP, Chunked"])
def test_row87_a_coding_we_do_not_know_before_chunked_is_not_implemented(coding):
    assert refused(head(b"Transfer-Encoding: %b\r\n" % coding)) == "not_implemented"


def test_row87_http_1_0_has_no_transfer_encoding():
    assert refused(head(b"Transfer-Encoding: chunked\r\n", b"POST / HTTP/1.0")) == "bad_request"


BAD_LINES = {
    "row89-no-version": b"GET /x",
    "row89-bare-lf": b"GET /x\nHost: a",
    "row97-blank": b"GET /a b HTTP/1.1",
    "row97-tab": b"GET /a\tb HTTP/1.1",
    "row97-fragment": b"GET /a#b HTTP/1.1",
    "row97-raw-utf8": "GET /ä HTTP/1.1".encode(),
    "row97-del": b"GET /\x7f HTTP/1.1",
    "row97-broken-escape": b"GET /%zz HTTP/1.1",
    "row97-cut-escape": b"GET /% HTTP/1.1",
    "row97-half-escape": b"GET /%2 HTTP/1.1",
    "row97-two-blanks-before": b"GET  / HTTP/1.1",
    "row97-two-blanks-behind": b"GET /  HTTP/1.1",
    "row97-tab-before": b"GET\t/ HTTP/1.1",
    "row97-leading-blank": b" GET / HTTP/1.1",
    "row97-trailing-blank": b"GET / HTTP/1.1 ",
    "row97-relative": b"GET x HTTP/1.1",
    "row96-other-scheme": b"GET foo://app/ HTTP/1.1",
    "row96-star": b"GET * HTTP/1.1",
    "row98-lower-case-version": b"GET / http/1.1",
    "row98-no-digits": b"GET / HTTP/x",
    "row98-method-with-a-slash": b"FOO/1 / HTTP/1.1",
    "row98-method-with-a-colon": b"FOO: / HTTP/1.1",
    "row98-method-beyond-ascii": "MÉTHODE / HTTP/1.1".encode(),
    "row98-method-with-a-quote": b'"GET" / HTTP/1.1',
    "row98-method-and-tab": b"FOO\t/ HTTP/1.1",
    "row98-empty": b"",
}


@every("line", BAD_LINES.values())
def test_request_lines_that_are_not_plain_are_refused(line):
    assert refused(head(line=line)) == "bad_request"


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/2.0", b"PRI * HTTP/2.0", b"GET / HTTP/1.2", b"GET / HTTP/0.9", b"GET / HTTP/1.11"]
)
def test_row98_another_version_is_named_as_the_reason(line):
    assert refused(head(line=line)) == "version_not_supported"


@pytest.mark.parametrize(
    "block",
    [b"GET /x HTTP/1.1\nHost: a\n\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", b"GET /\n\n\r\n\r\n"],
    ids=["all-lf", "one-lf", "version-09"],
)
def test_row89_a_bare_lf_ends_no_line(block):
    assert refused(block) == "bad_request"


@pytest.mark.parametrize(
    "block",
    [b"", b"GET", b"GET / HTTP/1.1\r\n", head()[:-2], head()[:-1], head() + b"x", head() + head(), b"\r\n" + head()],
    ids=["nothing", "three-bytes", "line", "no-end", "half-end", "byte-behind", "two", "empty-line-in-front"],
)
def test_exactly_one_head_is_read(block):
    assert refused(block) == "bad_request"


@pytest.mark.parametrize(
    "line", [b"CONNECT x:443 HTTP/1.1", b"TRACE / HTTP/1.1", b"connect / HTTP/1.1", b"Trace / HTTP/1.1"]
)
def test_row96_connect_and_trace_are_not_allowed(line):
    assert refused(head(line=line)) == "method_not_allowed"


METHODS = [
    *(b"LIST", b"VERSION-CONTROL", b"DESCRIBE", b"SOURCE", b"PRI", b"QUERY", b"PURGE", b"get", b"Get", b"foo", b"x"),
    *(b"!#$%&'*+-.^_`|~", b"0", b"A" * MAX_METHOD, b"BASELINE-CONTROL", b"UPDATEREDIRECTREF"),
]


@pytest.mark.parametrize("method", METHODS)
def test_any_token_is_a_method(method):
    parsed = parse_request(head(b"Content-Length: 3\r\n", b"%b /a?b HTTP/1.1" % method))

    assert (parsed.method, parsed.target, parsed.content_length) == (method, b"/a?b", 3)


def test_a_method_longer_than_any_is_not_implemented():
    assert refused(head(line=b"A" * (MAX_METHOD + 1) + b" / HTTP/1.1")) == "not_implemented"


@pytest.mark.parametrize("method", [b"head", b"Head", b"hEAD"])
def test_a_spelling_of_head_that_an_app_could_answer_without_a_body_is_not_passed_on(method):
    assert refused(head(line=method + b" / HTTP/1.1")) == "not_implemented"


BAD_HOSTS = {
    "none": b"",
    "empty": b"Host:\r\n",
    "two": b"Host: app\r\nHost: evil\r\n",
    "two-alike": b"Host: app\r\nHost: app\r\n",
    "empty-then-app": b"Host:\r\nHost: app\r\n",
    "app-then-empty": b"Host: app\r\nHost:\r\n",
    "two-spellings": b"host: app\r\nHOST: evil\r\n",
}


@pytest.mark.parametrize("host", BAD_HOSTS.values(), ids=BAD_HOSTS)
def test_row94_there_is_one_host(host):
    assert refused(head(host=host)) == "bad_request"
    assert refused(head(host=host, line=b"GET / HTTP/1.0")) == "bad_request"


def test_row97_a_target_is_8_kb_at_most():
    longest = b"/" + b"a" * (MAX_TARGET - 1)

    assert parse_request(head(line=b"GET %b HTTP/1.1" % longest)).target == longest
    assert refused(head(line=b"GET %ba HTTP/1.1" % longest)) == "target_too_long"


def test_row103_there_are_100_fields_at_most():
    assert len(parse_request(head(b"A: b\r\n" * (MAX_FIELDS - 1))).fields) == MAX_FIELDS
    assert refused(head(b"A: b\r\n" * MAX_FIELDS)) == "head_too_large"


@pytest.mark.parametrize("target", [b"//x", b"/\\x", b"/?q=100%", b"/%00", b"/a%2Fb", b'/"<>|{}'])
def test_row97_a_strange_target_goes_on_byte_for_byte(target):
    assert parse_request(head(line=b"GET %b HTTP/1.1" % target)).target == target


@pytest.mark.parametrize("token", [b"h2c", b"H2C", b"h2c, websocket", b"HTTP/2.0", b"TLS/1.2"])
def test_row98_an_upgrade_to_what_we_would_not_judge_is_as_if_not_asked_for(token):
    parsed = parse_request(head(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n" % token))

    assert parsed.upgrade == b""


def test_an_upgrade_counts_only_when_connection_names_it():
    assert parse_request(head(b"Upgrade: websocket\r\n")).upgrade == b""
    assert parse_request(head(b"Connection: keep-alive, uPgRaDe\r\nUpgrade: WebSocket\r\n")).upgrade == b"websocket"


def test_row102_an_upgrade_is_asked_for_in_http_1_1():
    assert refused(head(WEBSOCKET, b"GET / HTTP/1.0")) == "bad_request"


@every("method", [b"GET", b"POST", b"PUT", b"OPTIONS", b"ATTACH", b"attach"])
@every("token", [b"websocket", b"tcp", b"TCP", b"connect-ip", b"irc/6.9", b"derp", b"tailscale-control-protocol"])
@every("length", [b"", b"Content-Length: 0\r\n", b"content-length: 000\r\n"])
def test_any_method_may_ask_for_any_protocol_without_a_body(method, token, length):
    parsed = parse_request(head(b"Connection: Upgrade\r\nUpgrade: %b\r\n%b" % (token, length), method + b" / HTTP/1.1"))

    assert (parsed.method, parsed.upgrade, parsed.has_body) == (method, token.lower(), False)


@pytest.mark.parametrize("body", [b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"ATTACH"])
def test_row102_no_method_may_bring_a_body_with_an_upgrade(method, body):
    fields = b"Connection: Upgrade\r\nUpgrade: tcp\r\n" + body

    assert refused(head(fields, method + b" / HTTP/1.1")) == "bad_request"


@pytest.mark.parametrize(
    ("line", "fields", "keeps"),
    [
        (b"GET / HTTP/1.1", b"", True),
        (b"GET / HTTP/1.1", b"Connection: close\r\n", False),
        (b"GET / HTTP/1.1", b"Connection: foo, Close\r\n", False),
        (b"GET / HTTP/1.1", b"Connection: keep-alive\r\nConnection: close\r\n", False),
        (b"GET / HTTP/1.0", b"", False),
        (b"GET / HTTP/1.0", b"Connection: Keep-Alive\r\n", True),
    ],
)
def test_whether_the_connection_is_kept_follows_version_and_field(line, fields, keeps):
    assert parse_request(head(fields, line)).keep_alive is keeps


def test_only_100_continue_can_be_expected():
    assert parse_request(head(b"Expect: 100-Continue\r\n")).expects_continue
    assert not parse_request(head(b"Expect: 100-continue\r\n", b"GET / HTTP/1.0")).expects_continue
    assert refused(head(b"Expect: a-pony\r\n")) == "expectation_failed"


def test_values_come_without_surrounding_blanks_and_fields_in_their_order():
    parsed = parse_request(head(b"X: \t a b \t\r\nx:c\r\nY:\r\nContent-Length: 007\r\n"))

    assert parsed.fields[1:] == [(b"X", b"a b"), (b"x", b"c"), (b"Y", b""), (b"Content-Length", b"007")]
    assert parsed.get_all(b"x") == [b"a b", b"c"]
    assert parsed.content_length == 7


def test_names_learnt_as_plain_never_hide_a_framing_field():
    for _ in range(2):
        assert parse_request(head(b"X-Plain: 1\r\ncontent-LENGTH: 3\r\n")).content_length == 3


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_an_error_of_ours(data):
    parsed = judged(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")

    assert isinstance(parsed, RequestHead) or parsed in CODES


BITS = st.sampled_from(
    [
        *(b" ", b"\t", b"\r", b"\n", b"\r\n", b":", b"\x00", b"\x7f", b"\x0b", b",", b";", b'"', b"\xa0", b"\x85"),
        *(b"GET", b"POST", b"CONNECT", b"/", b"/a?b", b"*", b"http://app/", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"),
        *(b"Host", b"host", b"app", b"Content-Length", b"5", b"0", b"+1", b"Transfer-Encoding", b"chunked", b"gzip"),
        *(b"Connection", b"Upgrade", b"close", b"websocket", b"h2c", b"X", b"a", b"Expect", b"100-continue"),
    ]
)
LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(b"Host: app", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Connection: close", b"X: y"),
                *(b"Connection: Upgrade", b"Upgrade: websocket", b"Expect: 100-continue", b"content-length:0"),
            ]
        ),
        st.lists(BITS, max_size=5).map(b"".join),
    ),
    max_size=6,
)
REQUEST_LINES = st.one_of(
    st.sampled_from([b"GET / HTTP/1.1", b"POST /x HTTP/1.1", b"GET / HTTP/1.0", b"OPTIONS * HTTP/1.1"]),
    st.lists(BITS, max_size=6).map(b"".join),
)


@given(st.sampled_from(METHODS), st.lists(BITS, max_size=5).map(b"".join), LINES)
def test_a_method_changes_nothing_but_itself(method, rest, lines):
    """Whatever follows the method is judged, and read, as behind POST."""
    behind = b"\r\n".join([b" " + rest, *lines]).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    ours, usual = judged(method + behind), judged(b"POST" + behind)
    if isinstance(usual, str) or isinstance(ours, str):
        assert ours == usual
        return

    assert ours.method == method
    for name in ("target", "minor", "fields", "host", "content_length", "is_chunked", "upgrade", "keep_alive"):
        assert getattr(ours, name) == getattr(usual, name)


@given(REQUEST_LINES, LINES)
def test_whatever_we_accept_h11_reads_as_we_do(line, lines):
    block = b"\r\n".join([line, *lines]).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    ours = judged(block)
    if isinstance(ours, str):
        assert ours in CODES
        return
    theirs = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    theirs.receive_data(block)
    request = theirs.next_event()

    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (ours.method, ours.target)
    assert request.http_version == b"1.%d" % ours.minor
    assert list(request.headers.raw_items()) == ours.fields
    assert_framed_alike(theirs, ours)


def assert_framed_alike(theirs: h11.Connection, ours: RequestHead) -> None:
    if not ours.has_body:
        assert isinstance(theirs.next_event(), h11.EndOfMessage)
        return
    assert theirs.next_event() is h11.NEED_DATA
    size = ours.content_length or 0
    theirs.receive_data(b"0\r\n\r\n" if ours.is_chunked else b"x" * min(size, 1000))
    if ours.is_chunked:
        assert isinstance(theirs.next_event(), h11.EndOfMessage)
        return
    data = theirs.next_event()
    assert isinstance(data, h11.Data)
    assert len(data.data) == min(size, 1000)
    assert (theirs.next_event() is h11.NEED_DATA) == (size > 1000)


@pytest.mark.parametrize(
    "block",
    [
        head(b"X:" + b" " * 30_000 + b"\x01\r\n"),
        head(b"Connection: " + b"," * 30_000 + b"\r\n"),
        head(line=b"GET /" + b"%" * 30_000 + b" HTTP/1.1"),
        head(b"Transfer-Encoding: " + b"chunked," * 3_000 + b"\r\n"),
        head(b"a:\r\n" * 8_000),
    ],
    ids=["blanks", "commas", "percents", "codings", "fields"],
)
@pytest.mark.timeout(30)  # what grows with the square of the length would take minutes
def test_the_largest_hostile_head_comes_to_an_end(block):
    for _ in range(100):
        judged(block)


@pytest.mark.parametrize("separator", [b",", b"\r\nConnection: "])
def test_connection_names_as_many_options_as_a_head_has_fields(separator):
    def options(count):
        return head(b"Connection: " + b",".join([b"a"] * (count - 1)) + separator + b"b\r\n")

    assert b"b" in parse_request(options(MAX_OPTIONS)).connection_tokens()
    with pytest.raises(HttpError) as refused:
        parse_request(options(MAX_OPTIONS + 1))
    assert refused.value.code == "head_too_large"
