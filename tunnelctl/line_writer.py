"""Where log lines go, without ever holding up the tunnel.

A pipe that is not read fills up after 64 KiB and then blocks its writer: the classic end of programs that
are started with `stdout=PIPE` and forgotten. So a thread writes, lines wait in a bounded queue, and what does not fit
is counted and left out.
"""

import os
import threading
from collections import deque

MAX_WAITING = 10_000
"""Lines. About 2 MB; at a line for each exchange, some seconds of a busy tunnel."""
ATOMIC = 4096
"""Bytes the kernel writes to a pipe in one piece (PIPE_BUF on Linux): a reader never sees half a line."""
COALESCE_SECONDS = 0.02
"""After a write the next waits this long, so that a busy tunnel costs 50 wake-ups a second and not one for each line.
The first line of a quiet log leaves at once."""
CLOSE_SECONDS = 1.0


class LineWriter:
    """Writes lines to a file descriptor, whole lines at a time.

    Args:
        fd: Open for writing; it stays the caller's.

    Attributes:
        dropped: Lines left out because they were not read.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: deque[bytes] = deque()
        self._due = threading.Event()
        self._ending = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line, with its line end."""
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append(line.encode("utf-8", "backslashreplace"))
        if not self._due.is_set():
            self._due.set()

    def close(self) -> None:
        """Write what waits, within a second: a reader that has stopped reading must not keep us from ending."""
        self._ending.set()
        self._due.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            while not self._ending.is_set() or self._waiting:
                self._due.wait()
                self._due.clear()
                while self._waiting:
                    self._write_all(self._next_piece())
                self._ending.wait(COALESCE_SECONDS)
        except OSError:
            # The reader is gone, or the disk is full. The tunnel is worth more than its log.
            self._waiting = deque(maxlen=0)

    def _next_piece(self) -> bytes:
        piece = self._waiting.popleft()
        while self._waiting and len(piece) + len(self._waiting[0]) <= ATOMIC:
            piece += self._waiting.popleft()
        return piece

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
