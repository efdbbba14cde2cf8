"""Reads the bytes that an app sent before its connection was reset, after the event loop's transport has given up.

A service that refuses an upload responds and closes without reading the rest, so that its system resets the connection.
The response has arrived here, but if a write notices the reset first, the transport closes without reading it.
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
"""Bytes read at once. The total is at most what the kernel stores for a connection (`net.ipv4.tcp_rmem`, usually 6
MiB)."""


class LastWords:
    """A duplicate of a connection's socket, which stays readable when the transport has closed its own."""

    __slots__ = ("_socket",)

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._socket: socket.socket | None = None
        with suppress(OSError):  # too many open files: the bytes are then lost
            self._socket = transport.get_extra_info("socket").dup()
            self._socket.setblocking(False)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the received bytes that were not read. Ends when there are no more, or after `let_go`."""
        while self._socket is not None:
            try:
                data = self._socket.recv(READ_BYTES)
            except OSError:
                return
            if not data:
                return
            yield data

    def let_go(self) -> None:
        """Close the duplicate of the socket, as the connection is kept for another request or has ended."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class CarefulTls(asyncio.sslproto.SSLProtocol):
    """TLS as implemented by asyncio's own loop, which can also decrypt bytes read after a reset.

    uvloop's own TLS is faster, but cannot be given bytes that were read from the socket elsewhere. So this class is
    used only for requests with a body, which have a connection of their own, and for connections that begin with a
    PROXY header.
    """

    preface: bytes = b""
    """Bytes to send before TLS begins."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface and begin TLS, as TCP is connected."""
        self._last_words = LastWords(transport)
        if self.preface:
            cast(asyncio.Transport, transport).write(self.preface)
        super().connection_made(transport)

    def give_up(self) -> None:
        """Close the connection in any state."""
        if self._app_transport is not None:
            self._app_transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Read the remaining bytes and end, as the connection was lost. Without an error all bytes have been read."""
        if exc is not None:
            self._app_reading_paused = False  # deliver all remaining bytes
            self.buffer_updated(0)
            for data in self._last_words:
                self.get_buffer(len(data))[: len(data)] = data
                self.buffer_updated(len(data))
        self._last_words.let_go()
        super().connection_lost(exc)


async def connect_tls(
    protocol: asyncio.Protocol, connector: Connector, context: ssl.SSLContext, preface: bytes = b""
) -> None:
    """Connect `protocol` to a service that uses TLS, with `CarefulTls`.

    Args:
        preface: Bytes to send before TLS begins.

    Raises:
        OSError: Connecting failed, or the TLS handshake did.
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
