"""Reads requests from a visitor's byte stream, Sans-I/O: one at a time, and none before it is asked for.

The mirror of `connection.ResponseReader`. The caller feeds what arrives and takes, in this order, a head (`has_head`,
`take_head`), the pieces of its body (`take_body` until `is_in_body` is False) and the next head. Bytes behind are kept
until then: a pipelined request waits for the answer to the one before it. Bytes that cannot be HTTP raise
`HttpError`, and nothing may be read of the connection after that.

The caller must not feed more than may be kept: `MAX_AHEAD` while a request is under way,
`MAX_REQUEST_HEAD` while a head is awaited.
"""

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.body import ChunkedDecoder, Decoder, Field, Piece, request_decoder
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_REQUEST_HEAD, RequestHead, parse_request

MAX_AHEAD = 16 * 1024
"""Bytes of one connection that are kept before it is their turn: pipelined requests, or a body whose exchange has not
begun. No more are read until they are taken. A head may be longer (`MAX_REQUEST_HEAD`), so that a visitor that sends
and reads nothing costs 32 KiB here at most, beside what is written to it."""
MAX_SKIPPED = 1024 * 1024
"""Bytes of one unwanted request body that are thrown away to keep the connection; beyond, it is closed."""
MAX_CHUNKED_SKIPPED = 64 * 1024
"""As `MAX_SKIPPED`, for a chunked body, which is work to read."""
MAX_LINES = 256
"""Lines of a chunked body that one connection has decoded in one turn of the loop, about 0.4 ms; the rest waits for the
next turn, and meanwhile nothing is read of it."""
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
"""How TLS begins. It never ends a line, so that its sender would wait for the time-out to learn that we speak none."""


class RequestReader:
    """The requests on one connection.

    Attributes:
        kept: Bytes that were fed and not taken yet.
        is_in_body: Some of the body of the last head, or of its framing, is still to be taken.
        is_skipping: That body is thrown away: its request is answered already.
        skipped: Bytes of it that were thrown away.
        trailers: Fields behind the last body, once it is taken.
        refused: The head that was refused, as far as it came; for an answer that fits it.
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
        self._head_end = 0  # where the head in `kept` ends; 0 while that is not known
        self._searched = 0  # bytes of a head that is not whole yet: they hold no end and no bare LF

    def feed(self, data: bytes) -> None:
        """Keep what arrived."""
        self.kept = self.kept + data if self.kept else data

    # Heads

    @property
    def awaits_rest_of_head(self) -> bool:
        """A head has begun, and was not whole when `has_head` looked last."""
        return self._searched > 0

    def has_head(self) -> bool:
        """Whether the next request's head is whole.

        Raises:
            HttpError: It can never be one: `bad_request`, `head_too_large`, `target_too_long`.
        """
        if self._head_end:
            return True
        kept = self.kept
        if kept.startswith(b"\r\n"):  # RFC 9112 section 2.2: one empty line before a request is forgiven
            kept = self.kept = kept[2:]
            self._searched = 0
        self._head_end = kept.find(b"\r\n\r\n", max(0, self._searched - 3), MAX_REQUEST_HEAD) + 4
        if self._head_end >= 4:
            return True
        self._head_end = 0
        self._check_part(kept)
        return False

    def take_head(self) -> tuple[RequestHead, bytes]:
        """Take the head that `has_head` has found: as it was read, and as it was sent.

        Raises:
            HttpError: As `parse_request`.
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
        """Refuse an incomplete head that can never be valid now, not after the time-out."""
        if len(part) >= MAX_REQUEST_HEAD:
            self.refused = part[:MAX_REQUEST_HEAD]
            code = "head_too_large" if b"\r\n" in part[: MAX_REQUEST_HEAD // 2] else "target_too_long"
            raise HttpError(code, f"a head of more than {MAX_REQUEST_HEAD} bytes")
        if part.startswith(_TLS_HELLO) or has_bare_lf(part, self._searched):
            raise HttpError("bad_request", "a head without its line ends")
        self._searched = len(part)

    # Bodies

    def check_body(self) -> None:
        """Check what has come of the body without taking it, so that it can be refused together with its head.

        Raises:
            HttpError: `bad_request`: its framing is broken.
        """
        if self.kept and type(self._decoder) is ChunkedDecoder:
            ChunkedDecoder().feed(self.kept, MAX_LINES)

    def take_body(self) -> list[Piece]:
        """Take what has come of the body, and at most `MAX_LINES` lines of its framing; the rest stays in `kept`.

        Raises:
            HttpError: `bad_request`: its framing is broken. `body_too_large`: keeping the connection would cost more
                than a new one, as so much of an unwanted body has come.
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
        """Throw away what is still to come of the body: the pieces that `take_body` gives are not wanted."""
        self.is_skipping = True
        self.skipped = 0

    def is_too_fine(self, now: float) -> bool:
        """Whether the body comes fast and in tiny chunks: see `Decoder.is_too_fine`. Ask after each `take_body`."""
        return self._decoder is not None and self._decoder.is_too_fine(now)

    def _count_skipped(self, decoder: Decoder, size: int) -> None:
        self.skipped += size
        if self.skipped > (MAX_CHUNKED_SKIPPED if type(decoder) is ChunkedDecoder else MAX_SKIPPED):
            raise HttpError("body_too_large", f"{self.skipped} bytes of a body that is not wanted")

    # The end

    def take_rest(self) -> bytes:
        """Take all kept bytes, which are no HTTP any more or are not needed."""
        kept, self.kept = self.kept, b""
        self._head_end = self._searched = 0
        return kept


def has_bare_lf(part: bytes, start: int) -> bool:
    """Whether a LF from `start` on follows no CR. Heads may come byte by byte: no byte is searched twice."""
    return part.count(b"\n", start) != part.count(b"\r\n", max(0, start - 1))
