"""Parses message heads: llhttp splits them, then this module refuses what llhttp tolerates.

llhttp (through httptools) is fast and widely tested, but tolerant: it takes a request line without a version, several
Host fields, a `#` in the target, or Transfer-Encoding on HTTP/1.0. Each of those is a way to make two parsers disagree,
so nothing passes here that is not plain RFC 9112. Only whole heads are parsed; `connection` and the ingress find where
one ends.
"""

import re

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.errors import HttpError
from tunnelctl.memo import Memo

Field = tuple[bytes, bytes]

MAX_REQUEST_HEAD = 32 * 1024
"""Bytes. Cookies and single sign-on headers reach 16 KiB in the wild; more only helps an attacker fill memory."""
MAX_FIELDS = 100
MAX_OPTIONS = MAX_FIELDS
"""Options of the Connection fields, which name other fields as a rule. Each is work, and 32 KiB hold 16,000."""
MAX_TARGET = 8 * 1024
"""Bytes of request target (RFC 9112 section 3 asks for at least 8000)."""
MAX_RESPONSE_HEAD = 64 * 1024
"""Bytes. An upstream may set many cookies; a wire frame holds no more."""

MAX_METHOD = 128
"""Bytes of a request's method; 501 beyond, as RFC 9112 section 3 says. The longest that is registered has 17."""

BOUNDS = (
    DeclaredBound(
        name="head",
        limit=MAX_REQUEST_HEAD,
        unit="bytes",
        per="request",
        when_full="431, or 414 when the first line alone is as long",
        worst_bytes=MAX_REQUEST_HEAD,
    ),
    DeclaredBound(
        name="fields of the head",
        limit=MAX_FIELDS,
        unit="fields",
        per="request",
        when_full="431",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="options of Connection",
        limit=MAX_OPTIONS,
        unit="options",
        per="request",
        when_full="431",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="target (path and query)",
        limit=MAX_TARGET,
        unit="bytes",
        per="request",
        when_full="414",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="method",
        limit=MAX_METHOD,
        unit="bytes",
        per="request",
        when_full="501",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="head of a response",
        limit=MAX_RESPONSE_HEAD,
        unit="bytes",
        per="response",
        when_full="502",
        worst_bytes=MAX_RESPONSE_HEAD,
    ),
)

_SPACE = 0x20
_HEAD_BYTES = bytes({0x09, *range(0x20, 0x7F), *range(0x80, 0x100)})
"""Bytes that may stand in a head beside pairs of CR and LF."""
_TARGET_BYTES = bytes(set(range(0x21, 0x7F)) - {ord("#")})
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_DIGITS = b"0123456789"
_VERSION_BYTES = len(b" HTTP/1.1")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
COMMON_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
"""Methods that llhttp is shown as they are; all others look like POST to it. It knows few, and has rules for some."""
_REFUSED_UPGRADES = (b"h2c", b"http/", b"tls/")
"""Tokens that would turn the connection into a protocol the ingress judges by request (h2c smuggling)."""


class _Fields:
    """Field lines and what they say about framing; the sink of llhttp's callbacks."""

    __slots__ = ("connection", "content_length", "fields", "is_chunked", "keep_alive", "minor")

    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.content_length: int | None = None
        self.is_chunked = False
        self.connection: bytes = b""
        self.minor = 1
        self.keep_alive = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """llhttp found a field line; it leaves white space behind the value, which is not part of it."""
        if value and value[-1] <= _SPACE:  # cheaper than a strip of each
            value = value.rstrip(b" \t")
        self.fields.append((name, value))
        if name in _PLAIN_NAMES:
            return
        note = _NOTES.get(name.lower())
        if note is not None:
            getattr(self, note)(value)
        else:
            _PLAIN_NAMES[name]

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field, None when absent.

        Args:
            name: Lower-case field name.
        """
        size = len(name)  # tested first, as it is cheaper than a lower-case copy
        for key, value in self.fields:
            if len(key) == size and key.lower() == name:
                return value
        return None

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order. `name` is lower-case."""
        size = len(name)
        return [value for key, value in self.fields if len(key) == size and key.lower() == name]

    def connection_tokens(self) -> set[bytes]:
        """The options of the Connection fields, lower-case (RFC 9110 section 7.6.1)."""
        return {token.strip().lower() for token in self.connection.split(b",")} - {b""}

    def _note_connection(self, value: bytes) -> None:
        self.connection = self.connection + b"," + value if self.connection else value

    def _note_length(self, value: bytes) -> None:
        if self.content_length is not None:
            raise HttpError("bad_request", "two Content-Length fields")
        if not 1 <= len(value) <= 18 or value.strip(_DIGITS):
            raise HttpError("bad_request", "Content-Length is not a number")
        self.content_length = int(value)

    def _note_coding(self, value: bytes) -> None:
        if self.is_chunked:
            raise HttpError("bad_request", "two Transfer-Encoding fields")
        if value.lower() != b"chunked":
            code = "not_implemented" if value.lower().endswith(b", chunked") else "bad_request"
            raise HttpError(code, "Transfer-Encoding other than chunked")
        self.is_chunked = True

    def _note_host(self, value: bytes) -> None:
        """Host, Upgrade and Expect say something in requests only."""

    _note_upgrade = _note_expect = _note_host

    def settle(self) -> None:
        """RFC 9112 sections 6.1-6.3 and 9.3, after the last field."""
        if self.is_chunked and self.content_length is not None:
            raise HttpError("bad_request", "Content-Length beside Transfer-Encoding")
        if self.is_chunked and self.minor == 0:
            raise HttpError("bad_request", "Transfer-Encoding in HTTP/1.0")
        if self.connection:
            if self.connection.count(b",") >= MAX_OPTIONS:
                raise HttpError("head_too_large", f"more than {MAX_OPTIONS} options in Connection")
            tokens = self.connection_tokens()
            self.keep_alive = b"close" not in tokens if self.minor else b"keep-alive" in tokens
        else:
            self.keep_alive = self.minor == 1


class RequestHead(_Fields):
    """A request's head that passed the gate.

    Attributes:
        method: Any token (RFC 9110 section 9.1), in the case that was sent.
        target: As sent: `/path?query`, `*`, or absolute-form.
        minor: 0 for HTTP/1.0, 1 for HTTP/1.1.
        fields: (name, value) as sent, values trimmed.
        host: Value of the one Host field.
        content_length: None without the field.
        upgrade: Lower-case protocol the visitor asks to switch to, else b"".
        expects_continue: It waits for a 100 before the body (RFC 9110 section 10.1.1).
        keep_alive: The connection may carry another request.
    """

    __slots__ = ("_has_host", "expects_continue", "host", "method", "target", "upgrade")

    def __init__(self) -> None:
        super().__init__()
        self.method = b""
        self.target = b""
        self.host = b""
        self._has_host = False
        self.upgrade = b""
        self.expects_continue = False

    def on_url(self, url: bytes) -> None:
        """llhttp found the target."""
        self.target += url

    @property
    def has_body(self) -> bool:
        """Whether body bytes, or at least a body's framing, follow the head."""
        return self.is_chunked or bool(self.content_length)

    def respell_host(self, value: bytes) -> None:
        """Put the Host field in another spelling, for all later readers of this head."""
        self.host = value
        self.fields = [field if field[0].lower() != b"host" else (field[0], value) for field in self.fields]

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]

    def _note_host(self, value: bytes) -> None:
        if self._has_host:
            raise HttpError("bad_request", "two Host fields")
        self._has_host = True  # also an empty value, so that a second Host is always refused
        self.host = value

    def _note_upgrade(self, value: bytes) -> None:
        self.upgrade = value.lower() if not self.upgrade else b"?"

    def _note_expect(self, value: bytes) -> None:
        if value.lower() != b"100-continue":
            raise HttpError("expectation_failed", "an expectation other than 100-continue")
        self.expects_continue = self.minor == 1


class ResponseHead(_Fields):
    """A response's head from an upstream.

    Attributes:
        status: 100 to 999.
        lines: The field lines as they came, each with its CR LF.
        fields, content_length, is_chunked, keep_alive: As in `RequestHead`.
    """

    __slots__ = ("lines", "status")

    def __init__(self) -> None:
        super().__init__()
        self.status = 0
        self.lines = b""


_PLAIN_NAMES = Memo[bytes, None](lambda name: None, max_bytes=64)
"""Spellings that are known to say nothing about framing."""
_NOTES = {
    b"connection": "_note_connection",
    b"content-length": "_note_length",
    b"transfer-encoding": "_note_coding",
    b"host": "_note_host",
    b"upgrade": "_note_upgrade",
    b"expect": "_note_expect",
}
"""Which method takes a field that frames or routes."""


def parse_request(block: bytes) -> RequestHead:
    """Read a whole request head.

    Args:
        block: From the request line up to and with the empty line.

    Raises:
        HttpError: `bad_request`, `head_too_large`, `target_too_long`, `not_implemented`, `version_not_supported`,
            `method_not_allowed`, or `expectation_failed`.
    """
    _check_bytes(block)
    head = RequestHead()
    line = block[: block.index(b"\r\n")]
    head.minor = _check_version(line)
    head.method = method = _read_method(block)
    parser = HttpRequestParser(head)
    try:
        parser.feed_data(block if method in COMMON_METHODS else b"POST" + block[len(method) :])
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise _blame(error) from None
    head.settle()
    _check_request(head, line)
    return head


def parse_response(block: bytes) -> ResponseHead:
    """Read a whole response head, up to and with its empty line.

    Raises:
        HttpError: It is not acceptable.
    """
    _check_bytes(block)
    if not block.startswith(b"HTTP/1."):
        # llhttp skips empty lines in front, and takes HTTP/0.9 and 2.0.
        raise HttpError("bad_request", "not HTTP/1")
    head = ResponseHead()
    head.minor = 0 if block.startswith(b"HTTP/1.0 ") else 1
    parser = HttpResponseParser(head)
    try:
        parser.feed_data(block)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise _blame(error) from None
    head.status = parser.get_status_code()
    if head.status < 100:
        raise HttpError("bad_request", "status below 100")
    head.lines = block[block.index(b"\r\n") + 2 : -2]
    head.settle()
    return head


def _blame(error: HttpParserError) -> HttpError:
    """Errors raised inside a callback reach us wrapped by httptools."""
    cause = error.__context__
    return cause if isinstance(cause, HttpError) else HttpError("bad_request", str(error))


def _check_bytes(block: bytes) -> None:
    """One head; line ends are CR LF pairs, and nothing else is a control byte (RFC 9112 section 2.2, RFC 9110, 5.5)."""
    stray = block.replace(b"\r\n", b"").translate(None, _HEAD_BYTES)
    if stray:
        is_line_end = b"\r" in stray or b"\n" in stray
        raise HttpError("bad_request", "a bare CR or LF" if is_line_end else "a control byte")
    if b"\n " in block.replace(b"\t", b" "):
        raise HttpError("bad_request", "a folded line")
    end = block.find(b"\r\n\r\n")
    if end < 0 or end + 4 != len(block):
        # Without its end, llhttp keeps the last field to itself; with a second end, it takes the rest for a body.
        raise HttpError("bad_request", "not one whole head")


def _check_version(line: bytes) -> int:
    if line.endswith(b" HTTP/1.1"):
        return 1
    if line.endswith(b" HTTP/1.0"):
        return 0
    version = line.rpartition(b" ")[2]
    known = version.startswith(b"HTTP/") and version[5:6].isdigit()
    raise HttpError("version_not_supported" if known else "bad_request", "version is not HTTP/1.0 or HTTP/1.1")


def _read_method(block: bytes) -> bytes:
    """The method: any token; methods with special framing only in their exact spelling."""
    method = block[: block.find(b" ")]
    if method in COMMON_METHODS:
        return method
    if not _METHOD.fullmatch(method):
        raise HttpError("bad_request", "request line")
    if len(method) > MAX_METHOD:
        raise HttpError("not_implemented", f"a method of {len(method)} bytes, at most {MAX_METHOD}")
    known = method.upper()
    if known in (b"CONNECT", b"TRACE"):
        raise HttpError("method_not_allowed", known.decode())
    if known == b"HEAD":
        # An app that takes it for HEAD answers without a body, and the next answer would be read as this one's body.
        raise HttpError("not_implemented", "HEAD in another spelling")
    return method


def _check_request(head: RequestHead, line: bytes) -> None:
    target = head.target
    if len(target) > MAX_TARGET:
        raise HttpError("target_too_long", f"target of {len(target)} bytes, at most {MAX_TARGET}")
    if len(head.fields) > MAX_FIELDS:
        raise HttpError("head_too_large", f"{len(head.fields)} fields, at most {MAX_FIELDS}")
    # llhttp allows extra spaces between the parts; the line must equal its parts joined by one.
    if line[len(head.method) + 1 : -_VERSION_BYTES] != target:
        raise HttpError("bad_request", "request line")
    if target.translate(None, _TARGET_BYTES) or not _is_target(head):
        raise HttpError("bad_request", "request target")
    if not head.host:
        raise HttpError("bad_request", "no Host")
    if head.upgrade:
        _check_upgrade(head)


def _is_target(head: RequestHead) -> bool:
    target = head.target
    if b"%" in target and _BAD_ESCAPE.search(head.path):
        return False  # servers decode a bad escape differently; in queries a bare `%` is common and allowed
    if target.startswith(b"/"):
        return True
    if target == b"*":
        return head.method == b"OPTIONS"
    return target[:7].lower() == b"http://" or target[:8].lower() == b"https://"


def _check_upgrade(head: RequestHead) -> None:
    """An upgrade counts only when Connection names it; refused protocols are as if not asked for.

    A body may not come with it: what follows the head would be the body to one reader and the new protocol to another.
    """
    if b"upgrade" not in head.connection_tokens() or head.upgrade.startswith(_REFUSED_UPGRADES):
        head.upgrade = b""
    elif head.has_body or head.minor == 0:
        raise HttpError("bad_request", "an upgrade with a body, or in HTTP/1.0")
    elif head.upgrade.strip(_TOKEN):
        raise HttpError("bad_request", "Upgrade is not one token")


_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz/"
"""Bytes of a lower-cased protocol with version (RFC 9110 section 7.8)."""
