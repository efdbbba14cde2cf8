"""Parses requests from a visitor's byte stream, without I/O: one at a time, each only when the caller asks for it.

The counterpart of `connection.ResponseReader`. The caller feeds what arrives and takes, in this order, a head
(`has_head`, `take_head`), the pieces of its body (`take_body` until `is_in_body` is False) and the next head. Bytes
beyond that are kept: a pipelined request waits for the response to the one before it. Bytes that cannot be HTTP raise
`HttpError`; the caller must then stop reading the connection.

The caller must limit what it feeds: `MAX_AHEAD` while a request is in progress, `MAX_REQUEST_HEAD` while a head is
awaited.
"""

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.body import ChunkedDecoder, Decoder, Field, Piece, request_decoder
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_REQUEST_HEAD, RequestHead, parse_request

MAX_AHEAD = 16 * 1024
"""Maximum bytes of one connection that are kept before they are needed: pipelined requests, or a body whose exchange
has not begun. The connection is not read further until they are taken. A head may be longer (`MAX_REQUEST_HEAD`), so
that a visitor that only sends costs at most 32 KiB here, beside the unsent response."""
MAX_SKIPPED = 1024 * 1024
"""Maximum bytes of an unwanted request body that are discarded to keep the connection; it is closed if more come."""
MAX_CHUNKED_SKIPPED = 64 * 1024
"""Maximum bytes of an unwanted chunked body that are discarded, lower than `MAX_SKIPPED` as chunks cost more work to
read."""
MAX_LINES = 256
"""Maximum lines of a chunked body that one connection decodes in one turn of the event loop, about 0.4 ms. The rest
waits for the next turn, and the connection is not read meanwhile."""
BOUNDS = (
    DeclaredBound(
        name="unwanted body that is read to keep the connection",
        limit=MAX_SKIPPED,
        unit="bytes",
        per="request",
        when_full="the connection is closed behind the answer",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="unwanted body in chunks that is read to keep the connection",
        limit=MAX_CHUNKED_SKIPPED,
        unit="bytes",
        per="request",
        when_full="the connection is closed behind the answer",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="what a visitor's connection has sent before it is its turn",
        limit=MAX_REQUEST_HEAD,
        unit="bytes",
        per="visitor connection",
        when_full="nothing more is read of it; a head that is longer is answered 431",
        worst_bytes=MAX_REQUEST_HEAD,
        holds=("RequestReader.kept",),
    ),
)

_TLS_HELLO = b"\x16\x03"
"""First bytes of a TLS handshake. It contains no line end, so that without this check its sender would get an error
only after the time-out."""


class RequestReader:
    """Parses the requests on one connection.

    Attributes:
        kept: Bytes that were fed and not yet taken.
        is_in_body: Part of the last request's body, or of its framing, is still to be taken.
        is_skipping: The body is being discarded, as its request already has a response.
        skipped: Bytes of the body that were discarded.
        trailers: Trailer fields of the last body, set once it is complete.
        refused: The bytes of a head that was refused, for a response in a fitting form.
    """

    __slots__ = (
        "_decoder",
        "_head_end",
        "_searched",
        "is_in_body",
        "is_skipping",
        "kept",
        "refused",
        "skipped",
        "trailers",
    )

    def __init__(self) -> None:
        self.kept = b""
        self.refused = b""
        self.is_in_body = False
        self.is_skipping = False
        self.skipped = 0
        self.trailers: list[Field] = []
        self._decoder: Decoder | None = None
        self._head_end = 0  # position in `kept` at which the head ends; 0 while unknown
        self._searched = 0  # bytes of `kept` already searched: no head ends in them, and they have no bare LF

    def feed(self, data: bytes) -> None:
        """Store received bytes."""
        self.kept = self.kept + data if self.kept else data

    # Heads

    @property
    def awaits_rest_of_head(self) -> bool:
        """Whether a head was incomplete when `has_head` was last called."""
        return self._searched > 0

    def has_head(self) -> bool:
        """Return whether the next request's head is complete.

        Raises:
            HttpError: The bytes can never become a valid head: `bad_request`, `head_too_large`, `target_too_long`.
        """
        if self._head_end:
            return True
        kept = self.kept
        if kept.startswith(b"\r\n"):  # RFC 9112 section 2.2: one empty line before a request is ignored
            kept = self.kept = kept[2:]
            self._searched = 0
        self._head_end = kept.find(b"\r\n\r\n", max(0, self._searched - 3), MAX_REQUEST_HEAD) + 4
        if self._head_end >= 4:
            return True
        self._head_end = 0
        self._check_part(kept)
        return False

    def take_head(self) -> tuple[RequestHead, bytes]:
        """Parse and remove the head that `has_head` found. Return it parsed, and as the bytes that were sent.

        Raises:
            HttpError: See `parse_request`.
        """
        end = self._head_end
        block, self.kept = self.kept[:end], self.kept[end:]
        self._head_end = self._searched = 0
        try:
            head = parse_request(block)
        except HttpError:
            self.refused = block
            raise
        if head.has_body:
            self.is_in_body = True
            self._decoder = request_decoder(is_chunked=head.is_chunked, content_length=head.content_length)
        return head, block

    def _check_part(self, part: bytes) -> None:
        """Refuse an incomplete head that can never become valid at once, instead of after the time-out."""
        if len(part) >= MAX_REQUEST_HEAD:
            self.refused = part[:MAX_REQUEST_HEAD]
            code = "head_too_large" if b"\r\n" in part[: MAX_REQUEST_HEAD // 2] else "target_too_long"
            raise HttpError(code, f"a head of more than {MAX_REQUEST_HEAD} bytes")
        if part.startswith(_TLS_HELLO) or has_bare_lf(part, self._searched):
            raise HttpError("bad_request", "a head without its line ends")
        self._searched = len(part)

    # Bodies

    def check_body(self) -> None:
        """Check the body bytes received so far without taking them, so that the request can be refused before it is
        forwarded.

        Raises:
            HttpError: `bad_request`: the framing is invalid.
        """
        if self.kept and type(self._decoder) is ChunkedDecoder:
            ChunkedDecoder().feed(self.kept, MAX_LINES)

    def take_body(self) -> list[Piece]:
        """Take the received body, but at most `MAX_LINES` lines of its framing; the rest stays in `kept`.

        Raises:
            HttpError: `bad_request`: the framing is invalid. `body_too_large`: too much of an unwanted body has come;
                closing the connection is cheaper.
        """
        decoder, kept = self._decoder, self.kept
        assert decoder is not None
        pieces = decoder.feed(kept, MAX_LINES)
        self.kept = decoder.rest
        if self.is_skipping:
            self._count_skipped(decoder, len(kept) - len(decoder.rest))
        if decoder.is_done:
            self.trailers = decoder.trailers
            self._decoder = None
            self.is_in_body = self.is_skipping = False
        return pieces

    def skip_body(self) -> None:
        """Discard the rest of the body. The caller ignores the pieces that `take_body` returns from now on."""
        self.is_skipping = True
        self.skipped = 0

    def is_too_fine(self, now: float) -> bool:
        """Return whether the body comes fast and in tiny chunks (see `Decoder.is_too_fine`).

        Call after each `take_body`.
        """
        return self._decoder is not None and self._decoder.is_too_fine(now)

    def _count_skipped(self, decoder: Decoder, size: int) -> None:
        self.skipped += size
        if self.skipped > (MAX_CHUNKED_SKIPPED if type(decoder) is ChunkedDecoder else MAX_SKIPPED):
            raise HttpError("body_too_large", f"{self.skipped} bytes of a body that is not wanted")

    # The end

    def take_rest(self) -> bytes:
        """Remove and return all kept bytes, because the connection has left HTTP or is about to be closed."""
        kept, self.kept = self.kept, b""
        self._head_end = self._searched = 0
        return kept


def has_bare_lf(part: bytes, start: int) -> bool:
    """Return whether a LF without CR stands at `start` or later. `start` avoids searching bytes twice."""
    return part.count(b"\n", start) != part.count(b"\r\n", max(0, start - 1))
