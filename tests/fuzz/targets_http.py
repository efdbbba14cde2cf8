"""What visitors and upstreams send: heads, streams of requests, cookies, Set-Cookie, parameters, return addresses."""

import re
from http.cookies import CookieError, SimpleCookie
from urllib.parse import unquote_to_bytes, urlencode, urlsplit

import h11
from starlette.requests import cookie_parser

from tests.http1.reading import CODES, assert_h11_agrees, assert_same_in_pieces
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_FIELDS, RequestHead, parse_request, parse_response
from tunnelctl.http1.lenient import head_end, read_response
from tunnelrelay.oidc.login.return_path import return_path, return_url
from tunnelrelay.policy import cookies
from tunnelrelay.web.request_parsing import MAX_PARAMS, query_params

ACCEPTED_THOUGH_H11_REFUSES: dict[str, str] = {}
"""h11's words -> why we take it all the same. Empty: whatever passes our gate, h11 takes too, and reads alike."""
OURS = (b"tunnel", b"__Host-tunnel")
CONTROLS = bytes({*range(0x20), 0x7F} - {ord("\t"), ord("\n")})
"""What no head brings (rows 89, 90); a line feed parts the fields of one input here."""
BASE = "https://app.tun.example"


def request_head(data: bytes) -> None:
    """Rows 85 to 103: a head that h11 reads as we do, or one of the documented errors."""
    block = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    try:
        ours = parse_request(block)
    except HttpError as error:
        check(error.code in CODES, error)
        return
    assert len(ours.fields) <= MAX_FIELDS
    assert_read_alike(ours, block)


def assert_read_alike(ours: RequestHead, block: bytes) -> None:
    theirs = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    theirs.receive_data(block)
    try:
        request = theirs.next_event()
    except h11.RemoteProtocolError as error:
        check(str(error) in ACCEPTED_THOUGH_H11_REFUSES, error)
        return
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (ours.method, ours.target)
    assert request.http_version == b"1.%d" % ours.minor
    assert list(request.headers.raw_items()) == [as_h11_says(name, value) for name, value in ours.fields]
    ends = isinstance(theirs.next_event(), h11.EndOfMessage)
    assert ends == (not ours.has_body)


def as_h11_says(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """h11 writes the coding in lower case, and leaves all else as it came."""
    return name, value.lower() if name.lower() == b"transfer-encoding" else value


def check(holds: bool, what: object) -> None:
    """An assertion about an error that was caught."""
    assert holds, what


def request_reader(data: bytes) -> None:
    """Rows 85 to 103: requests one behind the other, the same in pieces of any size, each ending where h11 says.

    The first byte says how large the pieces are.
    """
    size, stream = (data[0] % 64 + 1, data[1:]) if data else (1, b"")
    for message in assert_same_in_pieces([stream[at : at + size] for at in range(0, len(stream), size)]):
        assert_h11_agrees(message)


def response_head(data: bytes) -> None:
    """Row 104: a head whose lines say what its fields say, or an error of ours."""
    block = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    try:
        head = parse_response(block)
    except HttpError as error:
        check(error.code in CODES, error)
        return
    assert 100 <= head.status <= 999
    lines = [line.partition(b":") for line in head.lines.split(b"\r\n") if line]
    assert [(name, value.strip(b" \t")) for name, _, value in lines] == head.fields
    assert not (head.is_chunked and head.content_length is not None)


def lenient_response(data: bytes) -> None:
    """Row 104: what the owner's app sends amiss is refused, or comes out in the form that the relay takes."""
    end = head_end(data)
    block = data[:end] if end > 0 else data + b"\n\n"
    try:
        head, was_mended = read_response(block)
    except HttpError as error:
        check(error.code in CODES, error)
        return
    again = parse_response(b"HTTP/1.1 %d \r\n%b\r\n" % (head.status, head.lines))
    assert again.fields == head.fields
    assert (again.content_length, again.is_chunked) == (head.content_length, head.is_chunked)
    assert was_mended or parse_response(block).fields == head.fields


def cookie_fields(data: bytes) -> None:
    """Rows 65, 66, 67: found exactly by the rule; what goes upstream holds nothing of ours, and the rest unchanged."""
    values = data.translate(None, CONTROLS).split(b"\n")
    for name in OURS:
        expected = [value for field in values for value in by_the_rule(field, name)]
        assert cookies.hits(values, name) == expected
        good = len(expected) == 1 and re.fullmatch(rb"[A-Za-z0-9_.-]+", expected[0])
        assert cookies.one(values, name) == (expected[0] if good else None)
    for value in values:
        assert_stripped(value)


def by_the_rule(field: bytes, name: bytes) -> list[bytes]:
    """Login cookies by another way than ours: one regular expression, where only `;`, space and tab mean anything."""
    pair = rb"(?:^|(?<=;))[ \t]*" + re.escape(name) + rb"(?:=([^;]*?))?[ \t]*(?=;|\Z)"
    return [match.group(1) or b"" for match in re.finditer(pair, field, re.DOTALL)]


def assert_stripped(value: bytes) -> None:
    """Nobody finds ours in what is left: not Starlette's parser, not one that splits at commas, not the library's."""
    left = cookies.strip(value)
    parts = iter(part.strip(b" \t") for part in value.split(b";"))
    assert all(part.strip(b" \t") in parts for part in left.split(b";") if left), (value, left)
    text = left.decode("latin-1")
    found = {*cookie_parser(text), *cookie_parser(text.replace(",", ";"))}
    assert not [name for name in found if cookies.is_ours(name.encode("latin-1"))], (value, left, found)
    assert not [name for name in by_the_library(text) if name.startswith("__Host-tunnel")], (value, left)
    assert not cookies.hits([left], b"tunnel")
    assert not cookies.hits([left], b"__Host-tunnel")


def by_the_library(text: str) -> set[str]:
    """Names that `http.cookies` finds. It takes a space for the end of a cookie too, which no browser sends."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(text)
    except CookieError:
        return set()
    return set(jar)


def set_cookie(data: bytes) -> None:
    """Row 70: what an upstream may set is not ours, however it is read, and names no host above this one."""
    admitted = cookies.admit_set_cookie(data, b"app.tun.example")
    if admitted is None:
        return
    pair, *attributes = admitted.split(b";")
    for read in (pair, pair.partition(b"=")[2] if not pair.partition(b"=")[0].strip(b" \t") else pair):
        for name in (read.partition(b"=")[0], unquote_to_bytes(read.partition(b"=")[0])):
            for known in (name.strip(b" \t"), as_php_has_it(name)):
                assert not known.lower().startswith((b"__host-tunnel", b"tunnel-")), admitted
                assert known.lower() != b"tunnel", admitted
    domains = [value for key, _, value in (part.partition(b"=") for part in attributes) if is_domain(key)]
    assert {value.strip(b" \t").lower().removeprefix(b".") for value in domains} <= {b"app.tun.example"}, admitted


def as_php_has_it(name: bytes) -> bytes:
    """The variable that PHP makes of a cookie's name: `main/php_variables.c`."""
    name = name.lstrip(b" ")
    array = re.fullmatch(rb"([^\[]+)\[[^\]]*\].*", name, re.DOTALL)
    return re.sub(rb"[. \[]", b"_", array[1] if array else name)


def is_domain(key: bytes) -> bool:
    """Whether a browser that trims more than it should takes this for `Domain`."""
    return re.fullmatch(rb"[^!-~]*domain[^!-~]*", key, re.IGNORECASE) is not None


def parameters(data: bytes) -> None:
    """Rows 39, 45: a short list of pairs of text, which written out again says the same."""
    params = query_params({"query_string": data})
    assert len(params) <= MAX_PARAMS
    again = urlencode([(name, value) for name, value in params]).encode()
    assert query_params({"query_string": again}) == params


def return_address(data: bytes) -> None:
    """Row 43: wherever a login leads, it is our own host."""
    url = return_url(BASE, return_path(data))
    assert re.fullmatch(r"https://app\.tun\.example/(?![/\\])[\x21-\x7e]*", url), url
    assert urlsplit(url).netloc == "app.tun.example"


TARGETS = (
    request_head,
    request_reader,
    response_head,
    lenient_response,
    cookie_fields,
    set_cookie,
    parameters,
    return_address,
)
