"""The address of the local API: parses `web_addr` of the configuration file and opens the listening socket."""

import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

DEFAULT_PORT = 4040
ALTERNATIVES = 100
"""Number of ports above the default one that are tried before the system chooses one."""
BACKLOG = 64


class WebAddressInvalid(ValueError):
    """The text is not an address to listen at. The message is for display."""


class WebAddressTaken(Exception):
    """The requested address is not available. The message is the one that ngrok's tools look for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAddress:
    """The address to listen at.

    Attributes:
        host: IP literal to listen at.
        port: TCP port; 0 lets the system choose one.
        is_explicit: The user asked for this address, so no other may be used instead.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    is_explicit: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback


def parse_web_addr(text: str) -> WebAddress | None:
    """Parse `web_addr`: None for `false`, and the default address for "".

    Raises:
        WebAddressInvalid: The text is not an address.
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
    """Return a socket that listens at this address. If the default port is taken, use the next free one.

    Args:
        tell_taken: Called once with the default address when it is taken.

    Raises:
        WebAddressTaken: The address is not available.
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
    """Return `host:port` as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # allows reusing a port with lingering connections; on Windows it would share the port
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
