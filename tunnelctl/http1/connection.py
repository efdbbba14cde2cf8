"""Parses the responses of an upstream from a byte stream, without I/O: one response at a time, interim (1xx) ones
first.

The upstream is the owner's own app, so it is parsed leniently (see `lenient`); the sink gets responses in strict form.
"""

from typing import Protocol

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.body import CloseDecoder, Decoder, Field, LengthDecoder, Piece
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_RESPONSE_HEAD, ResponseHead
from tunnelctl.http1.lenient import LenientChunkedDecoder, check_part, head_end, read_response, skip_blanks

MAX_INTERIM = 20
"""Maximum 1xx responses before the final one; an upstream that sends more is broken or hostile."""
MAX_INTERIM_BYTES = 32 * 1024
"""Maximum bytes of the field lines of all 1xx responses to one request: half of what the wire protocol allows, as
exceeding that limit would end the whole link."""

BOUNDS = (
    DeclaredBound(
        name="interim responses (1xx) before it",
        limit=MAX_INTERIM,
        unit="responses",
        per="response",
        when_full="502",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="interim responses before it, all together",
        limit=MAX_INTERIM_BYTES,
        unit="bytes",
        per="response",
        when_full="502",
        worst_bytes=0,
    ),
)


class ResponseSink(Protocol):
    """Receives a response as it arrives. No call follows one with `fin` True, or `end_received`."""

    def head_received(self, head: ResponseHead, fin: bool) -> None:
        """Receive a head, interim (1xx) or final. `fin` means that no body follows."""

    def body(self, data: Piece, fin: bool) -> None:
        """Receive a piece of the body, which is empty only with `fin`."""

    def end_received(self, trailers: list[Field]) -> None:
        """Receive the trailers, which end the body."""


class ResponseReader:
    """Parses the responses on one connection.

    Attributes:
        is_reusable: The last response ended without doubt, and the upstream accepts another request.
        is_idle: No response is expected.
        has_begun: A byte of the expected response has arrived.
    """

    __slots__ = (
        "_decoder",
        "_interim",
        "_interim_bytes",
        "_keep_alive",
        "_kept",
        "_method",
        "_sink",
        "_was_mended",
        "has_begun",
        "is_idle",
    )

    def __init__(self) -> None:
        self.is_idle = True
        self.has_begun = False
        self._keep_alive = True
        self._kept = b""
        self._decoder: Decoder | None = None
        self._interim = self._interim_bytes = 0
        self._method = b""
        self._sink: ResponseSink | None = None
        self._was_mended = False

    @property
    def is_reusable(self) -> bool:
        """Whether the last response ended without doubt, and the upstream accepts another request on this
        connection.
        """
        return self.is_idle and self._keep_alive and not self._kept

    def start(self, method: bytes, sink: ResponseSink) -> None:
        """Expect the response to a request with this method, and pass it to `sink`."""
        self._method = method
        self._sink = sink
        self.is_idle = False
        self.has_begun = False
        self._interim = self._interim_bytes = 0
        self._was_mended = False

    def feed(self, data: bytes) -> None:
        """Parse received bytes and pass the response in them to the sink.

        Raises:
            HttpError: The bytes are not an HTTP/1 response.
        """
        if self.is_idle:
            # Bytes without a request: it is no longer certain that the next response starts at a message boundary.
            self._keep_alive = False
            return
        self.has_begun = True
        while data and not self.is_idle:
            data = self._body(data) if self._decoder else self._head(data)
        if data:
            self._keep_alive = False

    def eof(self) -> bool:
        """Handle the upstream's close. Return True if no response was left incomplete."""
        self._keep_alive = False
        if self._decoder is not None and self._decoder.eof():
            self._finish(b"", [])
        return self.is_idle

    def _head(self, data: bytes) -> bytes:
        """Parse a head at the start of `data`. Return the bytes after it."""
        if self._kept:
            data = self._kept + data
            self._kept = b""
        if not data.startswith(b"HTTP/"):
            rest = skip_blanks(data)
            if not rest:
                self._kept = data
                return b""
            data = rest
        end = head_end(data)
        if end < 0:
            check_part(data)
            self._kept = data
            return b""
        if end > MAX_RESPONSE_HEAD:
            raise HttpError("bad_request", f"a head of {end} bytes, at most {MAX_RESPONSE_HEAD}")
        head, was_mended = read_response(data[:end])
        self._was_mended |= was_mended
        self._take(head)
        return data[end:]

    def _take(self, head: ResponseHead) -> None:
        assert self._sink is not None
        if head.status < 200 and head.status != 101:
            self._interim += 1
            self._interim_bytes += len(head.lines)
            if self._interim > MAX_INTERIM or self._interim_bytes > MAX_INTERIM_BYTES:
                raise HttpError("bad_request", "too many interim responses")
            self._sink.head_received(head, False)
            return
        self._keep_alive = head.keep_alive and not self._was_mended
        decoder = self._decoder_for(head)
        if decoder.is_done:
            self.is_idle = True
            self._sink.head_received(head, True)
        else:
            self._decoder = decoder
            self._sink.head_received(head, False)

    def _decoder_for(self, head: ResponseHead) -> Decoder:
        """Return the decoder for the response's body, by the rules of RFC 9112 section 6.3 in their order."""
        if head.status == 101:
            return CloseDecoder()
        if self._method == b"HEAD" or head.status in (204, 304):
            return LengthDecoder(0)
        if head.is_chunked:
            return LenientChunkedDecoder()
        if head.content_length is not None:
            return LengthDecoder(head.content_length)
        self._keep_alive = False
        return CloseDecoder()

    def _body(self, data: bytes) -> bytes:
        decoder, sink = self._decoder, self._sink
        assert decoder is not None
        assert sink is not None
        pieces = decoder.feed(data)
        if not decoder.is_done:
            for piece in pieces:
                sink.body(piece, False)
            return b""
        for piece in pieces[:-1]:
            sink.body(piece, False)
        if type(decoder) is LenientChunkedDecoder and decoder.was_mended:
            self._keep_alive = False
        self._finish(pieces[-1] if pieces else b"", decoder.trailers)
        return decoder.rest

    def _finish(self, last: Piece, trailers: list[Field]) -> None:
        sink = self._sink
        assert sink is not None
        self._decoder = None
        self.is_idle = True
        if trailers:
            if last:
                sink.body(last, False)
            sink.end_received(trailers)
        else:
            sink.body(last, True)
