"""Connects the agent through a proxy: finds the proxy that the environment names for an address, and opens a tunnel.

Supports only `http://` and `https://` proxies, with CONNECT (RFC 9110 section 9.3.6). The environment variables and
NO_PROXY are interpreted as by curl, but NO_PROXY may also contain networks (`10.0.0.0/8`).
"""

import asyncio
import ipaddress
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote, urlsplit

from tunnelctl.bounds import DeclaredBound
from tunnelctl.link.tcp import reason
from tunnelctl.wire.texts import is_loopback

MAX_ANSWER = 16 * 1024
"""Maximum bytes of a proxy's response to CONNECT: its head, and the body of a refusal."""

BOUNDS = (
    DeclaredBound(
        name="a proxy's answer to an agent's CONNECT",
        limit=MAX_ANSWER,
        unit="bytes",
        per="message",
        when_full="the agent says that there is no proxy",
        worst_bytes=MAX_ANSWER,
    ),
)
DEFAULT_PORTS = {"http": 80, "https": 443}


class ProxyInvalid(ValueError):
    """The text does not name a usable proxy."""


class ProxyFailed(OSError):
    """The proxy did not open a tunnel.

    Attributes:
        is_final: Another try cannot help: the proxy wants a password, or forbids the address.
        hint: What the user can do.
    """

    def __init__(self, message: str, *, is_final: bool = False, hint: str = "") -> None:
        super().__init__(message)
        self.is_final = is_final
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Proxy:
    """Address and credentials of a proxy.

    Attributes:
        scheme: `http` or `https`: the protocol spoken with the proxy itself.
        credentials: `user:password`, "" for none. Never shown.
    """

    scheme: str
    host: str
    port: int
    credentials: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The proxy's URL for display, without the credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_proxy(text: str) -> Proxy:
    """Parse the address of a proxy: `http(s)://[user:password@]host[:port]` or `host:port`.

    Raises:
        ProxyInvalid: The text does not name a proxy. The message does not repeat the text, which may hold a password.
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        raise ProxyInvalid("not the address of a proxy, such as http://proxy.example:3128") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ProxyInvalid(f"{parts.scheme}:// proxies are not supported, only http:// and https:// ones")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ProxyInvalid("not the address of a proxy, such as http://proxy.example:3128")
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if "@" in parts.netloc else ""
    return Proxy(parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme], credentials)


def choose_proxy(url: str, environ: Mapping[str, str], given: str = "", origin: str = "--proxy-url") -> Proxy | None:
    """Return the proxy for connections to a URL: the given one, else the environment's; None for a direct connection.

    Args:
        given: Proxy from a flag or the configuration file, "" for none. It applies to every address, also this machine.
        origin: Name of the flag or key that `given` comes from, for the error message.

    Raises:
        ProxyInvalid: The text does not name a usable proxy; the message says where the text comes from.
    """
    text, where = given, origin
    if not text:
        where = proxy_variable(url, environ)
        text = environ[where] if where else ""
    try:
        return parse_proxy(text) if text else None
    except ProxyInvalid as error:
        raise ProxyInvalid(f"{where}: {error}") from None


def proxy_variable(url: str, environ: Mapping[str, str]) -> str:
    """Return the name of the environment variable with the proxy for `url`, or "" for none.

    This machine is never reached through a proxy that the environment names.
    """
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    host = parts.hostname or ""
    excluded = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if is_loopback(host) or is_excluded(host, parts.port or DEFAULT_PORTS.get(scheme, 0), excluded):
        return ""
    names = [f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"]
    if "REQUEST_METHOD" in environ:
        names.remove("HTTP_PROXY") if "HTTP_PROXY" in names else None  # a visitor could set it in CGI
    return next((name for name in names if environ.get(name)), "")


def is_excluded(host: str, port: int, no_proxy: str) -> bool:
    """Return whether NO_PROXY matches this host: by name, by a parent domain, by a network that contains it, or by
    `*`.
    """
    host = host.lower().rstrip(".")
    return any(_covers(entry, host, port) for entry in no_proxy.replace(",", " ").lower().split())


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    try:
        network, address = ipaddress.ip_network(entry.strip("[]"), strict=False), ipaddress.ip_address(host)
    except ValueError:
        pass  # one of the two is a name
    else:
        return address in network
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit() and (":" not in name or name.endswith("]")):
        return int(wanted) == port and _covers(name.strip("[]"), host, port)
    name = entry.removeprefix("*").removeprefix(".").rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


async def connect(
    make: Callable[[], asyncio.Protocol],
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    server_name: str | None,
    proxy: Proxy | None,
) -> tuple[asyncio.Transport, asyncio.Protocol]:
    """Connect to an address, through a proxy if one is given.

    Args:
        make: Protocol factory, as for `loop.create_connection`.
        tls: TLS context for the connection itself, inside the proxy's tunnel.
        server_name: Host name for TLS.

    Raises:
        ProxyFailed: The proxy did not open a tunnel.
        OSError: As from `loop.create_connection`.
    """
    loop = asyncio.get_running_loop()
    name = server_name if tls is not None else None
    if proxy is None:
        return await loop.create_connection(make, host, port, ssl=tls, server_hostname=name)
    transport = await _tunnel(proxy, host, port)
    protocol = make()
    if tls is None:
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        return transport, protocol
    try:
        inner = await loop.start_tls(transport, protocol, tls, server_hostname=name)
    except BaseException:
        transport.abort()
        raise
    assert inner is not None
    protocol.connection_made(inner)
    return inner, protocol


async def _tunnel(proxy: Proxy, host: str, port: int) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    request = ProxyConnect(proxy, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    is_tls = proxy.scheme == "https"
    try:
        await loop.create_connection(
            lambda: request,
            proxy.host,
            proxy.port,
            ssl=ssl.create_default_context() if is_tls else None,
            server_hostname=proxy.host if is_tls else None,
        )
        await request.done
    except ProxyFailed:
        request.abort()
        raise
    except OSError as error:
        request.abort()
        hint = "check HTTPS_PROXY, ALL_PROXY or --proxy-url"
        raise ProxyFailed(f"no connection to the proxy {proxy.url}: {reason(error)}", hint=hint) from error
    except BaseException:
        request.abort()
        raise
    assert request.transport is not None
    return request.transport


class ProxyConnect(asyncio.Protocol):
    """The connection to a proxy until it has answered CONNECT."""

    def __init__(self, proxy: Proxy, target: str) -> None:
        self._proxy = proxy
        self._target = target
        self._answer = b""
        self.transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the CONNECT request."""
        self.transport = cast(asyncio.Transport, transport)
        lines = [f"CONNECT {self._target} HTTP/1.1", f"Host: {self._target}"]
        if self._proxy.credentials:
            basic = b64encode(self._proxy.credentials.encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {basic}")
        self.transport.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    def data_received(self, data: bytes) -> None:
        """Read the proxy's response."""
        if self.done.done():
            return
        self._answer += data
        if b"\r\n\r\n" in self._answer:
            self._judge(*self._answer.split(b"\r\n\r\n", 1))
        elif len(self._answer) > MAX_ANSWER or not self._answer.startswith(b"HTTP/1."[: len(self._answer)]):
            self._fail(f"what listens at the proxy's address {self._proxy.url} is no http:// proxy", is_final=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the wait for the response, unless it has already arrived."""
        self._fail(f"the proxy {self._proxy.url} closed the connection without an answer")

    def abort(self) -> None:
        """Close the connection, because no caller waits for the response any more."""
        if self.transport is not None:
            self.transport.abort()
        if self.done.done() and not self.done.cancelled():
            self.done.exception()  # marks the exception as retrieved, so that asyncio does not log it
        self.done.cancel()

    def _judge(self, head: bytes, rest: bytes) -> None:
        line = head.split(b"\r\n", 1)[0].split(b" ", 2)
        status = int(line[1]) if len(line) > 1 and line[1].isdigit() else 0
        if 200 <= status < 300 and not rest:
            self.done.set_result(None)
            return
        said = f"the proxy {self._proxy.url} does not connect to {self._target}: it answered {status} {_phrase(status)}"
        if status == 407:
            hint = (
                "the proxy does not take this user and password"
                if self._proxy.credentials
                else "give a user and password: http://USER:PASSWORD@HOST:PORT, in HTTPS_PROXY or --proxy-url"
            )
            self._fail(said.rstrip(), is_final=True, hint=hint)
        else:
            hint = "ask the proxy's administrator to allow it, or leave it out for this host with NO_PROXY"
            self._fail(said.rstrip(), is_final=400 <= status < 500 and status not in (408, 429), hint=hint)

    def _fail(self, message: str, *, is_final: bool = False, hint: str = "") -> None:
        if not self.done.done():
            self.done.set_exception(ProxyFailed(message, is_final=is_final, hint=hint))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
