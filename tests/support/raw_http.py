"""A visitor that sends exact bytes, and reads responses with a small strict parser of its own.

Names under `.localhost` are never looked up: the connection goes to the relay's address, and the name into Host.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.support.waiting import PATIENCE

MAX_HEAD_BYTES = 256 * 1024
NO_BODY_STATUS = frozenset({204, 304})


@dataclass(slots=True)
class Response:
    """An HTTP response as it was received.

    Attributes:
        fields: The header fields in order, with names in lower case.
        informational: Heads of the interim (1xx) responses before it.
        chunks: Sizes of the chunks of a chunked body.
    """

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    informational: list["Response"] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """Return the only value of a header field; None without the field.

        Raises:
            AssertionError: The response has the field more than once.
        """
        values = self.get_all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """Return all values of a header field."""
        return [value for known, value in self.fields if known == name.lower()]

    @property
    def text(self) -> str:
        """The body, decoded as UTF-8."""
        return self.body.decode()


class RawConnection:
    """A visitor's connection, on which a test sends exact bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send exactly these bytes."""
        self.writer.write(data)
        await self.writer.drain()

    def send_eof(self) -> None:
        """Close the sending half of the connection."""
        self.writer.write_eof()

    async def request(
        self,
        method: str,
        target: str,
        *,
        host: str,
        fields: list[tuple[str, str]] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """Send a well-formed request, and read its response."""
        await self.send(request_bytes(method, target, host=host, fields=fields, body=body))
        return await self.response(method)

    async def head(self) -> Response:
        """Read one response head, interim or final; the body is left unread."""
        block = await self._within(self.reader.readuntil(b"\r\n\r\n"))
        lines = block[:-4].decode("latin-1").split("\r\n")
        version, status, *reason = lines[0].split(" ", 2)
        assert version == "HTTP/1.1", f"not HTTP/1.1: {lines[0]!r}"
        return Response(int(status), reason[0] if reason else "", [parse_field(line) for line in lines[1:]])

    async def response(self, method: str = "GET") -> Response:
        """Read one final response with its whole body, and the interim responses before it.

        Args:
            method: The request's method, which decides whether the response has a body.
        """
        informational = []
        response = await self.head()
        while response.status < 200 and response.status != 101:
            informational.append(response)
            response = await self.head()
        response.informational = informational
        if method != "HEAD" and response.status not in NO_BODY_STATUS and response.status != 101:
            await self._read_body(response)
        return response

    async def _read_body(self, response: Response) -> None:
        coding, length = response.get("transfer-encoding"), response.get("content-length")
        if coding is not None:
            assert coding == "chunked", f"transfer-encoding {coding!r}"
            assert length is None, "both content-length and transfer-encoding"
            async for chunk in self.chunks(response):
                response.body += chunk
        elif length is not None:
            response.body = await self._within(self.reader.readexactly(int(length)))
        else:
            response.body = await self._within(self.reader.read())

    async def chunks(self, response: Response) -> AsyncIterator[bytes]:
        """Yield the chunks of a chunked body as they come; then store its trailer fields in `response`."""
        while size := int((await self.line()).split(b";")[0], 16):
            response.chunks.append(size)
            data = await self._within(self.reader.readexactly(size + 2))
            assert data.endswith(b"\r\n"), "chunk without its CRLF"
            yield data[:-2]
        while line := await self.line():
            response.trailers.append(parse_field(line.decode("latin-1")))

    async def line(self) -> bytes:
        """Read one line, without its CRLF."""
        return (await self._within(self.reader.readuntil(b"\r\n")))[:-2]

    async def read(self, count: int) -> bytes:
        """Read exactly `count` bytes."""
        return await self._within(self.reader.readexactly(count))

    async def rest(self) -> bytes:
        """Read all bytes until the far end closes the connection."""
        return await self._within(self.reader.read())

    async def _within(self, reading: Coroutine[Any, Any, bytes]) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await reading


def request_bytes(
    method: str, target: str, *, host: str, fields: list[tuple[str, str]] | None = None, body: bytes | None = None
) -> bytes:
    """Return the bytes of a well-formed request; `body` is framed by Content-Length unless `fields` frame it."""
    given = fields or []
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in given)]
    framed = {"content-length", "transfer-encoding"} & {name.lower() for name, _ in given}
    if body is not None and not framed:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def parse_field(line: str) -> tuple[str, str]:
    """Split `Name: value`, and convert the name to lower case."""
    name, colon, value = line.partition(":")
    assert colon, f"a field line without a colon: {line!r}"
    assert name == name.strip(), f"white space around a field name: {line!r}"
    return name.lower(), value.strip(" \t")


@asynccontextmanager
async def connect(
    port: int, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None, sni: str | None = None
) -> AsyncIterator[RawConnection]:
    """Context manager: a connection to the relay or to an upstream.

    Args:
        port: The port to connect to.
        host: The address to connect to; names are not looked up.
        tls: TLS context; None for a plain connection.
        sni: The server name to send, and to check the certificate against.
    """
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            host, port, limit=MAX_HEAD_BYTES, ssl=tls, server_hostname=sni if tls else None
        )
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def fetch(
    port: int,
    method: str,
    target: str,
    *,
    host: str,
    fields: list[tuple[str, str]] | None = None,
    body: bytes | None = None,
) -> Response:
    """Send one request on a new connection, and return its response."""
    async with connect(port) as connection:
        return await connection.request(method, target, host=host, fields=fields, body=body)
