"""Decodes and encodes message bodies: fixed length, chunked, or until the connection ends (RFC 9112 sections 6 and 7).

A decoder takes bytes in any chunks and returns pieces of the body; bytes after the body's end are its `rest`. Decoders
are stricter than the RFC where leniency has led to request smuggling: chunk sizes are plain hexadecimal of bounded
length, every line ends with CR LF, and quoted chunk extensions are refused.
"""

import re
from typing import Protocol

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.errors import HttpError

Field = tuple[bytes, bytes]
Piece = bytes | memoryview

LAST_CHUNK = b"0\r\n\r\n"
MAX_CHUNK_LINE = 256
"""Maximum bytes of a chunk's size line. Extensions are discarded, so a long line only wastes our time."""
MAX_EXTENSIONS = 16 * 1024
"""Maximum bytes of all chunk extensions in one body (hyper has the same limit); a request with more gets a 400."""
MAX_TRAILERS = 16 * 1024
"""Maximum bytes of the trailer section of one body, which is kept until the end of the body. A request with more gets a
400."""
MAX_TRAILER_FIELDS = 100
"""Maximum fields in the trailer section of one body, the same as in a head. A request with more gets a 400."""

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
"""Minimum average bytes of data per chunk from a fast sender. A chunk costs about 1.5 us whatever its size, so that a
body in one-byte chunks costs a hundred times what the same bytes cost in one piece."""
SAMPLE_BYTES = 64 * 1024
"""Bytes of a chunked body, framing included, over which the average chunk size is measured: at most 11,000 chunks, 16
ms of work."""
SAMPLE_SECONDS = 10.0
"""Seconds per sample of `SAMPLE_BYTES` from which chunks may have any size, as slow events are no flood."""
NO_LIMIT = 1 << 62
_WHOLE_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n").match
"""Matches the usual chunk size line without extensions, as a fast path; all other lines go to `_line`."""
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20\x21\x23-\x7e]*)?")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")
"""Pattern of a trailer field. It can match in one way only: a second way would make a line of blanks cost the cube of
its length."""


class Decoder(Protocol):
    """Interface of the decoders, which turn the bytes of a connection into a message body.

    Attributes:
        is_done: True when the body is complete.
        rest: Bytes after the body's end; while the body is incomplete, bytes that must be fed again.
        trailers: Trailer fields after a chunked body.
    """

    is_done: bool
    rest: bytes
    trailers: list[Field]

    def feed(self, data: bytes, max_lines: int = NO_LIMIT) -> list[Piece]:
        """Decode `data` and return the pieces of the body in it, possibly none.

        Args:
            max_lines: Maximum lines of framing to read; the bytes after them are left in `rest`.

        Raises:
            HttpError: `bad_request` when the framing is invalid.
        """

    def is_too_fine(self, now: float) -> bool:
        """Return whether the last `SAMPLE_BYTES` came fast and in chunks below `MIN_CHUNK` on average.

        Call after each `feed`.

        Args:
            now: Time of the event loop in seconds.
        """

    def eof(self) -> bool:
        """Handle the sender's end of the connection. Return True if the body is then complete."""


class LengthDecoder:
    """Decodes a body whose length is known from Content-Length."""

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
    """Decodes a response body that ends when the connection ends (RFC 9112 section 6.3, item 8)."""

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
    """Decodes a chunked body with its trailers (RFC 9112 section 7.1)."""

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
        self._kept = b""  # an incomplete line
        self._left = 0  # bytes of the current chunk's data that are still missing
        self._expects_line_end = False  # the CR LF after a chunk's data is still missing
        self._extensions = 0  # bytes of extensions so far
        self._trailing = 0  # bytes of trailer section so far; 0 before the last chunk
        # The current sample: chunks, bytes of their data, all bytes, and its begin (None: the next `is_too_fine` sets
        # it).
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
        """Read the line at `position`. Return the position of the next line, or 0 when the line is still incomplete."""
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
    """Return the decoder for a request's body (RFC 9112 section 6.3). Without a framing field the body is empty."""
    return ChunkedDecoder() if is_chunked else LengthDecoder(content_length or 0)


def encode_chunk(data: Piece) -> list[Piece]:
    """Return `data` as one chunk, ready for `writelines`. `data` must not be empty, as an empty chunk ends the body."""
    return [b"%x\r\n" % len(data), data, b"\r\n"]


def encode_trailers(trailers: bytes) -> bytes:
    """Return the end of a chunked body: the last chunk and the trailer section.

    Args:
        trailers: Field lines, each with its CR LF; may be empty.
    """
    return b"0\r\n%b\r\n" % trailers if trailers else LAST_CHUNK
