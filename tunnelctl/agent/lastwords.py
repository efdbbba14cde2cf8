"""What an app sent before its system cut the connection, read although the loop's transport has given it up.

A service that refuses an upload answers and closes without reading the rest, and its system cuts the connection. The
answer is here all the same, but when the next write meets the cut first, the transport closes and does not look for it.
"""

import asyncio
import asyncio.sslproto
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

from tunnelctl.agent.connector import Connector

READ_BYTES = 256 * 1024
"""Read at once. All of it is at most what the kernel keeps for a connection (`net.ipv4.tcp_rmem`, 6 MiB as a rule)."""


class LastWords:
    """A second hold on a connection's socket, which keeps it readable when the transport has closed its own."""

    __slots__ = ("_socket",)

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._socket: socket.socket | None = None
        with suppress(OSError):  # too many files are open: what it would have saved is lost then
            self._socket = transport.get_extra_info("socket").dup()
            self._socket.setblocking(False)

    def __iter__(self) -> Iterator[bytes]:
        """What has come and was not read. Ends where there is no more, or where it was let go meanwhile."""
        while self._socket is not None:
            try:
                data = self._socket.recv(READ_BYTES)
            except OSError:
                return
            if not data:
                return
            yield data

    def let_go(self) -> None:
        """The connection is kept, or over."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class CarefulTls(asyncio.sslproto.SSLProtocol):
    """TLS as asyncio's own loop has it; decrypts last words too.

    uvloop's own TLS is faster, but it cannot be given bytes that another has read from the socket. So this is only for
    requests with a body, which have a connection of their own, and for connections that begin with a PROXY header.
    """

    preface: bytes = b""
    """Sent before TLS begins."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is connected, TLS begins."""
        self._last_words = LastWords(transport)
        if self.preface:
            cast(asyncio.Transport, transport).write(self.preface)
        super().connection_made(transport)

    def give_up(self) -> None:
        """Close what there is, connected or not."""
        if self._app_transport is not None:
            self._app_transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is over. Without an error it was read to its end."""
        if exc is not None:
            self._app_reading_paused = False  # there is nothing left to be held back
            self.buffer_updated(0)
            for data in self._last_words:
                self.get_buffer(len(data))[: len(data)] = data
                self.buffer_updated(len(data))
        self._last_words.let_go()
        super().connection_lost(exc)


async def connect_tls(
    protocol: asyncio.Protocol, connector: Connector, context: ssl.SSLContext, preface: bytes = b""
) -> None:
    """Connect `protocol` to a service that speaks TLS, by `CarefulTls`.

    Args:
        preface: Sent before TLS begins.

    Raises:
        OSError: There is no connection, or TLS did not come about.
    """
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    tls = CarefulTls(loop, protocol, context, waiter, server_hostname=connector.server_name)
    tls.preface = preface
    try:
        await connector.connect(lambda: tls)
        await waiter
    except BaseException:
        tls.give_up()
        raise
