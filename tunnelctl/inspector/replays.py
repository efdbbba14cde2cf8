"""Sends a captured request to the local service once more, as it was or with changes.

It goes straight to the service, past the relay and its rules, with the identity fields as they were captured. What
comes of it is captured as any exchange is, and goes nowhere else.
"""

import asyncio
import re
from dataclasses import dataclass

from tunnelctl.agent.agent import Agent
from tunnelctl.agent.exchange import UpstreamExchange
from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.body import Piece
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.fields import HOP_BY_HOP, from_lines, to_lines
from tunnelctl.http1.head import MAX_REQUEST_HEAD
from tunnelctl.inspector.store import Capture, CaptureStore
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import BODY_CHUNKED, BODY_LENGTH, BODY_NONE, TYPE_EXCHANGE, OpenHead
from tunnelctl.wire.stream import ENDED, HEAD_DUE, Stream

MAX_REPLAYS = 16
"""At once."""
REPLAY_SECONDS = 60.0
"""For one; a service that has not answered by then does not."""

BOUNDS = (
    DeclaredBound(
        name="replays under way",
        limit=MAX_REPLAYS,
        unit="requests",
        per="agent",
        when_full="503",
        worst_bytes=MAX_REPLAYS * (MAX_REQUEST_HEAD + 256 * 1024),
        holds=("Replayer._running",),
    ),
)

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_TARGET = re.compile(r"/[\x21-\x7e]*|\*")
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class ReplayInvalid(ValueError):
    """It cannot be sent so. The message is for people."""


class TunnelAway(Exception):
    """There is no http tunnel of this name now. The message is its name."""


class TooManyReplays(Exception):
    """`MAX_REPLAYS` are under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayChanges:
    """What is changed; None and nothing for what stays.

    Attributes:
        set_headers: (name, value) pairs, in place of every field of that name.
        remove_headers: Names.
        target: Path and query.
    """

    method: str | None = None
    target: str | None = None
    set_headers: tuple[tuple[str, str], ...] = ()
    remove_headers: tuple[str, ...] = ()
    body: bytes | None = None


def rewrite(capture: Capture, changes: ReplayChanges) -> tuple[OpenHead, bytes]:
    """The request to send: head and body.

    Raises:
        ReplayInvalid: It cannot be sent so.
    """
    if capture.is_upgrade:
        raise ReplayInvalid("it asked for another protocol: a WebSocket cannot be replayed")
    if changes.body is None and not capture.replays_as_sent:
        kept, size = len(capture.request_body), capture.request_size
        raise ReplayInvalid(f"only {kept} bytes of its body of {size} bytes were kept: give it another body")
    body = bytes(capture.request_body) if changes.body is None else changes.body
    first, _, lines = capture.opened.head.partition(b"\r\n")
    method, target, _ = first.decode("latin-1").split(" ", 2)
    method = _checked(_METHOD, changes.method, method, "no method")
    target = _checked(_TARGET, changes.target, target, "no path: it begins with a slash and is percent-encoded")
    fields = _changed_fields(lines, changes)
    framing = capture.opened.framing
    if changes.body is not None:
        framing = BODY_LENGTH if body or method not in ("GET", "HEAD", "DELETE", "OPTIONS") else BODY_NONE
        fields = [(name, value) for name, value in fields if name.lower() not in _FRAMING]
        if framing == BODY_LENGTH:
            fields.append((b"Content-Length", b"%d" % len(body)))
    elif framing != BODY_NONE and method == "HEAD":
        raise ReplayInvalid("HEAD has no body: give it an empty one")
    head = f"{method} {target} HTTP/1.1\r\n".encode("latin-1") + to_lines(fields)
    if len(head) > MAX_REQUEST_HEAD:
        raise ReplayInvalid(f"a head of {len(head)} bytes, at most {MAX_REQUEST_HEAD}")
    return OpenHead(capture.opened.tunnel, TYPE_EXCHANGE, framing, head), body


def _checked(pattern: re.Pattern[str], given: str | None, captured: str, problem: str) -> str:
    if given is None:
        return captured
    if not pattern.fullmatch(given):
        raise ReplayInvalid(f"{given[:64]!r} is {problem}")
    return given


def _changed_fields(lines: bytes, changes: ReplayChanges) -> list[tuple[bytes, bytes]]:
    names = [*(name for name, _ in changes.set_headers), *changes.remove_headers]
    if ours := [name for name in names if name.lower().encode("latin-1", "replace") in _FRAMING | HOP_BY_HOP]:
        raise ReplayInvalid(f"{', '.join(ours)}: written anew for each connection")
    added = [_field(name, value) for name, value in changes.set_headers]
    gone = {name.lower().encode("latin-1", "replace") for name in names}
    return [(name, value) for name, value in from_lines(lines) if name.lower() not in gone] + added


def _field(name: str, value: str) -> tuple[bytes, bytes]:
    """One header field. What would be read as two, or as another one, is refused."""
    try:
        fields = from_lines(f"{name}: {value}\r\n".encode("latin-1"))
    except (UnicodeEncodeError, HttpError):
        fields = []
    if len(fields) != 1 or fields[0][0] != name.encode("latin-1"):
        raise ReplayInvalid(f"{name[:64]!r}: a header has a name without blanks, and a value of one line in Latin-1")
    return fields[0]


class Replayer:
    """Sends captured requests again. Each ends by itself, after `REPLAY_SECONDS` at the latest, or with its tunnel."""

    def __init__(self, agent: Agent, store: CaptureStore) -> None:
        self._agent = agent
        self._store = store
        self._running: dict[int, _ReplayLink] = {}

    def start(self, capture: Capture, changes: ReplayChanges, tunnel_name: str = "") -> Capture:
        """Send a captured request again. Returns what listens to it, before it is over as a rule.

        Args:
            tunnel_name: The tunnel whose service gets it; "" for the one it came to.

        Raises:
            ReplayInvalid: It cannot be sent so.
            TunnelAway: There is no such tunnel now.
            TooManyReplays: Others are under way.
        """
        name = tunnel_name or capture.tunnel
        tunnel = self._agent.tunnels.get(name)
        if tunnel is None or tunnel.config.is_tcp:
            raise TunnelAway(name)
        opened, body = rewrite(capture, changes)
        if len(self._running) >= MAX_REPLAYS:
            raise TooManyReplays
        listening = self._store.begin(name, opened, replay_of=capture.number)
        replay = _ReplayLink(self._running, listening)
        exchange = tunnel.replay(replay, replay.stream, opened, not body and opened.framing != BODY_CHUNKED, listening)
        if exchange is None:
            raise TunnelAway(name)
        replay.begin(exchange, body)
        return listening

    async def wait(self, capture: Capture) -> None:
        """Wait until a replay is over, if it is under way."""
        replay = self._running.get(capture.number)
        if replay is not None:
            await replay.over.wait()


class _ReplayLink:
    """Stands where a link stands for a visitor's exchange: gives the body, and throws the response away.

    Attributes:
        stream: Of no session; the exchange sends into it.
        over: Set when the exchange is.
    """

    def __init__(self, running: dict[int, "_ReplayLink"], capture: Capture) -> None:
        self._running = running
        self._number = capture.number
        self._timer: asyncio.TimerHandle | None = None
        self.stream = Stream(0, HEAD_DUE, ENDED)
        self.over = asyncio.Event()

    def begin(self, exchange: UpstreamExchange, body: bytes) -> None:
        """Give the exchange its body, and limit its time."""
        if not exchange.is_over:
            self._running[self._number] = self
            self._timer = asyncio.get_running_loop().call_later(
                REPLAY_SECONDS, exchange.abort, Code.UPSTREAM_TIMEOUT, f"no complete answer in {REPLAY_SECONDS:.0f} s"
            )
        if not exchange.is_sent:
            exchange.on_data(body, True)

    # ExchangeLink

    def send_head(self, stream: Stream, payload: bytes, fin: bool = False) -> None:
        """The capture has it."""
        if fin:
            self._finish()

    def send_data(self, stream: Stream, data: Piece, fin: bool = False) -> None:
        """The capture has what is kept of it."""
        if fin:
            self._finish()

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """The response is complete."""
        self._finish()

    def reset(self, stream: Stream, code: Code, reason: str = "") -> None:
        """It failed; the capture has the reason."""
        self._finish()

    def consumed(self, stream: Stream, size: int) -> None:
        """All of the body was given at once."""

    def _finish(self) -> None:
        self._running.pop(self._number, None)
        if self._timer is not None:
            self._timer.cancel()
        # The exchange says that it is over behind this call.
        asyncio.get_running_loop().call_soon(self.over.set)
