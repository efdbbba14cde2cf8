"""Notifies systemd of the relay's state (sd_notify(3)), and detects that stderr is its journal (systemd.exec(5))."""

import contextlib
import os
import socket
import sys


def notify(state: str) -> None:
    """Send a state such as `READY=1` to systemd. Does nothing unless it runs this service with `Type=notify`."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    abstract = address.startswith("@")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect("\0" + address[1:] if abstract else address)
        manager.send(state.encode())


def logs_to_journal() -> bool:
    """Whether stderr goes to systemd's journal, which adds the time to each line."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
