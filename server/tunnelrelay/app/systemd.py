"""Tells systemd that the relay is ready, and whether logs go to its journal. See sd_notify(3) and systemd.exec(5)."""

import contextlib
import os
import socket
import sys


def notify(state: str) -> None:
    """Tell the service manager this process's state, as `READY=1`, where one waits for it (`Type=notify`)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    abstract = address.startswith("@")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect("\0" + address[1:] if abstract else address)
        manager.send(state.encode())


def logs_to_journal() -> bool:
    """Whether stderr is systemd's journal, which writes the time of each line itself."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
