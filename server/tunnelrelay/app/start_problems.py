"""Turns errors at a relay's start into messages for the operator, each with a hint what to do."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from tunnelrelay.config.values import ListenAddress

PRIVILEGED = 1024
"""The lowest port that a user other than root may listen on, unless the system is set otherwise."""
_LISTENING = "0A"
"""How /proc/net/tcp writes the state of a listening socket."""


class StartError(Exception):
    """Raised when the relay cannot start; the message is for the operator.

    Attributes:
        hint: What the operator can do about the error.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def of_address(flag: str, address: ListenAddress, error: OSError) -> StartError:
    """Return the error to show when the relay cannot listen at an address.

    Args:
        flag: The flag that gave the address, as in `--http`.
        error: Why binding the address failed.
    """
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
    """Return the error to show when the data directory cannot be used."""
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            hint = "give the relay's user the directory (`chown`), or another one with --data-dir"
        case errno.ENOSPC | errno.EDQUOT:
            hint = "make room on this disk, or give another directory with --data-dir"
        case _:
            hint = "give another directory with --data-dir"
    return StartError(f"the data directory {path} cannot be used: {in_words(error)}", hint)


def in_words(error: OSError) -> str:
    """Return the system's message for an error, without error number, address and file name."""
    words = os.strerror(error.errno) if error.errno and not isinstance(error, socket.gaierror) else error.strerror
    return (words or str(error) or type(error).__name__).lower()


def who_listens(port: int, proc: Path = Path("/proc")) -> str:
    """Return the program that listens at a TCP port, as in `nginx, process 812`; "" when this user may not see it."""
    inodes = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    if not inodes:
        return ""
    for process in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended, or belongs to another user
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
    """Return an address that differs only in the port, for the hint to choose another one."""
    return address._replace(port=address.port + 10 if PRIVILEGED <= address.port < 65525 else 8443)
