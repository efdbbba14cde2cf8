"""Handles standard streams that are closed at the start, and pipes whose reader closes later."""

import os
import select
import stat
import sys
import threading
from collections.abc import Callable


def open_missing() -> None:
    """Open the null device for each standard stream that was closed when the program started.

    Else the first sockets and files that the program opens get the numbers 0 to 2, and what is written to "stderr"
    ends up in them; and Python has None in the place of the streams, which no code expects.
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
    """Call `callback`, from another thread, once nothing reads the pipe `fd` any more.

    Waiting for a write to fail would take until there is something to write, which may be never. Only a pipe is
    watched: a socket is how systemd's journal reads, and losing that is no reason to stop.
    """
    if hasattr(select, "poll") and stat.S_ISFIFO(os.fstat(fd).st_mode):
        threading.Thread(target=_wait, args=(fd, callback), name="reader", daemon=True).start()


def _wait(fd: int, callback: Callable[[], object]) -> None:
    poll = select.poll()
    poll.register(fd, 0)  # POLLERR is reported in any case
    poll.poll()
    callback()
