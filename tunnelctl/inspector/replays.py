"""Sends a captured request to the local service again, unchanged or with changes.

It is sent directly to the service, without the relay and its rules, and with the identity fields as captured. Its
response is captured like that of any exchange, and sent nowhere else.
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
"""Maximum concurrent replays."""
REPLAY_SECONDS = 60.0
"""Maximum seconds of a replay; a service that has not responded by then is given up."""

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
    """The request cannot be sent with these changes. The message is for display."""


class TunnelAway(Exception):
    """There is no HTTP tunnel with this name at present. The message is the name."""


class TooManyReplays(Exception):
    """`MAX_REPLAYS` replays are already running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayChanges:
    """Changes to a captured request; None and empty values change nothing.

    Attributes:
        set_headers: (name, value) pairs that replace all fields with their names.
        remove_headers: Names of fields to remove.
        target: New path and query.
    """

    method: str | None = None
    target: str | None = None
    set_headers: tuple[tuple[str, str], ...] = ()
    remove_headers: tuple[str, ...] = ()
    body: bytes | None = None


def rewrite(capture: Capture, changes: ReplayChanges) -> tuple[OpenHead, bytes]:
    """Return the head and body of the changed request.

    Raises:
        ReplayInvalid: The result would not be a valid request.
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
    """Return one header field. Refuse a value that could be read as two fields, or as another one."""
    try:
        fields = from_lines(f"{name}: {value}\r\n".encode("latin-1"))
    except (UnicodeEncodeError, HttpError):
        fields = []
    if len(fields) != 1 or fields[0][0] != name.encode("latin-1"):
        raise ReplayInvalid(f"{name[:64]!r}: a header has a name without blanks, and a value of one line in Latin-1")
    return fields[0]


class Replayer:
    """Sends captured requests again. A replay ends within `REPLAY_SECONDS`, or with its tunnel."""

    def __init__(self, agent: Agent, store: CaptureStore) -> None:
        self._agent = agent
        self._store = store
        self._running: dict[int, _ReplayLink] = {}

    def start(self, capture: Capture, changes: ReplayChanges, tunnel_name: str = "") -> Capture:
        """Send a captured request again. Return the capture of the replay, which usually is still running.

        Args:
            tunnel_name: Tunnel whose service gets the request; "" for the original one.

        Raises:
            ReplayInvalid: The result would not be a valid request.
            TunnelAway: There is no such tunnel at present.
            TooManyReplays: Too many other replays are running.
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
        """Wait until a replay has ended, if it is running."""
        replay = self._running.get(capture.number)
        if replay is not None:
            await replay.over.wait()


class _ReplayLink:
    """Takes the place of a link for a replayed exchange: provides the request's body, and discards the response.

    Attributes:
        stream: A stream without a session, into which the exchange sends.
        over: Set when the exchange has ended.
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
        """Discard the response's head, which the capture has."""
        if fin:
            self._finish()

    def send_data(self, stream: Stream, data: Piece, fin: bool = False) -> None:
        """Discard a piece of the response's body, which the capture has."""
        if fin:
            self._finish()

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """Finish, as the response is complete."""
        self._finish()

    def reset(self, stream: Stream, code: Code, reason: str = "") -> None:
        """Finish, as the exchange failed; the capture has the reason."""
        self._finish()

    def consumed(self, stream: Stream, size: int) -> None:
        """Do nothing, as the whole body was given at once."""

    def _finish(self) -> None:
        self._running.pop(self._number, None)
        if self._timer is not None:
            self._timer.cancel()
        # The exchange reports its end after this call.
        asyncio.get_running_loop().call_soon(self.over.set)
