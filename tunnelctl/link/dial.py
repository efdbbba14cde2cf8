"""The agent's side of opening a link: connect to the relay, shake hands, give the token."""

import asyncio
import ssl
from typing import Literal, cast
from urllib.parse import urlsplit

import msgspec
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tunnelctl.link.link import HEARTBEAT, MAX_RECEIVED, Link, LinkUser
from tunnelctl.link.tcp import reason
from tunnelctl.wire.messages import SUBPROTOCOL
from tunnelctl.wire.session import Session

CONNECT_PATH = "/_tunnel/connect"
MAX_WAIT = 300
"""Seconds a relay can keep an agent away by `Retry-After`: whoever answers there may be wrong, or somebody else."""
Kind = Literal["unreachable", "refused", "protocol"]


class DialFailed(Exception):
    """No link came about.

    Attributes:
        kind: `unreachable` (try again), `refused` (the relay said no), or `protocol` (no relay answered there).
        status: HTTP status of the refusal, 0 without one.
        message: What happened, for people.
        hint: What to do.
        wait: Seconds the relay asks to wait before the next try, 0 when it asks nothing.
    """

    def __init__(self, kind: Kind, message: str, *, status: int = 0, hint: str = "", wait: int = 0) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.status = status
        self.message = message
        self.hint = hint
        self.wait = wait


async def dial(
    url: str,
    *,
    user: LinkUser,
    token: str | None = None,
    ca_file: str | None = None,
    timeout: float = 10.0,
    heartbeat: float = HEARTBEAT,
) -> Link:
    """Open a link.

    Args:
        url: The relay, `http(s)://host[:port]` or `ws(s)://…`.
        token: Sent in the Authorization header, never in the URL.
        ca_file: PEM file of certificate authorities to trust instead of the system's.
        timeout: Seconds for connecting and the handshake together.

    Raises:
        DialFailed: See its kinds.
    """
    parts = urlsplit(url)
    is_secure = parts.scheme in ("https", "wss")
    host, port = parts.hostname or "", parts.port or (443 if is_secure else 80)
    loop = asyncio.get_running_loop()
    dialing = _Dialing(
        _websocket(is_secure, parts.netloc, token), Link(Session(opens=False), user, heartbeat=heartbeat)
    )
    context = tls_context(ca_file) if is_secure else None
    try:
        async with asyncio.timeout(timeout):
            await loop.create_connection(
                lambda: dialing, host, port, ssl=context, server_hostname=host if is_secure else None
            )
            return await dialing.done
    except TimeoutError:
        raise DialFailed("unreachable", f"the relay at {url} did not answer in {timeout:.0f} s") from None
    except ssl.SSLError as error:
        raise DialFailed(
            "unreachable",
            f"no TLS connection to {url}: {error.reason or error}",
            hint="for a private CA use --relay-ca",
        ) from error
    except OSError as error:
        raise DialFailed("unreachable", f"no connection to the relay at {url}: {reason(error)}") from error
    finally:
        dialing.abandon()


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Verified TLS 1.2 or later; there is no way to turn verification off."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _websocket(is_secure: bool, netloc: str, token: str | None) -> tuple[ClientProtocol, bytes]:
    scheme = "wss" if is_secure else "ws"
    uri = parse_uri(f"{scheme}://{netloc.rpartition('@')[2]}{CONNECT_PATH}")
    ws = ClientProtocol(uri, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=MAX_RECEIVED)
    request = ws.connect()
    if token:
        request.headers["Authorization"] = f"Bearer {token}"
    ws.send_request(request)
    return ws, b"".join(ws.data_to_send())


class _Dialing(asyncio.Protocol):
    """The connection until the handshake is over; then the link takes it."""

    def __init__(self, websocket: tuple[ClientProtocol, bytes], link: Link) -> None:
        self._ws, self._request = websocket
        self._link = link
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._ws.receive_data(data)
        if self._ws.state is State.OPEN and self._transport is not None:
            early = [event for event in self._ws.events_received() if not isinstance(event, Response)]
            self.done.set_result(self._link)
            self._link.take_over(self._transport, self._ws, early=early)
        elif self._ws.handshake_exc is not None:
            self._fail(_refusal(self._ws.handshake_exc))

    def eof_received(self) -> bool:
        self._ws.receive_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(self._ws.handshake_exc, InvalidHandshake):
            self._fail(_refusal(self._ws.handshake_exc))
        self._fail(DialFailed("unreachable", "the relay closed the connection before the handshake was over"))

    def abandon(self) -> None:
        """Nobody waits any more: an unfinished connection is dropped."""
        if not self.done.done() or self.done.cancelled() or self.done.exception() is not None:
            self.done.cancel()
            if self._transport is not None:
                self._transport.abort()

    def _fail(self, error: DialFailed) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def _refusal(error: Exception) -> DialFailed:
    if not isinstance(error, InvalidStatus):
        return DialFailed(
            "protocol", f"no relay answered there: {error}", hint="is --relay the address of a tunnelrelay?"
        )
    status = error.response.status_code
    message, hint = _error_of(bytes(error.response.body or b""))
    if status in (401, 403):
        return DialFailed("refused", message or f"the relay answered {status}", status=status, hint=hint)
    kind: Kind = "unreachable" if status in (408, 429, 500, 502, 503, 504) else "protocol"
    wait = _wait_of(error.response) if kind == "unreachable" else 0
    return DialFailed(kind, message or f"the relay answered {status}", status=status, hint=hint, wait=wait)


def _wait_of(response: Response) -> int:
    """Retry-After in seconds (RFC 9110 section 10.2.3), at most `MAX_WAIT`; 0 without one, or with a date."""
    values = response.headers.get_all("Retry-After")
    text = values[0] if len(values) == 1 else ""
    return min(int(text[:9]), MAX_WAIT) if text.isascii() and text.isdecimal() else 0


def _error_of(body: bytes) -> tuple[str, str]:
    """Message and hint of the relay's JSON error body, empty when it is something else."""
    try:
        error = msgspec.json.decode(body)["error"]
        return str(error["message"]), str(error.get("hint", ""))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return "", ""
