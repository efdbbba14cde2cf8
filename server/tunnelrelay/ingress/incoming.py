"""Takes requests out of a visitor's bytes: heads, bodies, pipelined ones, and the bodies that are thrown away.

What is done with a request is `visit`'s business; here is where it begins and ends on the connection.
"""

from abc import abstractmethod
from typing import cast

from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.body import Decoder, Field, Piece
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_REQUEST_HEAD, RequestHead
from tunnelrelay.ingress import oversized_head
from tunnelrelay.ingress.connection import LINGER_SECONDS, VisitorConnection
from tunnelrelay.ingress.ingress import NO_DEADLINE, Ingress
from tunnelrelay.ingress.interfaces import Carried
from tunnelrelay.ingress.request import Request
from tunnelrelay.oidc.sessions.access_tokens import Program

HEAD_SECONDS = 10.0
"""From a head's first byte to its last (slow senders would otherwise hold connections for nothing)."""
HALF_CLOSED_SECONDS = 5.0
"""Without a byte of the response, after a visitor has closed its sending half. Few clients do so and go on reading;
many that go away look the same."""
BODY_SECONDS = 60.0
"""Without a byte of a request body that is due, or without `BODY_BYTES` of one whose length is known."""
BODY_BYTES = 240 * 60
"""A body that trickles, a byte in a minute, would else hold an exchange for as long as its sender likes. Bodies whose
length is not known may be streams of something that happens slowly, and what comes after an answer has begun, or on an
upgraded connection, may be as slow as it likes: those count towards their address's share of the endpoint."""
ANSWER_SECONDS = 600.0
"""Without a response head. Long polls and slow model servers take minutes; a hung one must end some time."""
MAX_AHEAD = 16 * 1024
"""Bytes of one connection that are kept before it is their turn: pipelined requests, or a body whose exchange has not
begun. No more are read until they are taken. A head may be longer (`MAX_REQUEST_HEAD`), so that a visitor that sends
and reads nothing costs 32 KiB here at most, beside what is written to it."""
MAX_HEAD_READ = 8 * 1024
"""Bytes of one read while a head is awaited: most heads fit, and little of what comes behind is read with them."""
MAX_DRAIN = 1024 * 1024
"""Bytes of one unwanted request body that are thrown away to keep the connection; beyond, it is closed."""
MAX_CHUNKED_DRAIN = 64 * 1024
"""The same for a chunked body, which is work to read."""
MAX_LINES = 256
"""Lines of a chunked body that one connection has decoded in one turn of the loop, about 0.4 ms; the rest waits for the
next turn, and meanwhile nothing is read of it."""
BOUNDS = (
    DeclaredBound(
        name="unwanted body that is read to keep the connection",
        limit=MAX_DRAIN,
        unit="bytes",
        per="request",
        when_full="the connection is closed behind the answer",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="unwanted body in chunks that is read to keep the connection",
        limit=MAX_CHUNKED_DRAIN,
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
        holds=("Incoming._ahead",),
    ),
)

_TLS_HELLO = b"\x16\x03"
"""How TLS begins. It never ends a line, so that its sender would wait for the time-out to learn that we speak none."""


class Incoming(VisitorConnection):
    """The base of `Visit`: everything that is read.

    Attributes:
        request: The one under way, or the last one.
        peer: The visitor, behind trusted proxies.
        is_idle: No request is under way.
        is_told_secure: A trusted proxy says that the visitor came to it over TLS.
    """

    __slots__ = (
        "_ahead",
        "_body_bytes",
        "_carried",
        "_decoder",
        "_drained",
        "_has_far_half_ended",
        "_is_opaque",
        "_searched",
        "_waits",
        "is_idle",
        "is_told_secure",
        "peer",
        "request",
    )

    def __init__(self, ingress: Ingress, *, is_secure: bool) -> None:
        super().__init__(ingress, is_secure=is_secure)
        self.request = Request(0, 0.0)
        self.peer = self.connected_peer
        self.is_idle = True
        self.is_told_secure = False
        self._ahead = b""
        self._body_bytes = 0  # of the request's body since its deadline was moved
        self._carried: Carried | None = None
        self._decoder: Decoder | None = None
        self._drained = 0
        self._is_opaque = False
        self._searched = 0  # bytes of a head that is not whole yet: they hold no end and no bare LF
        self._waits = False  # for a turn, with a whole head
        self._has_far_half_ended = False

    @abstractmethod
    def _take(self, block: bytes) -> None:
        """A whole head was read."""

    @abstractmethod
    def fail(self, code: str, *, detail: str = "", closes: bool = False, retry_after: int = 0) -> None:
        """Answer with an error of the table."""

    @abstractmethod
    def refuse_too_large(self, head: RequestHead) -> None:
        """Answer a request by what was read of its head, and close."""

    @abstractmethod
    def response_done(self, *, keeps_alive: bool, error: str = "") -> None:
        """The response has been written."""

    @abstractmethod
    def break_off(self, code: str) -> None:
        """The response cannot be completed."""

    @property
    def request_id(self) -> str:
        """Names this request in logs and on error pages."""
        return self.ingress.request_id(self.request.number)

    @property
    def can_be_closed(self) -> bool:
        """No answer is lost by it: no request is under way or waits for its turn, and what was answered is sent."""
        return self.is_idle and not self._waits and not self.transport.get_write_buffer_size()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: no more are read than may be kept."""
        if self._is_opaque or self.is_lingering or self._reads_body():
            return self.ingress.buffer
        room = MAX_REQUEST_HEAD if self.is_idle else MAX_AHEAD
        return self.ingress.buffer[: max(1, min(MAX_HEAD_READ, room - len(self._ahead)))]

    def buffer_updated(self, nbytes: int) -> None:
        """The next bytes are in the buffer."""
        self.data_received(bytes(self.ingress.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Bytes from the visitor."""
        if self._is_opaque:
            if self.request.session is not None:
                self.ingress.gate.seen(self.request.session)
            cast(Carried, self._carried).send(data, False)
        elif self.is_lingering:
            return
        elif self.is_idle:
            self._ahead = self._ahead + data if self._ahead else data
            self._read_head()
            if self._ahead:
                self._keep_pace()
        elif self._reads_body():
            self._read_body(self._ahead + data if self._ahead else data)
        else:
            self._ahead += data
            self._keep_pace()

    def eof_received(self) -> bool:
        """The visitor sends no more; it may still read (RFC 9112 section 9.5). TLS connections have no such half."""
        self.saw_eof = True
        if self._is_opaque:
            cast(Carried, self._carried).end([])
            if self._has_far_half_ended:
                self.response_done(keeps_alive=False)
            return not self.is_secure
        # A body that waits for its exchange to begin, or for its turn, may be here whole.
        may_be_whole = self._decoder is None or not self._reads_body() or bool(self._ahead)
        if (self.is_idle and not self._waits) or not may_be_whole or self.is_secure:
            return False
        if self._carried is not None and self._carried.is_for_a_page:
            # Browsers never close one half: the page was left. A user may have so many streams, and goes to the next.
            return False
        self.ingress.call_later(HALF_CLOSED_SECONDS, self._judge_half_closed, -1)
        return True

    def endpoint_over(self) -> None:
        """The edge it was asked of is gone: it ends here, at once, and so does an upgraded connection."""
        if self._carried is None:
            return
        self._carried.cancel()
        self._is_opaque = False
        if self._carried.has_answered:
            self.break_off("endpoint_not_found")
        else:
            self.fail("endpoint_not_found", closes=True)

    def session_over(self) -> None:
        """What let the request in is over: it ends here, at once. One that waits for a tunnel will be judged anew."""
        if self._carried is None:
            return
        self._carried.cancel()
        self._is_opaque = False  # an upgraded connection is cut, too: what is in its buffers is not wanted any more
        if self._carried.has_answered:
            self.break_off("session_over")
        else:
            is_program = isinstance(self.request.session, Program)
            self.fail("bearer_invalid" if is_program else "login_required", closes=True)

    def _judge_half_closed(self, bytes_out: int) -> None:
        """A visitor that has left looks like one that has only finished sending, until it is written to.

        So a half-closed connection lives for as long as something is written, which one that is gone answers with a
        reset.
        """
        if self.transport.is_closing() or self.is_idle or self._is_opaque:
            return
        if self.request.bytes_out == bytes_out:
            self.transport.abort()
        else:
            self.ingress.call_later(HALF_CLOSED_SECONDS, self._judge_half_closed, self.request.bytes_out)

    def resume_writing(self) -> None:
        """The visitor has caught up: the other end may send as much again."""
        super().resume_writing()
        self.deadline = self._due()
        if self._carried is not None:
            self._carried.drained()
        if self.is_idle and self._ahead:
            self.ingress.call_soon(self._work_off)

    def _reads_body(self) -> bool:
        """Whether bytes of a body go on at once: somewhere, or away."""
        return self._decoder is not None and (self._carried is not None or self._drained > 0)

    def _has_enough(self) -> bool:
        if self._is_opaque or self.is_lingering:
            return False
        if self._reads_body():
            return bool(self._ahead)
        return len(self._ahead) >= (MAX_REQUEST_HEAD if self.is_idle and not self.is_paused else MAX_AHEAD)

    def _due(self) -> float:
        """Until when is waited for what comes next, now that the visitor has read everything."""
        if self.is_lingering:
            seconds = LINGER_SECONDS
        elif self.is_idle:
            seconds = self.ingress.idle_seconds
        elif self._carried is not None and self._carried.has_answered:
            return NO_DEADLINE
        else:
            seconds = BODY_SECONDS if self._decoder is not None else ANSWER_SECONDS
        return self.ingress.now() + seconds

    def _read_head(self) -> None:
        """Take the next request off what was read, unless the visitor leaves the answers to earlier ones unread.

        One for each turn of the loop (see `_next_request`): a pipeline of thousands keeps no others waiting.
        """
        if not self.is_idle or not self._ahead or self.is_lingering or self.is_paused or self._waits:
            return
        ahead = self._ahead
        if ahead.startswith(b"\r\n"):  # RFC 9112 section 2.2: one empty line before a request is forgiven
            ahead = self._ahead = ahead[2:]
            self._searched = 0
        end = ahead.find(b"\r\n\r\n", max(0, self._searched - 3), MAX_REQUEST_HEAD) + 4
        if end < 4:
            self._await_rest(ahead)
            return
        if self.ingress.turns.take(self):
            self._ahead = ahead[end:]
            self._take(ahead[:end])
        else:
            self._waits = True

    def take_turn(self) -> None:
        """The request that waited for it begins."""
        self._waits = False
        if self.is_lingering or self.transport.is_closing():
            return
        end = self._ahead.index(b"\r\n\r\n") + 4
        block, self._ahead = self._ahead[:end], self._ahead[end:]
        self._take(block)
        self._keep_pace()

    def read_turn(self) -> None:
        """It is this visitor's turn to be read for its next request."""
        self._is_unread = False
        self._keep_pace()

    def _await_request(self) -> None:
        """Read the next request when it is this visitor's turn, which is nearly always at once."""
        self._is_full = False
        self._is_unread = not self.ingress.turns.read(self)
        self._keep_pace()

    def _await_rest(self, part: bytes) -> None:
        """A head that is not whole yet. One that never can be is refused now, not after the time-out."""
        if len(part) >= MAX_REQUEST_HEAD:
            code = "head_too_large" if b"\r\n" in part[: MAX_REQUEST_HEAD // 2] else "target_too_long"
            self._refuse_head(code, part[:MAX_REQUEST_HEAD])
        elif part.startswith(_TLS_HELLO) or has_bare_lf(part, self._searched):
            self._refuse_head("bad_request")
        elif part:
            self._searched = len(part)
            self._is_unread = not self.ingress.turns.read(self)  # a head may come byte by byte on each connection
            self.deadline = min(self.deadline, self.ingress.now() + HEAD_SECONDS)

    def _read_body(self, data: bytes) -> None:
        decoder, carried = self._decoder, self._carried
        assert decoder is not None
        try:
            pieces = decoder.feed(data, MAX_LINES)
        except HttpError as error:
            self.ingress.note_smuggling(self.request, self.peer, error.detail)
            self._break_body("bad_request")
            return
        self._ahead = decoder.rest
        size = len(data) - len(decoder.rest)
        if carried is None:
            self._drained += size
            if self._drained > (MAX_CHUNKED_DRAIN if self.request.head.is_chunked else MAX_DRAIN):
                self.linger()
                return
        else:
            if not carried.has_answered:
                self._note_progress(size)
            if pieces:
                self._send_on(carried, pieces)
            if self._carried is not carried:
                return  # it has refused the body: the answer is written, and ends the connection
        if decoder.is_done:
            self._decoder = None
            self._end_body(decoder.trailers)
        elif decoder.is_too_fine(self.ingress.now()):
            self.ingress.limited("small_chunks", self)
            self._break_body("chunks_too_small")
            return
        elif self._ahead:
            self.ingress.call_soon(self._work_off)
        self._keep_pace()

    def _send_on(self, carried: Carried, pieces: list[Piece]) -> None:
        """Give a body's pieces on as one: each would cost both ends of the link as much as all of them."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.request.bytes_in += len(data)
        carried.send(data, False)

    def _work_off(self) -> None:
        """Go on, in a new turn of the loop, with what was read already: the next request, or more of a body."""
        if self._ahead and not self.is_lingering and not self.transport.is_closing():
            if self._reads_body():
                self._read_body(self._ahead)
            else:
                self._read_head()
            self._keep_pace()

    def _note_progress(self, size: int) -> None:
        """Some of the body has come: enough of it, and there is as much time for the next."""
        now, moved = self.ingress.now(), self._body_bytes + size
        if moved >= BODY_BYTES or self.request.head.is_chunked or self.deadline > now + BODY_SECONDS:
            self._body_bytes = 0
            self.deadline = now + BODY_SECONDS
        else:
            self._body_bytes = moved

    def _end_body(self, trailers: list[Field]) -> None:
        if self._carried is not None:
            if not self._carried.has_answered:
                self.deadline = self.ingress.now() + ANSWER_SECONDS
            self._carried.end(trailers)
        elif self._drained:
            self._next_request()

    def _break_body(self, code: str) -> None:
        """The body is read no further: nothing behind it can be told apart any more."""
        carried, self._carried = self._carried, None
        if carried is None:
            self.close()
            return
        carried.cancel()
        if carried.has_answered:
            self.break_off(code)
        else:
            self.fail(code, closes=True)

    def _drain_body(self) -> None:
        """Answered before the whole request came: throw the rest away, then go on with the next."""
        self.is_idle = False
        self._drained = 1
        self.deadline = self.ingress.now() + BODY_SECONDS  # for all of it, however it trickles
        ahead, self._ahead = self._ahead, b""
        self.resume_reading()
        if ahead:
            self._read_body(ahead)

    def _next_request(self) -> None:
        self.is_idle = True
        self._drained = 0
        if self.saw_eof and not self._ahead:
            self.close()
            return
        self.deadline = self.ingress.now() + self.ingress.idle_seconds
        if self._ahead:
            self.resume_reading()
            self.ingress.call_soon(self._work_off)
        else:
            self._await_request()

    def _start_request(self) -> None:
        self.is_idle = False
        self._body_bytes = self._searched = 0
        self.request = self.ingress.new_request()
        self.deadline = self.request.started + ANSWER_SECONDS

    def _refuse_head(self, code: str, part: bytes = b"", detail: str = "") -> None:
        """Answer and close. `part` is what there is of the head."""
        self.ingress.metrics.refused_head(code)
        if self.is_idle:
            self._start_request()
        if code == "bad_request":
            self.ingress.note_smuggling(self.request, self.peer, detail or "a head without its line ends")
        head = oversized_head.glimpse(part) if code == "head_too_large" else None
        if head is not None:
            self.refuse_too_large(head)
        else:
            self.fail(code, closes=True)


def has_bare_lf(part: bytes, start: int) -> bool:
    """Whether a LF from `start` on follows no CR. Heads may come byte by byte: no byte is searched twice."""
    return part.count(b"\n", start) != part.count(b"\r\n", max(0, start - 1))
