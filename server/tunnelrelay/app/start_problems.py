"""Turns errors at the start into messages for the operator, with a hint what to do."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from tunnelrelay.config.values import ListenAddress

PRIVILEGED = 1024
"""Ports below are for root, unless the system says otherwise."""
_LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


class StartError(Exception):
    """The relay cannot start; the text is for the operator.

    Attributes:
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def of_address(flag: str, address: ListenAddress, error: OSError) -> StartError:
    """Why nothing can listen at an address."""
    where = f"{flag} {address}"
    if isinstance(error, socket.gaierror):
        return StartError(
            f"{where}: there is no host of this name", f"give an address of this machine, as in {flag} :443"
        )
    match error.errno:
        case errno.EADDRINUSE:
            holder = who_listens(address.port)
            by = f" ({holder})" if holder else ""
            hint = f"stop that one, or give another address, as in {flag} {_other(address)}"
            return StartError(f"{where}: another program listens there already{by}", hint)
        case errno.EACCES | errno.EPERM if address.port < PRIVILEGED:
            hint = (
                "give the relay's service AmbientCapabilities=CAP_NET_BIND_SERVICE, or take a port above 1023 "
                "and forward this one to it"
            )
            return StartError(f"{where}: this user may not listen on a port below {PRIVILEGED}", hint)
        case errno.EADDRNOTAVAIL:
            hint = f"`ip address` lists those it has; `{flag} :{address.port}` takes them all"
            return StartError(f"{where}: this machine has no such address", hint)
        case errno.EAFNOSUPPORT:
            hint = f"give an IPv4 address, as in {flag} 0.0.0.0:{address.port}"
            return StartError(f"{where}: this machine has no IPv6", hint)
        case _:
            return StartError(f"{where}: {in_words(error)}", "give another address")


def of_data_dir(path: Path, error: OSError) -> StartError:
    """Why the data directory cannot be used."""
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            hint = "give the relay's user the directory (`chown`), or another one with --data-dir"
        case errno.ENOSPC | errno.EDQUOT:
            hint = "make room on this disk, or give another directory with --data-dir"
        case _:
            hint = "give another directory with --data-dir"
    return StartError(f"the data directory {path} cannot be used: {in_words(error)}", hint)


def in_words(error: OSError) -> str:
    """The system's error message, without its number and without the address or file."""
    words = os.strerror(error.errno) if error.errno and not isinstance(error, socket.gaierror) else error.strerror
    return (words or str(error) or type(error).__name__).lower()


def who_listens(port: int, proc: Path = Path("/proc")) -> str:
    """`nginx, process 812`, as far as this user may see; "" when that cannot be told."""
    inodes = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    if not inodes:
        return ""
    for process in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone by now, or another user's
            if any(os.readlink(handle) in inodes for handle in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()}, process {process.name}"
    return ""


def _listening(port: int, proc: Path) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                    yield rest[5]


def _other(address: ListenAddress) -> ListenAddress:
    """The same address with another port, for the hint."""
    return address._replace(port=address.port + 10 if PRIVILEGED <= address.port < 65525 else 8443)
