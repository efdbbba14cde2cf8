"""Where the local API listens: the `web_addr` of the configuration file, and the sockets that it leads to."""

import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

DEFAULT_PORT = 4040
ALTERNATIVES = 100
"""Ports above the default one that are tried; then the system chooses one."""
BACKLOG = 64


class WebAddressInvalid(ValueError):
    """The text is no address to listen at. Its message is for people."""


class WebAddressTaken(Exception):
    """The address that was asked for cannot be had. Its message is the one that ngrok's tools look for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAddress:
    """Where to listen.

    Attributes:
        host: IP literal.
        port: 0 for one that the system chooses.
        is_explicit: It was asked for: another one is no replacement.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    is_explicit: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback


def parse_web_addr(text: str) -> WebAddress | None:
    """The address that `web_addr` names, None for `false`; the default for "".

    Raises:
        WebAddressInvalid: It names none.
    """
    if not text:
        return WebAddress()
    if text.lower() == "false":
        return None
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise WebAddressInvalid(f"{text}: no port; write it as 127.0.0.1:4040, or false for no local API")
    try:
        literal = str(ipaddress.ip_address("127.0.0.1" if host in ("", "localhost") else host))
    except ValueError:
        raise WebAddressInvalid(f"{text}: its host is not an IP address; write it as 127.0.0.1:4040") from None
    return WebAddress(host=literal, port=int(port), is_explicit=True)


def listen(address: WebAddress, tell_taken: Callable[[str], None]) -> socket.socket:
    """A listening socket at this address; where it is the default one and taken, at the next that is free.

    Args:
        tell_taken: Called once with the default address when it is taken.

    Raises:
        WebAddressTaken: It is not to be had.
    """
    try:
        return _bound(address.host, address.port)
    except OSError as error:
        if address.is_explicit:
            raise WebAddressTaken(_as_go_says(address, error)) from error
    tell_taken(shown(address.host, address.port))
    for port in (*range(address.port + 1, address.port + 1 + ALTERNATIVES), 0):
        try:
            return _bound(address.host, port)
        except OSError as error:
            last = error
    raise WebAddressTaken(_as_go_says(address, last)) from last


def shown(host: str, port: int) -> str:
    """As in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # a port whose last connections linger is free; on Windows it would be shared
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _as_go_says(address: WebAddress, error: OSError) -> str:
    what = "address already in use" if error.errno == errno.EADDRINUSE else (error.strerror or str(error)).lower()
    return f"listen tcp {shown(address.host, address.port)}: bind: {what}"
