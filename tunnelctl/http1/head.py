"""Parses message heads: llhttp splits them, and this module refuses what llhttp wrongly tolerates.

llhttp (through httptools) is fast and widely tested, but tolerant: it accepts a request line without a version, several
Host fields, a `#` in the target, or Transfer-Encoding on HTTP/1.0. Each of those can make two parsers disagree, so only
plain RFC 9112 is accepted here. Only whole heads are parsed; `connection` and `request_reader` find where a head ends.
"""

import re

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.errors import HttpError
from tunnelctl.memo import Memo

Field = tuple[bytes, bytes]

MAX_REQUEST_HEAD = 32 * 1024
"""Maximum bytes of a request's head. Cookies and single sign-on headers reach 16 KiB in practice; a larger limit would
only help attackers fill memory."""
MAX_FIELDS = 100
MAX_OPTIONS = MAX_FIELDS
"""Maximum options in Connection fields, which usually name other fields. Each costs work, and 32 KiB could hold
16,000."""
MAX_TARGET = 8 * 1024
"""Maximum bytes of a request target (RFC 9112 section 3 asks for at least 8000)."""
MAX_RESPONSE_HEAD = 64 * 1024
"""Maximum bytes of a response's head: an upstream may set many cookies, and a frame of the link holds no more."""

MAX_METHOD = 128
"""Maximum bytes of a request's method; a longer one gets a 501 (RFC 9112 section 3). The longest registered method has
17."""

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
"""Bytes that are allowed in a head, apart from CR LF pairs."""
_TARGET_BYTES = bytes(set(range(0x21, 0x7F)) - {ord("#")})
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_DIGITS = b"0123456789"
_VERSION_BYTES = len(b" HTTP/1.1")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
COMMON_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
"""Methods that are passed to llhttp unchanged. All others are passed as POST, as llhttp knows only some and has special
rules for some."""
_REFUSED_UPGRADES = (b"h2c", b"http/", b"tls/")
"""Upgrade tokens that are refused: they switch to a protocol in which further requests bypass the ingress (h2c
smuggling)."""


class _Fields:
    """The header fields of a message, and the facts about framing in them. Receives the callbacks of llhttp."""

    __slots__ = ("connection", "content_length", "fields", "is_chunked", "keep_alive", "minor")

    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.content_length: int | None = None
        self.is_chunked = False
        self.connection: bytes = b""
        self.minor = 1
        self.keep_alive = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a field line that llhttp found, without the white space that llhttp leaves after the value."""
        if value and value[-1] <= _SPACE:  # cheaper than stripping every value
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
        """Return the first value of a field, or None when it is absent.

        Args:
            name: Field name in lower case.
        """
        size = len(name)  # compared first, as this is cheaper than a lower-case copy
        for key, value in self.fields:
            if len(key) == size and key.lower() == name:
                return value
        return None

    def get_all(self, name: bytes) -> list[bytes]:
        """Return every value of a field in order. `name` is in lower case."""
        size = len(name)
        return [value for key, value in self.fields if len(key) == size and key.lower() == name]

    def connection_tokens(self) -> set[bytes]:
        """Return the options of the Connection fields in lower case (RFC 9110 section 7.6.1)."""
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
        """Ignore Host, Upgrade and Expect, which have a meaning in requests only; `RequestHead` overrides this."""

    _note_upgrade = _note_expect = _note_host

    def settle(self) -> None:
        """Check the framing fields together and set `keep_alive`, after the last field (RFC 9112 sections 6.1-6.3 and
        9.3).
        """
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
    """The head of a request that passed all checks.

    Attributes:
        method: Any token (RFC 9110 section 9.1), in the case in which it was sent.
        target: Request target as sent: `/path?query`, `*`, or absolute-form.
        minor: 0 for HTTP/1.0, 1 for HTTP/1.1.
        fields: (name, value) pairs as sent, with trimmed values.
        host: Value of the single Host field.
        content_length: Value of Content-Length; None without the field.
        upgrade: Protocol the visitor asks to switch to, in lower case; b"" without one.
        expects_continue: The client waits for a 100 response before it sends the body (RFC 9110 section 10.1.1).
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
        """Append a piece of the request target that llhttp found."""
        self.target += url

    @property
    def has_body(self) -> bool:
        """Whether a body, or at least the framing of an empty chunked body, follows the head."""
        return self.is_chunked or bool(self.content_length)

    def respell_host(self, value: bytes) -> None:
        """Replace the value of the Host field in this head."""
        self.host = value
        self.fields = [field if field[0].lower() != b"host" else (field[0], value) for field in self.fields]

    @property
    def path(self) -> bytes:
        """The request target without its query."""
        return self.target.partition(b"?")[0]

    def _note_host(self, value: bytes) -> None:
        if self._has_host:
            raise HttpError("bad_request", "two Host fields")
        self._has_host = True  # also set for an empty value, so that a second Host is always refused
        self.host = value

    def _note_upgrade(self, value: bytes) -> None:
        self.upgrade = value.lower() if not self.upgrade else b"?"

    def _note_expect(self, value: bytes) -> None:
        if value.lower() != b"100-continue":
            raise HttpError("expectation_failed", "an expectation other than 100-continue")
        self.expects_continue = self.minor == 1


class ResponseHead(_Fields):
    """The head of an upstream's response.

    Attributes:
        status: Status code, 100 to 999.
        lines: The field lines as received, each with its CR LF.
        fields, content_length, is_chunked, keep_alive: As in `RequestHead`.
    """

    __slots__ = ("lines", "status")

    def __init__(self) -> None:
        super().__init__()
        self.status = 0
        self.lines = b""


_PLAIN_NAMES = Memo[bytes, None](lambda name: None, max_bytes=64)
"""Memo of the spellings of field names that do not affect framing or routing; it saves the lookup in `_NOTES`."""
_NOTES = {
    b"connection": "_note_connection",
    b"content-length": "_note_length",
    b"transfer-encoding": "_note_coding",
    b"host": "_note_host",
    b"upgrade": "_note_upgrade",
    b"expect": "_note_expect",
}
"""Names of the methods that handle fields about framing and routing."""


def parse_request(block: bytes) -> RequestHead:
    """Parse a complete request head.

    Args:
        block: Bytes from the request line to the empty line, both included.

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
    """Parse a complete response head, which ends with its empty line.

    Raises:
        HttpError: The head is not acceptable.
    """
    _check_bytes(block)
    if not block.startswith(b"HTTP/1."):
        # llhttp would skip empty lines before the status line, and accept HTTP/0.9 and 2.0.
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
    """Return the HttpError that a callback raised, which httptools wraps; else a `bad_request` error."""
    cause = error.__context__
    return cause if isinstance(cause, HttpError) else HttpError("bad_request", str(error))


def _check_bytes(block: bytes) -> None:
    """Check that the block is exactly one head with only CR LF line ends and no other control bytes (RFC 9110, 5.5; RFC
    9112, 2.2).
    """
    stray = block.replace(b"\r\n", b"").translate(None, _HEAD_BYTES)
    if stray:
        is_line_end = b"\r" in stray or b"\n" in stray
        raise HttpError("bad_request", "a bare CR or LF" if is_line_end else "a control byte")
    if b"\n " in block.replace(b"\t", b" "):
        raise HttpError("bad_request", "a folded line")
    end = block.find(b"\r\n\r\n")
    if end < 0 or end + 4 != len(block):
        # Without the end, llhttp holds back the last field; with a second end, it takes the rest for a body.
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
    """Return the method, which may be any token; refuse CONNECT, TRACE, and HEAD in another case."""
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
        # An app that takes it for HEAD responds without a body, and its next response would be read as this one's body.
        raise HttpError("not_implemented", "HEAD in another spelling")
    return method


def _check_request(head: RequestHead, line: bytes) -> None:
    target = head.target
    if len(target) > MAX_TARGET:
        raise HttpError("target_too_long", f"target of {len(target)} bytes, at most {MAX_TARGET}")
    if len(head.fields) > MAX_FIELDS:
        raise HttpError("head_too_large", f"{len(head.fields)} fields, at most {MAX_FIELDS}")
    # llhttp allows extra spaces in a request line; compare it with its parts joined by single spaces.
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
    """Drop an Upgrade that Connection does not name or that asks for a refused protocol.

    Raise an error for an upgrade with a body: one parser would read the bytes after the head as the body, another as
    the new protocol.

    """
    if b"upgrade" not in head.connection_tokens() or head.upgrade.startswith(_REFUSED_UPGRADES):
        head.upgrade = b""
    elif head.has_body or head.minor == 0:
        raise HttpError("bad_request", "an upgrade with a body, or in HTTP/1.0")
    elif head.upgrade.strip(_TOKEN):
        raise HttpError("bad_request", "Upgrade is not one token")


_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz/"
"""Bytes that a protocol name with version may contain in lower case (RFC 9110 section 7.8)."""
