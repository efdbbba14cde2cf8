"""Message bodies taken out of their framing (RFC 9112 sections 6 and 7), and put into chunks.

A decoder takes bytes in any chunks and returns the body's pieces; bytes behind the body's end are its `rest`. They are
stricter than the RFC where leniency has led to request smuggling: sizes are plain hexadecimal of bounded length,
every line ends with CR LF, and quoted chunk extensions are refused.
"""

import re
from typing import Protocol

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.errors import HttpError

Field = tuple[bytes, bytes]
Piece = bytes | memoryview

LAST_CHUNK = b"0\r\n\r\n"
MAX_CHUNK_LINE = 256
"""Bytes of a chunk's size line. Extensions are thrown away, so a long one is only a way to make us read for nothing."""
MAX_EXTENSIONS = 16 * 1024
"""Bytes of chunk extensions in one body, all together (hyper has the same limit). 400 beyond."""
MAX_TRAILERS = 16 * 1024
"""Bytes of trailer section in one body: 16 KiB of names and values are kept until its end. 400 beyond."""
MAX_TRAILER_FIELDS = 100
"""Fields of trailer section in one body, as many as in a head: each is work for both ends. 400 beyond."""

BOUNDS = (
    DeclaredBound(
        name="size line of a chunk",
        limit=MAX_CHUNK_LINE,
        unit="bytes",
        per="body",
        when_full="400; 502 in a response",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="chunk extensions",
        limit=MAX_EXTENSIONS,
        unit="bytes",
        per="body",
        when_full="400; 502 in a response",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="trailers",
        limit=MAX_TRAILERS,
        unit="bytes",
        per="body",
        when_full="400; 502 in a response",
        worst_bytes=2 * MAX_TRAILERS,
    ),
    DeclaredBound(
        name="fields among the trailers",
        limit=MAX_TRAILER_FIELDS,
        unit="fields",
        per="body",
        when_full="400; 502 in a response",
        worst_bytes=0,
    ),
)
MIN_CHUNK = 32
"""Bytes of data that a fast sender's chunks have on average, at least. A chunk costs about 1.5 us whatever its size, so
that a body in one-byte chunks costs a hundred times what the same bytes cost in one piece."""
SAMPLE_BYTES = 64 * 1024
"""Bytes of a chunked body, framing included, over which that average is taken: at most 11,000 chunks, 16 ms of work."""
SAMPLE_SECONDS = 10.0
"""A sender that takes longer for one sample may send chunks of any size: slow events are no flood."""
NO_LIMIT = 1 << 62
_WHOLE_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n").match
"""The usual size line, read without a detour: what it does not match, `_line` reads or refuses."""
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20\x21\x23-\x7e]*)?")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")
"""One way to match only: with a second, a line of blanks costs the cube of its length."""


class Decoder(Protocol):
    """Takes a body out of its framing.

    Attributes:
        is_done: The body is complete.
        rest: Bytes behind its end; bytes that are still to be fed when it is not done.
        trailers: Fields behind a chunked body.
    """

    is_done: bool
    rest: bytes
    trailers: list[Field]

    def feed(self, data: bytes, max_lines: int = NO_LIMIT) -> list[Piece]:
        """The body's pieces in `data`, possibly none.

        Args:
            max_lines: Lines of framing that are read at most; what is behind them is left in `rest`.

        Raises:
            HttpError: `bad_request` when the framing is broken.
        """

    def is_too_fine(self, now: float) -> bool:
        """Whether the last `SAMPLE_BYTES` came fast and in chunks below `MIN_CHUNK` on average. Ask after each `feed`.

        Args:
            now: The loop's time.
        """

    def eof(self) -> bool:
        """The sender closed. True when that leaves a complete body."""


class LengthDecoder:
    """A body of `length` bytes."""

    __slots__ = ("is_done", "remaining", "rest", "trailers")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.is_done = length == 0
        self.rest = b""
        self.trailers: list[Field] = []

    def feed(self, data: bytes, max_lines: int = NO_LIMIT) -> list[Piece]:
        size = len(data)
        if size < self.remaining:
            self.remaining -= size
            return [data] if size else []
        body, self.rest = (data, b"") if size == self.remaining else (data[: self.remaining], data[self.remaining :])
        self.remaining = 0
        self.is_done = True
        return [body] if body else []

    def is_too_fine(self, now: float) -> bool:
        return False

    def eof(self) -> bool:
        return self.is_done


class CloseDecoder:
    """A response body that ends where the connection does (RFC 9112 section 6.3, item 8)."""

    __slots__ = ("is_done", "rest", "trailers")

    def __init__(self) -> None:
        self.is_done = False
        self.rest = b""
        self.trailers: list[Field] = []

    def feed(self, data: bytes, max_lines: int = NO_LIMIT) -> list[Piece]:
        return [data] if data else []

    def is_too_fine(self, now: float) -> bool:
        return False

    def eof(self) -> bool:
        self.is_done = True
        return True


class ChunkedDecoder:
    """A chunked body with its trailers (RFC 9112 section 7.1)."""

    __slots__ = (
        "_chunks",
        "_expects_line_end",
        "_extensions",
        "_framed",
        "_kept",
        "_left",
        "_sample_began",
        "_size_of_chunks",
        "_trailing",
        "is_done",
        "rest",
        "trailers",
    )

    def __init__(self) -> None:
        self.is_done = False
        self.rest = b""
        self.trailers: list[Field] = []
        self._kept = b""  # a line that is not whole yet
        self._left = 0  # bytes to come of this chunk's data
        self._expects_line_end = False  # the CR LF behind a chunk's data is still to come
        self._extensions = 0  # bytes of them so far
        self._trailing = 0  # bytes of trailer section seen; 0 before the last chunk
        # Of this sample: chunks, their data's bytes, all bytes, and when it began (None: with the next question).
        self._chunks = self._size_of_chunks = self._framed = 0
        self._sample_began: float | None = None

    def feed(self, data: bytes, max_lines: int = NO_LIMIT) -> list[Piece]:
        self._framed += len(data)
        if self._kept:
            data = self._kept + data
            self._kept = b""
        pieces: list[Piece] = []
        view = memoryview(data)
        position, size, lines = 0, len(data), 0
        while position < size and not self.is_done:
            if self._left:
                piece = view[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
            elif self._expects_line_end and data.startswith(b"\r\n", position):
                position += 2
                self._expects_line_end = False
            elif lines == max_lines:
                break
            elif not (self._trailing or self._expects_line_end) and (match := _WHOLE_CHUNK(data, position)):
                lines += 1
                self._left, position = int(match[1], 16), match.end()
                end = position + self._left
                if position < end and data.startswith(b"\r\n", end):
                    pieces.append(view[position:end])
                    self._left, position = 0, end + 2
                else:
                    self._expects_line_end, self._trailing = self._left > 0, int(not self._left)
            elif end := self._next_line(data, position):
                lines += 1
                position = end
            else:
                self._keep(data[position:])
                position = size
        self.rest = data[position:]
        self._framed -= size - position
        self._chunks += lines
        self._size_of_chunks += sum(map(len, pieces))
        return pieces

    def is_too_fine(self, now: float) -> bool:
        if self._sample_began is None:
            self._sample_began = now
        if self._framed < SAMPLE_BYTES:
            return False
        is_fast = now - self._sample_began < SAMPLE_SECONDS
        is_fine = self._size_of_chunks < self._chunks * MIN_CHUNK
        self._chunks = self._size_of_chunks = self._framed = 0
        self._sample_began = now
        return is_fast and is_fine

    def eof(self) -> bool:
        return self.is_done

    def _next_line(self, data: bytes, position: int) -> int:
        """Read the line that begins there. Returns where the next begins; 0 when the line is not whole yet."""
        end = data.find(b"\n", position, position + MAX_TRAILERS + 1) + 1
        if end:
            self._line(data[position:end])
        return end

    def _keep(self, part: bytes) -> None:
        limit = MAX_TRAILERS if self._trailing else MAX_CHUNK_LINE
        if len(part) > limit:
            raise HttpError("bad_request", "a line of the chunked body is too long")
        if self._expects_line_end and part != b"\r":
            raise HttpError("bad_request", "chunk data is not followed by CR LF")
        self._kept = part

    def _line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise HttpError("bad_request", "a bare LF in the chunked body")
        if self._trailing:
            self._trailer(line[:-2])
        elif self._expects_line_end:
            if line != b"\r\n":
                raise HttpError("bad_request", "chunk data is not followed by CR LF")
            self._expects_line_end = False
        else:
            self._size(line[:-2])

    def _size(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line) if len(line) <= MAX_CHUNK_LINE else None
        if match is None:
            raise HttpError("bad_request", "chunk size")
        self._extensions += len(line) - match.end(1)
        if self._extensions > MAX_EXTENSIONS:
            raise HttpError("bad_request", f"over {MAX_EXTENSIONS} bytes of chunk extensions")
        self._left = int(match[1], 16)
        self._expects_line_end = self._left > 0
        if not self._left:
            self._trailing = 1

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.is_done = True
            return
        self._trailing += len(line)
        match = _TRAILER.fullmatch(line)
        if match is None or self._trailing > MAX_TRAILERS or len(self.trailers) >= MAX_TRAILER_FIELDS:
            raise HttpError("bad_request", "trailer")
        self.trailers.append((match[1], match[2].strip(b" \t")))


def request_decoder(*, is_chunked: bool, content_length: int | None) -> Decoder:
    """The decoder for a request's body (RFC 9112 section 6.3): without a framing field it is empty."""
    return ChunkedDecoder() if is_chunked else LengthDecoder(content_length or 0)


def encode_chunk(data: Piece) -> list[Piece]:
    """One chunk, ready for `writelines`. `data` is not empty (an empty chunk would end the body)."""
    return [b"%x\r\n" % len(data), data, b"\r\n"]


def encode_trailers(trailers: bytes) -> bytes:
    """The end of a chunked body.

    Args:
        trailers: Field lines, each with its CR LF; may be empty.
    """
    return b"0\r\n%b\r\n" % trailers if trailers else LAST_CHUNK
