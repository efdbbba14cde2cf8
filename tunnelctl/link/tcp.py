"""TCP as a link wants it: small frames leave at once, and no long queue stands in the kernel. And why it failed."""

import asyncio
import logging
import os
import socket

log = logging.getLogger("tunnelctl.link")

NOT_SENT = 64 * 1024
"""Bytes the kernel may hold unsent (TCP_NOTSENT_LOWAT): more would let a bulk stream queue ahead of everybody there."""
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


def tune(transport: asyncio.Transport) -> None:
    """Set the options, where the transport is TCP and the platform has them."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOT_SENT)
    except OSError:  # not on this platform; the fair queue above it still works, only less sharply
        log.debug("TCP_NOTSENT_LOWAT is not available")


def reason(error: OSError) -> str:
    """Why there was no connection, in the system's words: asyncio's own text repeats the address instead."""
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()
    return (error.strerror or str(error) or type(error).__name__).lower()
