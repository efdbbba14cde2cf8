"""A visitor that hides nothing: sends exact bytes, reads with a small strict parser of its own.

Names under `.localhost` are never looked up: the connection goes to the relay's address, the name goes into Host.
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
    """One answer, as it came.

    Attributes:
        fields: Names lower-cased, in order.
        informational: Heads of the 1xx answers before it.
        chunks: Sizes of the chunks, when the body came in chunks.
    """

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    informational: list["Response"] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The only value of a field, None without it.

        Raises:
            AssertionError: The field came more than once.
        """
        values = self.get_all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for known, value in self.fields if known == name.lower()]

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()


class RawConnection:
    """One visitor connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Sends exactly these bytes."""
        self.writer.write(data)
        await self.writer.drain()

    def send_eof(self) -> None:
        """Half-close: we send no more."""
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
        """Sends a well-formed request and reads its answer."""
        await self.send(request_bytes(method, target, host=host, fields=fields, body=body))
        return await self.response(method)

    async def head(self) -> Response:
        """One head, 1xx or final; the body is left unread."""
        block = await self._within(self.reader.readuntil(b"\r\n\r\n"))
        lines = block[:-4].decode("latin-1").split("\r\n")
        version, status, *reason = lines[0].split(" ", 2)
        assert version == "HTTP/1.1", f"not HTTP/1.1: {lines[0]!r}"
        return Response(int(status), reason[0] if reason else "", [parse_field(line) for line in lines[1:]])

    async def response(self, method: str = "GET") -> Response:
        """One final answer with its whole body, and the 1xx before it."""
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
        """Chunks of a chunked body as they come; its trailers end up in `response`."""
        while size := int((await self.line()).split(b";")[0], 16):
            response.chunks.append(size)
            data = await self._within(self.reader.readexactly(size + 2))
            assert data.endswith(b"\r\n"), "chunk without its CRLF"
            yield data[:-2]
        while line := await self.line():
            response.trailers.append(parse_field(line.decode("latin-1")))

    async def line(self) -> bytes:
        """One line without its CRLF."""
        return (await self._within(self.reader.readuntil(b"\r\n")))[:-2]

    async def read(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        return await self._within(self.reader.readexactly(count))

    async def rest(self) -> bytes:
        """All bytes until the far end closes."""
        return await self._within(self.reader.read())

    async def _within(self, reading: Coroutine[Any, Any, bytes]) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await reading


def request_bytes(
    method: str, target: str, *, host: str, fields: list[tuple[str, str]] | None = None, body: bytes | None = None
) -> bytes:
    """A well-formed request; `body` is framed by its length unless `fields` frame it otherwise."""
    given = fields or []
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in given)]
    framed = {"content-length", "transfer-encoding"} & {name.lower() for name, _ in given}
    if body is not None and not framed:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def parse_field(line: str) -> tuple[str, str]:
    """`Name: value` with the name in lower case."""
    name, colon, value = line.partition(":")
    assert colon, f"a field line without a colon: {line!r}"
    assert name == name.strip(), f"white space around a field name: {line!r}"
    return name.lower(), value.strip(" \t")


@asynccontextmanager
async def connect(
    port: int, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None, sni: str | None = None
) -> AsyncIterator[RawConnection]:
    """A connection to the relay (or an upstream), closed at the end.

    Args:
        port: Where.
        host: An address; names are not looked up.
        tls: Speak TLS, trusting what this trusts.
        sni: The name to ask for and to check the certificate against.
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
    """One request on a connection of its own."""
    async with connect(port) as connection:
        return await connection.request(method, target, host=host, fields=fields, body=body)
