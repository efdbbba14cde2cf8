"""An address on this machine that forwards to one endpoint, and adds its name and the run's token to each request.

With it, tools that can neither resolve `*.localhost` nor add a header reach the endpoint, and no token is in their
settings. Each request goes to the relay on a connection of its own, so that every request is changed; the bytes after
its head are passed on as they are.

Only the endpoint's own name and loopback names are accepted in `Host`, so that a web page whose name was pointed to
127.0.0.1 cannot use the address. Requests that another site's page sends are refused.
"""

import asyncio
from types import TracebackType
from typing import Self

from tunnelctl.bounds import DeclaredBound
from tunnelctl.forwarding.public_connector import MAX_HEAD, PublicConnector
from tunnelctl.link.tcp import reason
from tunnelctl.secret import Secret

MAX_CONNECTIONS = 1024
"""Maximum open connections. Each holds two heads and two buffers of asyncio, together at most 512 KiB."""
CONNECTION_BYTES = 512 * 1024
HEAD_SECONDS = 30.0
"""Seconds in which a client must have sent the head of its request."""
CHUNK = 64 * 1024
_DROPPED = frozenset({b"host", b"connection", b"keep-alive", b"proxy-connection"})
"""Fields of requests that are replaced."""

BOUNDS = (
    DeclaredBound(
        name="connections to the local address of a run",
        limit=MAX_CONNECTIONS,
        unit="connections",
        per="run",
        when_full="the connection is closed",
        worst_bytes=MAX_CONNECTIONS * CONNECTION_BYTES,
        holds=("LocalAddress._open",),
    ),
)


class LocalAddress:
    """A listener on 127.0.0.1, at a port that the system chooses.

    Args:
        connector: Opens connections to the endpoint.
        token: Token of the run, added to requests without an `Authorization` of their own.

    Attributes:
        port: The port, while it is entered.
        failures: Requests that got no response from the relay.
    """

    def __init__(self, connector: PublicConnector, token: Secret) -> None:
        self.port = 0
        self.failures = 0
        self._connector = connector
        self._token = token
        self._server: asyncio.Server
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=MAX_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the listener and all connections."""
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one request, and everything after it, until one side closes its connection."""
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            request = _Request(head, self.port, self._connector.authority)
            if request.refusal:
                writer.write(_plain(request.refusal))
            else:
                await self._forward(request, reader, writer)
            await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # the client has left, or sent no head
        finally:
            writer.close()

    async def _forward(self, request: "_Request", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            relay_reader, relay_writer = await self._connector.connect()
        except OSError as error:
            self.failures += 1
            writer.write(_plain(f"502 the relay does not answer: {reason(error)}"))
            return
        relay_writer.write(request.for_relay(self._connector.url, self._token))
        sending = asyncio.create_task(_pipe(reader, relay_writer))
        answering = asyncio.create_task(self._answer(request, relay_reader, writer))
        try:
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not (sending.done() and sending.result()):
                await answering  # otherwise the client has left
        finally:
            relay_writer.close()
            sending.cancel()
            answering.cancel()
            await asyncio.gather(sending, answering, return_exceptions=True)

    async def _answer(self, request: "_Request", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass the response on; the endpoint's own address in `Location` becomes that of this listener."""
        is_interim = True
        while is_interim:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (EOFError, OSError, asyncio.LimitOverrunError):
                self.failures += 1
                writer.write(_plain("502 the relay has closed the connection"))
                return
            is_interim = head[9:10] == b"1" and head[9:12] != b"101"
            writer.write(request.for_client(head, self._connector.url))
        await _pipe(reader, writer)


class _Request:
    """The head of a client's request.

    Attributes:
        refusal: Status and text of the response when the request is refused; "" when it is not.
    """

    def __init__(self, head: bytes, port: int, authority: str) -> None:
        self._first, *lines = head[:-4].split(b"\r\n")
        self._fields = [(line.partition(b":")[0].strip().lower(), line) for line in lines]
        self._local = f"http://127.0.0.1:{port}".encode(), f"http://localhost:{port}".encode()
        named = [value for name, value in self._values() if name == b"host"]
        local_names = {origin.partition(b"://")[2] for origin in self._local}
        self.is_local = named[0] in local_names if named else False
        self.refusal = ""
        if len(named) != 1 or not (self.is_local or named[0] == authority.encode()):
            self.refusal = "421 this address serves one endpoint, under its own name only"
        elif (b"sec-fetch-site", b"cross-site") in self._values():
            self.refusal = "403 requests from pages of other sites are refused here"

    def for_relay(self, url: str, token: Secret) -> bytes:
        """Return the head for the relay.

        Origin and Referer of this address become those of the endpoint, which the app expects.

        Args:
            url: Public URL of the endpoint.
        """
        names = {name for name, _ in self._fields}
        lines = [line for name, line in self._fields if name not in _DROPPED]
        if self.is_local:
            lines = [_replaced(line, self._local, url.encode(), (b"origin", b"referer")) for line in lines]
        if b"authorization" not in names:
            lines.append(b"Authorization: Bearer " + token.reveal().encode())
        lines.append(b"Host: " + url.partition("://")[2].encode())
        lines.append(b"Connection: Upgrade" if b"upgrade" in names else b"Connection: close")
        return b"\r\n".join([self._first, *lines, b"", b""])

    def for_client(self, head: bytes, url: str) -> bytes:
        """Return the head of a response for the client.

        Args:
            url: Public URL of the endpoint.
        """
        if not self.is_local:
            return head
        lines = head[:-4].split(b"\r\n")
        return b"\r\n".join(
            [*(_replaced(line, (url.encode(),), self._local[0], (b"location",)) for line in lines), b"", b""]
        )

    def _values(self) -> list[tuple[bytes, bytes]]:
        return [(name, line.partition(b":")[2].strip().lower()) for name, line in self._fields]


def _replaced(line: bytes, origins: tuple[bytes, ...], other: bytes, names: tuple[bytes, ...]) -> bytes:
    """Return a header line with another origin at the start of its value, if it has one of these names and origins."""
    name, _, value = line.partition(b":")
    text = value.strip()
    if name.strip().lower() in names:
        for origin in origins:
            if text == origin or text.startswith(origin + b"/"):
                return name + b": " + other + text[len(origin) :]
    return line


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Copy bytes until one of the connections ends. Returns whether the one that is read has ended."""
    while True:
        try:
            data = await reader.read(CHUNK)
        except OSError:
            return True
        if not data:
            return True
        writer.write(data)
        try:
            await writer.drain()
        except OSError:
            return False


def _plain(text: str) -> bytes:
    """Return a complete response; the text begins with its status code."""
    body = f"{text[4:]}\n".encode()
    return b"HTTP/1.1 %b -\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        text[:3].encode(),
        len(body),
        body,
    )
