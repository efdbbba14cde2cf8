"""Handles standard streams that are closed at the start, and pipes whose reader closes later."""

import os
import select
import stat
import sys
import threading
from collections.abc import Callable


def open_missing() -> None:
    """Open the null device for each standard stream that was closed when the program started.

    Otherwise the first sockets and files that the program opens would get the numbers 0 to 2, and output for "stderr"
    would end up in them; Python would also set the streams to None, which other code does not expect.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            else:
                os.set_inheritable(number, True)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False, errors="backslashreplace")


def when_reader_leaves(fd: int, callback: Callable[[], object]) -> None:
    """Call `callback` from another thread once the reader of the pipe `fd` has closed it.

    Waiting for a failing write would take until there is something to write. Only pipes are watched: systemd's journal
    reads from a socket, and losing it is no reason to stop.
    """
    if hasattr(select, "poll") and stat.S_ISFIFO(os.fstat(fd).st_mode):
        threading.Thread(target=_wait, args=(fd, callback), name="reader", daemon=True).start()


def _wait(fd: int, callback: Callable[[], object]) -> None:
    poll = select.poll()
    poll.register(fd, 0)  # POLLERR is always reported
    poll.poll()
    callback()
