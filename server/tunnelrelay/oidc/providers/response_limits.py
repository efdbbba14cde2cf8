"""Limits the cost of a provider's response below the HTTP parser.

`fetch.py` limits bodies. Interim responses, heads and chunk framing are parsed by h11 before that, on the relay's only
event loop, so they are limited here.
"""

import asyncio
import re
import ssl
from typing import Any

import httpcore

from tunnelctl.bounds import DeclaredBound

MAX_HEAD = 16 * 1024
"""Maximum bytes up to the end of the final head. Honest heads have one or two thousand; a head of 16 KiB with the
maximum number of fields costs about as much CPU as the TLS handshake before it."""
MAX_HEADS = 8
"""Maximum heads in one response: the final one and interim ones (1xx), which providers do not send."""
MAX_ANSWER = 512 * 1024
"""Maximum bytes of one response with head and framing: twice the limit of a body."""
MAX_READS = 1_000
"""Maximum reads for one response. A body of 256 KiB comes in about 200 segments; one that is sent byte by byte is
aborted."""

BOUNDS = (
    DeclaredBound(
        name="head of an answer",
        limit=MAX_HEAD,
        unit="bytes",
        per="answer",
        when_full="the provider counts as one that cannot be reached",
        worst_bytes=MAX_HEAD,
    ),
    DeclaredBound(
        name="heads, interim ones among them",
        limit=MAX_HEADS,
        unit="heads",
        per="answer",
        when_full="the provider counts as one that cannot be reached",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="head, body and framing together",
        limit=MAX_ANSWER,
        unit="bytes",
        per="answer",
        when_full="the provider counts as one that cannot be reached",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="pieces in which it comes",
        limit=MAX_READS,
        unit="reads",
        per="answer",
        when_full="the provider counts as one that cannot be reached",
        worst_bytes=0,
    ),
)
READS_AT_A_TIME = 32
"""Number of reads of a response before other tasks get their turn, as TLS records that arrived together are read
without waiting."""
HEAD_READ = 2 * 1024
"""Bytes per read up to the end of the final head, so that MAX_HEAD is checked before h11 has worked for long."""

_HEAD_END = re.compile(rb"\n\r?\n")
"""Matches the end of a head as h11 recognises it."""


class Metered(httpcore.AsyncNetworkStream):
    """A connection that limits each response. A response begins when the last byte of a request has been sent."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._is_head, self._tail = True, b""
        self._reads = self._bytes = self._heads = 0

    def head_is_complete(self) -> None:
        """Record that the final head was read; the rest is the body."""
        self._is_head = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read and count bytes of the response. Raises `httpcore.RemoteProtocolError` when a limit is exceeded."""
        self._check()
        data = await self._stream.read(min(max_bytes, HEAD_READ) if self._is_head else max_bytes, timeout)
        self._reads += 1
        if self._reads % READS_AT_A_TIME == 0:
            await asyncio.sleep(0)
        self._bytes += len(data)
        if self._is_head:
            # Include two bytes of the read before: the end of a head may be split between both.
            self._heads += len(_HEAD_END.findall(self._tail + data))
            self._tail = (self._tail + data)[-2:]
            if self._heads > MAX_HEADS:
                raise httpcore.RemoteProtocolError(f"more than {MAX_HEADS} heads in one answer")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write bytes of a request; the next byte read begins a new response."""
        self._begin()
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Start TLS. The returned stream has limits of its own."""
        return Metered(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _begin(self) -> None:
        self._is_head, self._tail = True, b""
        self._reads = self._bytes = self._heads = 0

    def _check(self) -> None:
        if self._is_head and self._bytes >= MAX_HEAD:
            raise httpcore.RemoteProtocolError(f"no end of the head after {MAX_HEAD} bytes")
        if self._bytes >= MAX_ANSWER:
            raise httpcore.RemoteProtocolError(f"more than {MAX_ANSWER} bytes in one answer")
        if self._reads >= MAX_READS:
            raise httpcore.RemoteProtocolError(f"an answer in more than {MAX_READS} pieces")
