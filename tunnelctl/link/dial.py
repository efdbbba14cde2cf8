"""The agent's side of opening a link: it connects to the relay, does the websocket handshake and sends the token."""

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
from tunnelctl.link.proxy import Proxy, ProxyFailed, connect
from tunnelctl.link.tcp import is_no_tls, reason
from tunnelctl.wire.messages import SUBPROTOCOL
from tunnelctl.wire.session import Session
from tunnelctl.wire.texts import is_loopback

CONNECT_PATH = "/_tunnel/connect"
ASK_WHERE = "is --relay the address of a tunnelrelay?"
TLS_ALERT = b"\x15\x03"
TIME_CODES, NAME_CODES = (9, 10), (62, 64)
"""Certificate errors of OpenSSL (`X509_V_ERR_*`). First: not yet valid, and expired. Second: wrong host name, and wrong
IP address."""
MAX_WAIT = 300
"""Maximum seconds for which a server can delay an agent by `Retry-After`: the server may be misconfigured, or not the
relay."""
Kind = Literal["unreachable", "barred", "refused", "protocol"]
LOOK_SECONDS = 3.0
"""Timeout in seconds for finding out whether a port that did not speak plain HTTP speaks TLS."""


class DialFailed(Exception):
    """No link could be opened.

    Attributes:
        kind: `unreachable` (try again), `barred` (an obstacle that trying again cannot remove), `refused` (the relay
            refused the agent), or `protocol` (the server is not a relay).
        status: HTTP status of the refusal; 0 without one.
        message: Description of the failure, for display.
        hint: What the user can do.
        wait: Seconds to wait before the next try, as the relay asked; 0 when it did not ask.
        error: The code in the relay's error body; "" without one.
    """

    def __init__(
        self, kind: Kind, message: str, *, status: int = 0, hint: str = "", wait: int = 0, error: str = ""
    ) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.status = status
        self.message = message
        self.hint = hint
        self.wait = wait
        self.error = error


async def dial(
    url: str,
    *,
    user: LinkUser,
    token: str | None = None,
    ca_file: str | None = None,
    timeout: float = 10.0,
    heartbeat: float = HEARTBEAT,
    proxy: Proxy | None = None,
) -> Link:
    """Connect to a relay and open a link.

    Args:
        url: Address of the relay, `http(s)://host[:port]` or `ws(s)://…`.
        token: Sent in the Authorization header, never in the URL.
        ca_file: PEM file of certificate authorities to trust instead of the system's.
        timeout: Seconds for connecting and handshake together.
        proxy: Proxy to connect through; None for a direct connection.

    Raises:
        DialFailed: No link could be opened; its `kind` says why.
    """
    parts = urlsplit(url)
    is_secure = parts.scheme in ("https", "wss")
    host, port = parts.hostname or "", parts.port or (443 if is_secure else 80)
    dialing = _Dialing(
        _websocket(is_secure, parts.netloc, token), Link(Session(opens=False), user, heartbeat=heartbeat)
    )
    context = tls_context(ca_file) if is_secure else None
    try:
        async with asyncio.timeout(timeout):
            await connect(lambda: dialing, host, port, tls=context, server_name=host, proxy=proxy)
            return await dialing.done
    except DialFailed:
        if not is_secure and proxy is None and dialing.may_be_tls and await _speaks_tls(host, port):
            raise DialFailed("barred", f"what listens at {url} speaks TLS", hint=_other(url, "https")) from None
        raise
    except TimeoutError:
        way = f" through the proxy {proxy.url}" if proxy is not None else ""
        raise DialFailed("unreachable", f"the relay at {url} did not answer in {timeout:.0f} s{way}") from None
    except ssl.SSLError as error:
        raise _tls_failure(url, error) from error
    except ProxyFailed as error:
        raise DialFailed("barred" if error.is_final else "unreachable", str(error), hint=error.hint) from error
    except OSError as error:
        raise DialFailed("unreachable", f"no connection to the relay at {url}: {reason(error)}") from error
    finally:
        dialing.abandon()


def _tls_failure(url: str, error: ssl.SSLError) -> DialFailed:
    """Describe a TLS failure.

    Only failures that time may cure (a certificate that has expired) are worth another try.
    """
    message = f"no TLS connection to {url}: {reason(error)}"
    if is_no_tls(error):
        return DialFailed("barred", message, hint=_other(url, "http"))
    if not isinstance(error, ssl.SSLCertVerificationError):
        return DialFailed("unreachable", message)
    kind: Kind = "unreachable" if error.verify_code in TIME_CODES else "barred"
    return DialFailed(kind, message, hint=certificate_hint(error))


def certificate_hint(error: ssl.SSLCertVerificationError) -> str:
    """Return advice for an error of the relay's certificate."""
    if error.verify_code in TIME_CODES:
        return "look at this machine's clock; if it is right, the relay's operator has to renew the certificate"
    if error.verify_code in NAME_CODES:
        return "use a name that the certificate is for in --relay"
    return "for a private CA use --relay-ca FILE; else the relay's operator needs a certificate that browsers trust"


def _other(url: str, scheme: str) -> str:
    """Return the hint to try the same address with or without TLS."""
    rest = url.partition("://")[2]
    host = urlsplit(url).hostname or ""
    if scheme == "http" and not is_loopback(host):
        return "ask the relay's operator for the port of its https listener"
    return f"use --relay {scheme}://{rest}"


async def _speaks_tls(host: str, port: int) -> bool:
    """Return whether the port completes a TLS handshake; its certificate is not checked."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            transport, _ = await asyncio.get_running_loop().create_connection(
                asyncio.Protocol, host, port, ssl=context, server_hostname=host
            )
    except OSError:
        return False
    transport.abort()
    return True


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context for verified TLS 1.2 or later. Verification cannot be turned off."""
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
    """The connection to the relay during the handshake; the link takes it over afterwards.

    Attributes:
        may_be_tls: The response to this plain request is typical for a TLS port: nothing, a TLS alert, or a page about
            HTTPS (nginx).
    """

    def __init__(self, websocket: tuple[ClientProtocol, bytes], link: Link) -> None:
        self._ws, self._request = websocket
        self._link = link
        self._transport: asyncio.Transport | None = None
        self.may_be_tls = True
        self.done: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class is not a subclass
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.may_be_tls = data.startswith(TLS_ALERT) or b"HTTPS" in data
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
        """Stop waiting and drop the unfinished connection."""
        if not self.done.done() or self.done.cancelled() or self.done.exception() is not None:
            self.done.cancel()
            if self._transport is not None:
                self._transport.abort()

    def _fail(self, error: DialFailed) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def _refusal(error: Exception) -> DialFailed:
    if not isinstance(error, InvalidStatus):
        message = f"what answers there opens no websocket, as a relay does ({error})"
        return DialFailed("protocol", message, hint=ASK_WHERE)
    status = error.response.status_code
    name, message, hint = _error_of(bytes(error.response.body or b""))
    if status in (401, 403):
        words = f"what answers there says {status}, and not in a tunnelrelay's words"
        hint = hint or ("" if message else ASK_WHERE)
        return DialFailed("refused", message or words, status=status, hint=hint, error=name)
    if status in (408, 429, 500, 502, 503, 504, 511):
        words = message or f"the relay's address answered {status}"
        if status == 511:
            words = "the network wants a sign-in first (511), as in a hotel or on a train"
        wait = _wait_of(error.response)
        return DialFailed("unreachable", words, status=status, hint=hint, wait=wait, error=name)
    return DialFailed("protocol", message or _not_a_relay(error.response), status=status, hint=hint or ASK_WHERE)


def _not_a_relay(response: Response) -> str:
    """Describe why this response does not come from a relay."""
    status = response.status_code
    if 300 <= status < 400:
        to = "".join(response.headers.get_all("Location")[:1])[:200]
        return f"it answered {status} and leads on to {to!r}: a web server, or the sign-in page of a network"
    if status == 200:
        return "it answered 200 with a page: a web server, or the sign-in page of a network"
    return f"it answered {status}: a web server that has no {CONNECT_PATH}"


def _wait_of(response: Response) -> int:
    """Return Retry-After in seconds (RFC 9110 section 10.2.3), at most `MAX_WAIT`; 0 when it is missing or a date."""
    values = response.headers.get_all("Retry-After")
    text = values[0] if len(values) == 1 else ""
    return min(int(text[:9]), MAX_WAIT) if text.isascii() and text.isdecimal() else 0


def _error_of(body: bytes) -> tuple[str, str, str]:
    """Return code, message and hint of the relay's JSON error body; all empty when the body is something else."""
    try:
        error = msgspec.json.decode(body)["error"]
        return str(error.get("code", "")), str(error["message"]), str(error.get("hint", ""))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return "", "", ""
