"""Repairs responses of the owner's own app that are not quite HTTP/1.1, so that they fit the strict form.

Old and home-made servers end lines with a bare LF, fold them, or repeat Content-Length. nginx, Caddy and HAProxy
forward such responses, so we do too. The rule: a deviation that at least two of them read in the same way is rewritten
to the strict form of `head` and `body`; any other is refused. The connection is closed after a repaired response, so
that a wrongly read end cannot affect the next one.

`docs/reference/http.md` has the table.

Only the agent uses this module, for the app it publishes. Visitors and agents must send the strict form.
"""

import re

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.body import MAX_CHUNK_LINE, ChunkedDecoder
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_RESPONSE_HEAD, ResponseHead, parse_response

MAX_BLANK_BYTES = 64
"""Maximum bytes of empty lines before a response; a response with more is refused."""

BOUNDS = (
    DeclaredBound(
        name="empty lines before it",
        limit=MAX_BLANK_BYTES,
        unit="bytes",
        per="response",
        when_full="502",
        worst_bytes=0,
    ),
)

_STATUS_LINE = re.compile(rb"HTTP/([0-9])\.([0-9]) +([0-9]{3})(?: .*)?")
_NO_LINE_END = re.compile(rb"\r[^\r\n]|\n\r\r")
"""Matches a CR without LF within a line, which is refused in any head, or a line of two CRs, after which no empty line
can follow."""
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VISIBLE = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_SPACED = bytes(0x20 if (byte < 0x20 and byte != 0x09) or byte == 0x7F else byte for byte in range(256))
"""Translation table that replaces control bytes by blanks, which RFC 9110 section 5.5 allows in field values."""
_LENGTHS = re.compile(rb"[0-9]+(?:[ \t]*,[ \t]*[0-9]+)*")
_CHUNK_LINE = re.compile(rb"0*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r]*)?")


def skip_blanks(data: bytes) -> bytes:
    """Return `data` without leading empty lines: b"", or the beginning of a status line.

    Raises:
        HttpError: What follows the empty lines cannot become a status line.
    """
    rest = data.lstrip(b"\r\n")
    if len(data) - len(rest) > MAX_BLANK_BYTES:
        raise HttpError("bad_request", f"more than {MAX_BLANK_BYTES} bytes of empty lines before it")
    if not rest.startswith(b"HTTP/"[: len(rest)]):
        raise HttpError("bad_request", _protocol(rest))
    return rest


def head_end(data: bytes) -> int:
    """Return the position after the empty line that ends the first head in `data`, or -1 when that line is missing."""
    end = data.find(b"\n\r\n")
    if (bare := data.find(b"\n\n", 0, end + 1 if end >= 0 else len(data))) >= 0:
        return bare + 2
    return end + 3 if end >= 0 else -1


def check_part(part: bytes) -> None:
    """Check an incomplete head, to refuse at once one that can never become valid, instead of after the time-out.

    Raises:
        HttpError: The head is too long, or contains a CR without LF.
    """
    if len(part) > MAX_RESPONSE_HEAD:
        raise HttpError("bad_request", f"a head over {MAX_RESPONSE_HEAD} bytes")
    if _NO_LINE_END.search(part):
        raise HttpError("bad_request", "a CR without LF in its head")


def read_response(block: bytes) -> tuple[ResponseHead, bool]:
    """Parse a complete response head, which ends with its empty line; repair it where needed.

    Returns:
        The head, and whether it was repaired.

    Raises:
        HttpError: The head cannot be read, or is ambiguous.
    """
    try:
        return parse_response(block), False
    except HttpError:
        mended = mend_head(block)
    if len(mended) > MAX_RESPONSE_HEAD:
        raise HttpError("bad_request", f"a head of {len(mended)} bytes, at most {MAX_RESPONSE_HEAD}")
    return parse_response(mended), True


def mend_head(block: bytes) -> bytes:
    """Rewrite a response head into the strict form. Its content may still be invalid.

    Raises:
        HttpError: The head has a deviation that common servers read differently.
    """
    lines = [line.rstrip(b"\r") for line in block.split(b"\n")]
    if any(b"\r" in line for line in lines):
        raise HttpError("bad_request", "a CR without LF in its head")
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise HttpError("bad_request", "its status line")
    is_old = match[1] == b"0" or match[1] + match[2] == b"10"
    fields = [_mend_field(line) for line in _unfold(lines[1:-2])]
    kept = _mend_lengths([field for field in fields if field is not None])
    return b"".join(
        [b"HTTP/1.%d %b \r\n" % (not is_old, match[3]), *[b"%b: %b\r\n" % field for field in kept], b"\r\n"]
    )


class LenientChunkedDecoder(ChunkedDecoder):
    """Decodes a chunked body of the owner's app. Lines may end with LF, and blanks or any extension may follow a size.

    Attributes:
        was_mended: A line was not in the strict form.
    """

    __slots__ = ("was_mended",)

    def __init__(self) -> None:
        super().__init__()
        self.was_mended = False

    def _line(self, line: bytes) -> None:
        try:
            super()._line(line)
        except HttpError:
            self.was_mended = True
            mended = self._mend(line.removesuffix(b"\n").removesuffix(b"\r"))
            if mended is not None:
                super()._line(mended + b"\r\n")

    def _mend(self, line: bytes) -> bytes | None:
        """Return a line in the strict form, or None for a trailer that is dropped."""
        if self._expects_line_end or not line:
            return line
        if not self._trailing:
            match = _CHUNK_LINE.fullmatch(line) if len(line) <= MAX_CHUNK_LINE else None
            return match[1] if match is not None else line
        if line[0] in b" \t" and self.trailers:
            name, value = self.trailers.pop()
            line = b"%b: %b %b" % (name, value, line)
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            return None
        return b"%b:%b" % (name, value.translate(_SPACED))


def _unfold(lines: list[bytes]) -> list[bytes]:
    """Join each line that begins with a blank to the line before it (RFC 9112 section 5.2)."""
    whole: list[bytes] = []
    for line in lines:
        if not line.startswith((b" ", b"\t")):
            whole.append(line)
        elif whole:
            whole[-1] += b" " + line.strip(b" \t")
        else:
            raise HttpError("bad_request", "a blank before its first field")
    return whole


def _mend_field(line: bytes) -> tuple[bytes, bytes] | None:
    """Split a field line into name and value.

    Return None to drop a field with an invalid name or an empty Transfer-Encoding.
    """
    name, colon, value = line.partition(b":")
    if not colon:
        raise HttpError("bad_request", "a field line without a colon")
    if not _VISIBLE.fullmatch(name):
        raise HttpError("bad_request", "a blank in a field's name" if name else "a field without a name")
    if not _TOKEN.fullmatch(name):
        return None
    value = value.translate(_SPACED).strip(b" \t")
    if name.lower() == b"transfer-encoding":
        value = value.rstrip(b", \t")  # a list may end with empty elements (RFC 9110 section 5.6.1.2)
        return (name, value) if value else None
    return name, value


def _mend_lengths(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Merge equal Content-Lengths into one, and drop them beside a Transfer-Encoding (RFC 9112 section 6.3)."""
    values = [value for name, value in fields if name.lower() == b"content-length"]
    if not values:
        return fields
    joined = b",".join(values)
    if not _LENGTHS.fullmatch(joined):
        raise HttpError("bad_request", "its Content-Length is not a number")
    lengths = {each.strip(b" \t").lstrip(b"0") or b"0" for each in joined.split(b",")}
    if len(lengths) > 1:
        raise HttpError("bad_request", "two different Content-Lengths")
    others = [field for field in fields if field[0].lower() != b"content-length"]
    if any(name.lower() == b"transfer-encoding" for name, _ in others):
        return others
    return [(b"Content-Length", lengths.pop()), *others]


def _protocol(data: bytes) -> str:
    """Describe, from its first bytes, the protocol that the app speaks instead of HTTP/1."""
    if data[0] in b"\x15\x16" and data[1:2] in (b"", b"\x03"):
        return "it begins like TLS; if the app speaks https, give its address as https://…"
    if data[:1] == b"\x00" and data[3:4] in (b"", b"\x04"):
        return "it begins like HTTP/2, and HTTP/1.1 is needed"
    return "it does not begin with HTTP/"
