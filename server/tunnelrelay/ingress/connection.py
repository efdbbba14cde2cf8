"""A visitor's connection below HTTP: who is there, reading and writing at the pace of both ends, and how it closes."""

import asyncio
import socket
import struct
from abc import abstractmethod
from typing import cast

from tunnelctl.bounds import DeclaredBound
from tunnelctl.wire.stream import INITIAL_WINDOW
from tunnelrelay.ingress.ingress import NO_DEADLINE, Ingress
from tunnelrelay.model import Peer
from tunnelrelay.policy.limits import give_back

READER_SECONDS = 120.0
"""Without the visitor taking a byte that is due."""
LINGER_SECONDS = 2.0
"""For a visitor to read our last answer while we throw away what it still sends (RFC 9112 section 9.6)."""
WRITE_HIGH = 64 * 1024
"""Bytes in the visitor's send buffer before credit stops going back: what a stopped reader costs beside its window."""
UNREAD_BYTES = WRITE_HIGH + INITIAL_WINDOW + 32 * 1024
"""What a visitor who stops to read has in memory: the send buffer, the window of the stream, and one frame between
them. Windows that have grown have a bound of their own."""
MAX_JOINED = 4096
"""Bytes up to which copying pieces together is cheaper than writing them apart."""

BOUNDS = (
    DeclaredBound(
        name="what a visitor does not read of an answer",
        limit=UNREAD_BYTES,
        unit="bytes",
        per="visitor connection",
        when_full="no more is taken of the tunnel; the connection is closed after 120 seconds",
        worst_bytes=UNREAD_BYTES,
    ),
)

_LINGER_NOT = struct.pack("ii", 1, 0)


class VisitorConnection(asyncio.BufferedProtocol):
    """The base of `Visit`. Bytes are read into a buffer that all visitors share, so that each read has a bound.

    Attributes:
        connected_peer: The far end of the TCP connection.
        connected_address: Whom limits count it as; "" for not at all.
        address: The same of the visitor behind trusted proxies.
        sni: Server name of the TLS handshake, None without one.
        is_paused: The visitor does not read as fast as we write.
        is_lingering: The last answer is written; what still comes is thrown away.
        saw_eof: The visitor sends no more.
        deadline: Loop time at which waiting ends; looked at by `Ingress.sweep`.
    """

    __slots__ = (
        "_is_full", "_is_reading_held", "_is_unread", "_share", "address", "connected_address",
        "connected_peer", "deadline", "ingress", "is_lingering", "is_paused", "is_secure",
        "saw_eof", "sni", "transport",
    )  # fmt: skip

    def __init__(self, ingress: Ingress, *, is_secure: bool) -> None:
        self.ingress = ingress
        self.is_secure = is_secure
        self.transport = cast(asyncio.Transport, None)
        self.connected_peer = Peer("", 0)
        self.address = self.connected_address = ""
        self._share: dict[str, int] | None = None
        self.sni: str | None = None
        self.is_paused = False
        self.is_lingering = False
        self.saw_eof = False
        self.deadline = NO_DEADLINE
        self._is_full = False  # what carries the request has enough of it for now
        self._is_unread = False  # until it is its turn
        self._is_reading_held = False

    def arrive(self, transport: asyncio.BaseTransport) -> bool:
        """A visitor or an agent has connected; over TLS, the handshake comes next, and `connection_made` after it.

        Returns:
            Whether the connection may stay. If not, it is closed.
        """
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            self.connected_peer = Peer(name[0].removeprefix("::ffff:"), name[1])
            self.address = self.connected_address = self.ingress.address_of(self.connected_peer)
        self.deadline = self.ingress.now() + self.ingress.idle_seconds
        return True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A visitor, or an agent: the first request tells."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        tls = transport.get_extra_info("ssl_object")
        self.sni = self.ingress.server_name(tls) if tls is not None else None
        self.deadline = self.ingress.now() + self.ingress.idle_seconds

    def pause_writing(self) -> None:
        """The visitor reads more slowly than we write."""
        self.is_paused = True
        self.deadline = self.ingress.now() + READER_SECONDS

    def resume_writing(self) -> None:
        """It has caught up."""
        self.is_paused = False

    def write(self, data: bytes) -> None:
        """Response bytes, framed already."""
        self.transport.write(data)

    def write_all(self, data: tuple[bytes | memoryview, ...]) -> None:
        """Response bytes in pieces."""
        if len(data) == 1:
            self.transport.write(data[0])
        elif sum(map(len, data)) <= MAX_JOINED:
            self.transport.write(b"".join(data))
        else:
            self.transport.writelines(data)

    def hold_reading(self) -> None:
        """What carries the request takes no more of it for now."""
        self._is_full = True
        self._keep_pace()

    def resume_reading(self) -> None:
        """It takes more again."""
        self._is_full = False
        self._keep_pace()

    @abstractmethod
    def _has_enough(self) -> bool:
        """Whether what was read must be worked off before more is read."""

    def _keep_pace(self) -> None:
        """Read, or do not: called whenever one of the reasons has changed."""
        is_held = self._is_full or self._is_unread or self._has_enough()
        if is_held != self._is_reading_held:
            self._is_reading_held = is_held
            self.transport.pause_reading() if is_held else self.transport.resume_reading()

    def take_share(self, held: dict[str, int]) -> bool:
        """Count a request as its visitor's address's; False when that one has too many open there already."""
        is_granted = self.ingress.quotas.take(held, self.address)
        if is_granted:
            self._share = held
        return is_granted

    def give_share_back(self) -> None:
        """The request is over, if one was counted."""
        share, self._share = self._share, None
        if share is not None:
            give_back(share, self.address)

    def close(self) -> None:
        """Close once everything written has gone out."""
        self.is_lingering = True
        self.deadline = self.ingress.now() + READER_SECONDS
        self.transport.close()

    def cut(self) -> None:
        """Close with a reset: where the close ends a body (HTTP/1.0), nothing else says that it is not whole."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.transport.abort()

    def linger(self) -> None:
        """Close so that our last answer arrives though the visitor still sends: a reset would overtake it."""
        self.is_lingering = True
        self.resume_reading()
        if self.is_secure or self.saw_eof or not self.transport.can_write_eof():
            self.close()
        else:
            self.transport.write_eof()
            is_written = not self.transport.get_write_buffer_size()
            self.deadline = self.ingress.now() + (LINGER_SECONDS if is_written else READER_SECONDS)
